using System.Diagnostics;
using Panacea.Daemon;
using Panacea.Injection;
using Panacea.Lab.Guests;
using Panacea.Lab.Setup;
using Panacea.Lab.Tour;
using Panacea.Lab.Workloads;
using Panacea.Repair.Journal;
using Panacea.Sessions.Control;
using Panacea.Target;
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
    /// <summary>How long somebody has to come by the changed code, how long the guest works with a fault in it, and how long it may take over anything that it is asked afterwards.</summary>
    private static readonly TimeSpan ActivationWindow = TimeSpan.FromSeconds(1.5), Window = TimeSpan.FromSeconds(2), AskLimit = TimeSpan.FromSeconds(8), CloseLimit = TimeSpan.FromSeconds(15), Step = TimeSpan.FromMilliseconds(20),
        Warm = TimeSpan.FromMilliseconds(400);

    /// <summary>How long a guard may take to see that a CPU gives way to nobody, with a processor that is not the vCPU's alone (twenty seconds of it: docs/hangs.md); and over what time one looks whether one may.</summary>
    private static readonly TimeSpan HogLimit = TimeSpan.FromSeconds(25), BusyWindow = TimeSpan.FromSeconds(1);

    /// <summary>Part of a processor that QEMU uses while a vCPU gives way to nobody; and how often the guest is asked again after the guard has seen to something.</summary>
    private const double BusyPart = 0.8;

    private const int MostAsks = 3;

    /// <summary>Places of code that are watched at once: the fault is at the one that somebody comes by first.</summary>
    private const int Places = QemuTarget.MaxHardwareBreakpoints;

    /// <summary>Broken promises of one run that are kept: one may break them with every message.</summary>
    private const int MaxLost = 16;

    /// <summary>A guest that lives is shut down and its disk checked in one run of so many.</summary>
    private const int ShutDownEvery = 8;

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
            CampaignRecord result = await RunAsync(record with { Arm = arm }, plan, arm, cancel);
            journal.Add(result);
            progress($"{line} {workload.Name} {record.Trial} {Name(arm)}: {plan.Fault.Explanation}: {Verdict(result)} ({result.RunMs / 1000.0:0.0} s)");
        }
    }

    private async Task<CampaignRecord> RunAsync(CampaignRecord record, FaultPlan plan, CampaignArm arm, CancellationToken cancel)
    {
        long started = Stopwatch.GetTimestamp();
        bool isGuarded = arm is CampaignArm.Quarantine or CampaignArm.Ladder or CampaignArm.Rehearsal;
        bool isCode = plan.Fault.Trigger is not null;
        await using Guest guest = await machine.CopyAsync(isShared: arm == CampaignArm.Rehearsal, cancel);
        long mark = guest.Console.Mark();
        if (arm == CampaignArm.StockOops)
            machine.LetOopsesPass(guest);

        // Data is changed at the one moment that all arms have in common; code while the guest works, with its guard there.
        if (!isCode)
            machine.Inject(guest, plan);
        await using GuardProcess? guard = isGuarded ? await GuardProcess.StartAsync(options.Panacea!, $"qmp:{guest.QmpPath}", guest.RunDirectory, await OptionsOfAsync(arm, guest), cancel) : null;
        await guest.Monitor.ExecuteAsync("cont", null, cancel);
        var failures = new List<string>();
        var lost = new List<string>();
        bool wasShutDown = false;
        using var over = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        Task<IWorkloadRun> beginning = workload.BeginAsync(guest, over.Token);
        try
        {
            if (isCode)
            {
                await Task.Delay(Warm, cancel);
                Inject(guest, guard, plan);
            }

            // A guard takes it out by itself, before it makes anything of the crash.
            bool isOut = !isCode || options.IsPersistent || isGuarded;
            for (long since = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(since) < Window && IsUp(guest, mark);)
            {
                if (!isOut && TrialJudge.HasDied(guest.Console.TextFrom(mark)))
                {
                    isOut = true;
                    Revert(guest, plan);
                }

                await Task.Delay(Step, cancel);
            }

            for (int ask = 0; ask < MostAsks && IsUp(guest, mark); ask++)
            {
                int deaths = DeathsOf(guest, guard, mark);
                failures.Clear();
                failures.AddRange((await LivingGuest.ProbeAsync(guest, AskLimit, cancel, untilFailure: true)).Where(s => s.Failure is not null).Select(s => $"{s.Name}: {s.Failure}"));
                if (failures.Count == 0 || (DeathsOf(guest, guard, mark) == deaths && (guard is null || !await IsSeenToAsync(guest, guard, cancel))))
                    break;
                if (guard is not null)
                    await guard.WaitUntilClosedAsync(CloseLimit, cancel);
                else if (!isOut)
                    Revert(guest, plan);
                isOut = true;
            }

            if (IsUp(guest, mark) && failures.Count == 0)
                wasShutDown = await FinishAsync(guest, await beginning, record.Trial, failures, lost, cancel);
            if (!IsUp(guest, mark) && !wasShutDown)
                failures.Add(TrialJudge.IsDead(guest.Console.TextFrom(mark)) ? "the kernel has panicked" : "the machine has ended");
        }
        catch (Exception e) when (e is LabException or IOException or TimeoutException)
        {
            failures.Add($"{workload.Name}: {e.Message}");
        }
        finally
        {
            await over.CancelAsync();
            await CampaignMachine.EndAsync(beginning);
        }

        IReadOnlyList<TrialIncident> incidents = guard is null ? [] : await IncidentsAsync(guard, guest.IsRunning, cancel);
        string console = guest.Console.TextFrom(mark);
        (TrialOutcome outcome, bool lives) = TrialJudge.Judge(new TrialEvidence(console, HasEnded: !guest.IsRunning && !wasShutDown, incidents, failures, lost, failures.Count > 0 && IsUp(guest, mark) && await machine.IsStuckAsync(guest, cancel)));
        CampaignRecord result = record with
        {
            Outcome = outcome,
            Lives = lives,
            Incidents = incidents,
            Failures = failures,
            Lost = lost,
            Console = TrialJudge.Words(console),
            WasShutDown = wasShutDown,
            RunMs = (long)Stopwatch.GetElapsedTime(started).TotalMilliseconds,
            Panacea = isGuarded ? journal.Panacea : null,
        };
        return !lives && isGuarded && outcome is TrialOutcome.Crash or TrialOutcome.Hang or TrialOutcome.SilentCorruption ? result with { Evidence = await KeepAsync(result, guest, guard!, console) } : result;
    }

    /// <summary>The guard sees to something that has kept the guest from doing what it was asked for. Waited for where a vCPU may give way to nobody, which a guard sees late; without a guard there is nobody to wait for.</summary>
    private static async Task<bool> IsSeenToAsync(Guest guest, GuardProcess guard, CancellationToken cancel)
    {
        int deaths = guard.Deaths;
        try
        {
            using Process qemu = Process.GetProcessById(guest.Pid);
            for (long since = Stopwatch.GetTimestamp(); guard.Deaths == deaths;)
            {
                TimeSpan before = qemu.TotalProcessorTime;
                await Task.Delay(BusyWindow, cancel);
                qemu.Refresh();
                if (qemu.TotalProcessorTime - before < BusyWindow * BusyPart || Stopwatch.GetElapsedTime(since) > HogLimit)
                    return false;
            }

            return true;
        }
        catch (Exception e) when (e is ArgumentException or InvalidOperationException or System.ComponentModel.Win32Exception)
        {
            // QEMU has ended.
            return false;
        }
    }

    /// <summary>How often it has died, or hung, so far: who was at work then may have been the one who was asked.</summary>
    private static int DeathsOf(Guest guest, GuardProcess? guard, long mark) => guard?.Deaths ?? TrialJudge.Deaths(guest.Console.TextFrom(mark));

    /// <summary>Ends the work, asks what became of it, and in some runs shuts the guest down.</summary>
    private async Task<bool> FinishAsync(Guest guest, IWorkloadRun run, int trial, List<string> failures, List<string> lost, CancellationToken cancel)
    {
        (IReadOnlyList<string> notDone, IReadOnlyList<string> gone) = await run.FinishAsync(AskLimit, cancel);
        failures.AddRange(notDone);
        lost.AddRange(gone.Take(MaxLost));
        if (gone.Count > MaxLost)
            lost.Add($"and {gone.Count - MaxLost} more");
        if (failures.Count > 0 || lost.Count > 0 || trial % ShutDownEvery != 0)
            return false;
        try
        {
            if (await guest.ShutDownAsync(cancel: cancel) is { IsClean: false } fsck)
                lost.Add($"disk: {fsck.Output.Trim()}");
        }
        catch (Exception e) when (e is TimeoutException or IOException)
        {
            failures.Add($"shutting down: {e.Message}");
            return false;
        }

        if (guest.DiskPath is { } disk)
            lost.AddRange(await run.CheckDiskAsync(disk, cancel));
        return true;
    }

    /// <summary>What the guard has to say, when it has said all.</summary>
    private static async Task<IReadOnlyList<TrialIncident>> IncidentsAsync(GuardProcess guard, bool isRunning, CancellationToken cancel)
    {
        try
        {
            if (isRunning)
                await guard.WaitUntilClosedAsync(CloseLimit, cancel);
        }
        catch (TimeoutException)
        {
            // Ended below: then it is closed.
        }

        await guard.DetachAsync(cancel);
        return [.. guard.TakeEvents().Where(e => e.Event == "incident").Select(e => new TrialIncident(e.Title, e.Repair, e.Outcome, e.StoppedUs, e.Lost ?? []))];
    }

    /// <summary>A mistake that a kernel was built with is no damage that could be told from what was there before. A guard that was asked for one until the first crash knows that; one that stays it would put right.</summary>
    private async Task<IReadOnlyList<string>> OptionsOfAsync(CampaignArm arm, Guest guest)
    {
        string policy = Path.Combine(guest.RunDirectory, "policy.yaml");
        string rehearse = arm == CampaignArm.Rehearsal ? "always" : "never";
        string what = arm == CampaignArm.Quarantine ? "mode: quarantine" : options.IsPersistent ? "rungs: [go-on, retry, error-return, unwind, kill, freeze]" : "mode: full";
        await File.WriteAllTextAsync(policy, $"defaults:\n  {what}\n  health-window: 1s\n  rehearse: {rehearse}\n");
        return ["--policy", policy];
    }

    private void Inject(Guest guest, GuardProcess? guard, FaultPlan plan)
    {
        if (guard is null)
        {
            machine.Inject(guest, plan);
            return;
        }

        FaultPlace place = plan.Fault.Place!;
        Ask(guest, new FaultInjectRequest(plan.Fault.Type, place.Module is null ? place.Function : $"{place.Module}:{place.Function}", plan.Fault.Seed) { UntilCrash = !options.IsPersistent });
    }

    private void Revert(Guest guest, FaultPlan plan)
    {
        try
        {
            machine.Revert(guest, plan);
        }
        catch (Exception e) when (e is TargetException or LabException or JournalException or GuestMemoryException)
        {
            // The guest is on its way to its end: the fault stays.
        }
    }

    private static void Ask(Guest guest, GuestRequest request)
    {
        string socket = GuardSockets.Find(new QemuTargetSpec(null, guest.Pid)) ?? throw new LabException("the guard can't be asked");
        if (GuardControl.Ask(socket, request, CancellationToken.None).Error is { } error)
            throw new LabException($"the guard says: {error}");
    }

    private async Task<string> KeepAsync(CampaignRecord record, Guest guest, GuardProcess guard, string console)
    {
        string name = $"{line}-{workload.Name}-{record.Trial}-{Name(record.Arm!.Value)}", directory = Path.Combine(options.Directory, "evidence", name);
        if (Directory.Exists(directory))
            Directory.Delete(directory, true);
        Directory.CreateDirectory(directory);
        await File.WriteAllTextAsync(Path.Combine(directory, "console.log"), console);
        string incidents = Path.Combine(guest.RunDirectory, "incidents");
        if (Directory.Exists(incidents))
            await HostCommand.MustAsync("cp", ["-r", incidents, directory], null, CancellationToken.None);
        return $"evidence/{name}";
    }

    private static bool IsUp(Guest guest, long mark) => guest.IsRunning && !TrialJudge.IsDead(guest.Console.TextFrom(mark));

    private static string Name(CampaignArm arm) => CampaignFile.NameOf(arm);

    private static string Verdict(CampaignRecord record) => record.Outcome switch
    {
        TrialOutcome.NoEffect => "no effect",
        TrialOutcome.SilentCorruption => $"silent corruption ({record.Lost[0]})",
        var outcome => $"{outcome.ToString().ToLowerInvariant()}, {(record.Lives ? "recovered" : $"not recovered ({record.Failures.Concat(record.Lost).FirstOrDefault()})")}",
    };
}
