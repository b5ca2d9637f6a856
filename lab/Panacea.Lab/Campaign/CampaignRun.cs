using System.Diagnostics;
using Panacea.Injection;
using Panacea.Lab.Setup;
using Panacea.Target.Qemu;

namespace Panacea.Lab.Campaign;

/// <summary>Tries faults on copies of one frozen guest, each in every arm.</summary>
/// <param name="machine">The frozen guest.</param>
/// <param name="line">Its kernel line.</param>
/// <param name="workload">Its work.</param>
/// <param name="options">What is to be tried.</param>
/// <param name="journal">Where results go, and which there are.</param>
/// <param name="progress">Told what happens.</param>
public sealed class CampaignRun(CampaignMachine machine, string line, CampaignWorkload workload, CampaignOptions options, CampaignJournal journal, Action<string> progress)
{
    /// <summary>How long somebody has to come by the changed code.</summary>
    private static readonly TimeSpan ActivationWindow = TimeSpan.FromSeconds(1.5);

    /// <summary>Places of code that are watched at once: the fault is at the one that somebody comes by first.</summary>
    private const int Places = QemuTarget.MaxHardwareBreakpoints;

    /// <summary>Runs a trial in the arms that have no result yet.</summary>
    /// <param name="trial">Its number.</param>
    /// <param name="cancel">Gives up; the run that is on its way leaves no result.</param>
    public async Task RunAsync(int trial, CancellationToken cancel)
    {
        if (journal.Next(machine.Kernel, workload.Name, trial, options) is null)
            return;
        if (options.Again is not null)
        {
            await AgainAsync(options.Again.First(r => r.Trial == trial && r.Workload == workload.Name && KernelPackages.IsOf(r.Kernel, line)), cancel);
            return;
        }

        var choice = FaultChoice.Of(trial, options.Seed, options.Types, options.At, $"{line} {workload.Name}");
        CampaignRecord record = new() { Kernel = machine.Kernel, Workload = workload.Name, CampaignSeed = options.Seed, Trial = trial, Fault = null, At = choice.At, Outcome = TrialOutcome.NotActivated };
        List<FaultPlan> plans = [.. Enumerable.Range(0, choice.At is null ? 1 : Places).Select(n => machine.Choose(choice with { Seed = unchecked(choice.Seed + (ulong)n) })).OfType<FaultPlan>()];
        if (plans.Count == 0)
        {
            journal.Add(record with { Console = [$"no place for {FaultKinds.Of(choice.Type).Name} at {choice.At ?? "this moment"}"] });
            return;
        }

        long started = Stopwatch.GetTimestamp();
        FaultPlan? plan = choice.At is null ? plans[0] : await machine.FirstActivatedAsync(plans, workload, ActivationWindow, cancel);
        record = record with { Fault = (plan ?? plans[0]).Fault };
        record = record with { IsPersistent = options.IsPersistent && choice.At is not null, IsDriver = FaultChoice.IsDriver(record.Fault!.Place) };
        if (plan is null)
        {
            journal.Add(record with { RunMs = (long)Stopwatch.GetElapsedTime(started).TotalMilliseconds });
            progress($"{line} {workload.Name} {trial}: {record.Fault!.Explanation}: not activated");
            return;
        }

        await RunArmsAsync(record, plan, cancel);
    }

    /// <summary>Tries a fault of an earlier campaign again, in a guest that has been booted since. Nobody looks whether somebody comes by it: somebody did.</summary>
    private async Task AgainAsync(CampaignRecord earlier, CancellationToken cancel)
    {
        Fault fault = earlier.Fault!;
        string where = $"{line} {workload.Name} {earlier.Trial}";
        CampaignRecord record = new()
        {
            Kernel = machine.Kernel, Workload = workload.Name, CampaignSeed = options.Seed, Trial = earlier.Trial, At = earlier.At, Outcome = TrialOutcome.NotActivated, IsPersistent = options.IsPersistent && fault.Trigger is not null,
            IsDriver = earlier.IsDriver,
        };
        if (machine.ChooseAgain(fault) is not { } plan)
        {
            journal.Add(record with { Console = [$"no place for what was: {fault.Explanation}"] });
            progress($"{where}: {fault.Explanation}: there is no place for it in this guest");
            return;
        }

        if (plan.Fault.Explanation != fault.Explanation)
            progress($"{where}: what was: {fault.Explanation}; is in this guest: {plan.Fault.Explanation}");
        await RunArmsAsync(record with { Fault = plan.Fault }, plan, cancel);
    }

    private async Task RunArmsAsync(CampaignRecord record, FaultPlan plan, CancellationToken cancel)
    {
        while (journal.Next(machine.Kernel, workload.Name, record.Trial, options) is { } arm)
        {
            CampaignRecord result = await new ArmRun(machine, line, workload, options, journal.Panacea, plan, record with { Arm = arm }).RunAsync(cancel);
            journal.Add(result);
            progress($"{line} {workload.Name} {record.Trial} {Name(arm)}: {plan.Fault.Explanation}: {Verdict(result)} ({result.RunMs / 1000.0:0.0} s)");
        }
    }

    private static string Name(CampaignArm arm) => CampaignFile.NameOf(arm);

    private static string Verdict(CampaignRecord record) => record.Outcome switch
    {
        TrialOutcome.NoEffect => "no effect",
        TrialOutcome.SilentCorruption => $"silent corruption ({record.Lost[0]})",
        var outcome => $"{outcome.ToString().ToLowerInvariant()}, {(record.Lives ? "recovered" : $"not recovered ({record.Failures.Concat(record.Lost).FirstOrDefault()})")}",
    };
}
