using System.Diagnostics;
using Panacea.Daemon;
using Panacea.Injection;
using Panacea.Lab.Campaign.Report;
using Panacea.Lab.Guests;
using Panacea.Lab.Setup;
using Panacea.Lab.Tour;
using Panacea.Lab.Workloads;
using Panacea.Repair.Journal;
using Panacea.Sessions.Control;
using Panacea.Target;
using Panacea.Target.Qemu;

namespace Panacea.Lab.Campaign;

/// <summary>One run: a fault in one arm, in a copy of the frozen guest.</summary>
/// <param name="machine">The frozen guest.</param>
/// <param name="line">Its kernel line.</param>
/// <param name="workload">Its work.</param>
/// <param name="options">How it is run.</param>
/// <param name="panacea">SHA-256 of the executable that guards.</param>
/// <param name="plan">The fault.</param>
/// <param name="record">What is known of the run beforehand: its fault and its arm.</param>
internal sealed class ArmRun(CampaignMachine machine, string line, CampaignWorkload workload, CampaignOptions options, string? panacea, FaultPlan plan, CampaignRecord record)
{
    /// <summary>How long the guest works before there is a fault of code in it, and with it; and how long it may take over anything that it is asked afterwards, and over shutting down.</summary>
    private static readonly TimeSpan Warm = TimeSpan.FromMilliseconds(400), Window = TimeSpan.FromSeconds(2), AskLimit = TimeSpan.FromSeconds(8), CloseLimit = TimeSpan.FromSeconds(15), ShutDownLimit = TimeSpan.FromSeconds(30),
        Step = TimeSpan.FromMilliseconds(20), InjectStep = TimeSpan.FromMilliseconds(100);

    /// <summary>How long a guard may take to see that a CPU gives way to nobody, with a processor that is not the vCPU's alone (twenty seconds of it: docs/hangs.md); and over what time one looks whether one may.</summary>
    private static readonly TimeSpan HogLimit = TimeSpan.FromSeconds(25), BusyWindow = TimeSpan.FromSeconds(1);

    /// <summary>Part of a processor that QEMU uses while a vCPU gives way to nobody; and how often the guest is asked again after it has crashed over a question, or the guard has seen to something.</summary>
    private const double BusyPart = 0.8;

    private const int MostAsks = 3;

    /// <summary>Broken promises of one run that are kept: one may break them with every message.</summary>
    private const int MaxLost = 16;

    /// <summary>Of guests that live and to which nothing has happened one of so many is shut down and its disk checked; of those to which something has, every one.</summary>
    private const int ShutDownEvery = 8;

    /// <summary>A guest that stops for another reason at the moment of a change is asked again; so often.</summary>
    private const int MostTries = 10;

    private readonly CampaignArm _arm = record.Arm!.Value;
    private readonly bool _isCode = plan.Fault.Trigger is not null;
    private readonly List<string> _failures = [], _lost = [], _bystanders = [];

    /// <summary>Runs it.</summary>
    /// <param name="cancel">Gives up: there is no result.</param>
    /// <exception cref="LabException">The copy did not come up, or the fault could not be put into it: that says nothing of the fault.</exception>
    public async Task<CampaignRecord> RunAsync(CancellationToken cancel)
    {
        long started = Stopwatch.GetTimestamp();
        bool isGuarded = ArmFigures.IsGuarded(_arm);
        await using Guest guest = await machine.CopyAsync(isShared: _arm == CampaignArm.Rehearsal, cancel);
        long mark = guest.Console.Mark();
        if (_arm == CampaignArm.StockOops)
            machine.LetOopsesPass(guest);

        // Data is changed at the one moment that all arms have in common; code while the guest works, with its guard there.
        if (!_isCode)
            machine.Inject(guest, plan);
        await using GuardProcess? guard = isGuarded ? await GuardProcess.StartAsync(options.Panacea!, $"qmp:{guest.QmpPath}", guest.RunDirectory, await OptionsOfAsync(guest), cancel) : null;
        await guest.Monitor.ExecuteAsync("cont", null, cancel);
        bool wasShutDown;
        using var over = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        Task<IWorkloadRun> beginning = workload.BeginAsync(guest, over.Token);
        Task takenOut = Task.CompletedTask;
        try
        {
            if (_isCode)
            {
                await Task.Delay(Warm, cancel);
                await InjectAsync(guest, guard, cancel);

                // A guard takes it out by itself, where the oops begins.
                if (guard is null && !options.IsPersistent)
                    takenOut = TakeOutAsync(guest, mark, over.Token);
            }

            wasShutDown = await WatchAsync(guest, guard, mark, beginning, cancel);
        }
        finally
        {
            await over.CancelAsync();
            await CampaignMachine.EndAsync(beginning);
            await takenOut;
        }

        IReadOnlyList<TrialIncident> incidents = guard is null ? [] : await IncidentsAsync(guard, guest.IsRunning, cancel);
        string console = guest.Console.TextFrom(mark);
        (TrialOutcome outcome, bool lives) = TrialJudge.Judge(new TrialEvidence(console, HasEnded: !guest.IsRunning && !wasShutDown, incidents, _failures, _lost, _failures.Count > 0 && IsUp(guest, mark) && await machine.IsStuckAsync(guest, cancel)));
        CampaignRecord result = record with
        {
            Outcome = outcome,
            Lives = lives,
            Incidents = incidents,
            Failures = _failures,
            Lost = _lost,
            Bystanders = _bystanders,
            Console = TrialJudge.Words(console),
            WasShutDown = wasShutDown,
            RunMs = (long)Stopwatch.GetElapsedTime(started).TotalMilliseconds,
            Panacea = isGuarded ? panacea : null,
        };
        return !lives && isGuarded && outcome is TrialOutcome.Crash or TrialOutcome.Hang or TrialOutcome.SilentCorruption ? result with { Evidence = await KeepAsync(guest, console) } : result;
    }

    /// <summary>Lets the guest work with its fault, asks it for everything, and in some runs shuts it down.</summary>
    /// <returns>It was shut down.</returns>
    private async Task<bool> WatchAsync(Guest guest, GuardProcess? guard, long mark, Task<IWorkloadRun> beginning, CancellationToken cancel)
    {
        bool wasShutDown = false;
        try
        {
            for (long since = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(since) < Window && IsUp(guest, mark);)
                await Task.Delay(Step, cancel);
            for (int ask = 0; ask < MostAsks && IsUp(guest, mark); ask++)
            {
                int deaths = DeathsOf(guest, guard, mark);
                await AskAsync(guest, beginning, cancel);

                // Who was at work when it died may have been the one who was asked.
                bool hasDied = DeathsOf(guest, guard, mark) != deaths;
                if (_lost.Count > 0 || (!hasDied && (_failures.Count == 0 || guard is null || !await IsSeenToAsync(guest, guard, cancel))))
                    break;
                if (guard is not null)
                    await guard.WaitUntilClosedAsync(CloseLimit, cancel);
            }

            if (IsUp(guest, mark) && _failures.Count == 0)
            {
                await LookAtBystanderAsync(guest, cancel);
                bool isSuspect = DeathsOf(guest, guard, mark) > 0 || guest.Console.TextFrom(mark).Contains("EXT4-fs error", StringComparison.Ordinal);
                if (_lost.Count == 0 && (isSuspect || IsSample()))
                    wasShutDown = await ShutDownAsync(guest, await beginning, cancel);
            }

            if (!IsUp(guest, mark) && !wasShutDown)
                _failures.Add(TrialJudge.IsDead(guest.Console.TextFrom(mark)) ? "the kernel has panicked" : "the machine has ended");
        }
        catch (Exception e) when (e is LabException or IOException or TimeoutException)
        {
            _failures.Add($"{workload.Name}: {e.Message}");
        }

        return wasShutDown;
    }

    /// <summary>Does it do all that servers do, and what its workload has to?</summary>
    private async Task AskAsync(Guest guest, Task<IWorkloadRun> beginning, CancellationToken cancel)
    {
        _failures.Clear();
        _failures.AddRange((await LivingGuest.ProbeAsync(guest, AskLimit, cancel, untilFailure: true)).Where(s => s.Failure is not null).Select(s => $"{s.Name}: {s.Failure}"));
        if (_failures.Count > 0)
            return;
        (IReadOnlyList<string> notDone, IReadOnlyList<string> gone) = await (await beginning).FinishAsync(AskLimit, cancel);
        _failures.AddRange(notDone);
        _lost.AddRange(gone.Take(MaxLost));
        if (gone.Count > MaxLost)
            _lost.Add($"and {gone.Count - MaxLost} more");
    }

    /// <summary>Every guest has a process that is not its work, and that nobody has a reason to harm: that it is gone does not keep the guest from living, what was changed in its memory is damage like any other.</summary>
    private async Task LookAtBystanderAsync(Guest guest, CancellationToken cancel)
    {
        CounterStatus now = await CounterStatus.ReadAsync(guest, AskLimit, cancel);
        if (now.Damaged > 0)
            _lost.Add($"counter: {now.Damaged} words of its memory were damaged");
        if (now.Pid != machine.Counter.Pid || now.Count <= machine.Counter.Count || !await now.GoesOnAsync(guest, AskLimit, cancel))
            _bystanders.Add($"counter: process {machine.Counter.Pid} counts no more");
    }

    /// <summary>The same runs in every arm, whatever the kind of fault.</summary>
    private bool IsSample() => new SeededRandom(options.Seed, $"shutting down trial {record.Trial} of {line} {workload.Name}").Below(ShutDownEvery) == 0;

    private async Task<bool> ShutDownAsync(Guest guest, IWorkloadRun run, CancellationToken cancel)
    {
        try
        {
            if (await guest.ShutDownAsync(ShutDownLimit, cancel) is { IsClean: false } fsck)
                _lost.Add($"disk: {fsck.Output}");
        }
        catch (Exception e) when (e is TimeoutException or IOException)
        {
            _failures.Add($"shutting down: {e.Message}");
            return false;
        }

        if (guest.DiskPath is { } disk)
            _lost.AddRange(await run.CheckDiskAsync(disk, cancel));
        return true;
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

    /// <summary>How often it has died, or hung, so far.</summary>
    private static int DeathsOf(Guest guest, GuardProcess? guard, long mark) => guard?.Deaths ?? TrialJudge.Deaths(guest.Console.TextFrom(mark));

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
    private async Task<IReadOnlyList<string>> OptionsOfAsync(Guest guest)
    {
        string policy = Path.Combine(guest.RunDirectory, "policy.yaml");
        string rehearse = _arm == CampaignArm.Rehearsal ? "always" : "never";
        string what = _arm == CampaignArm.Quarantine ? "mode: quarantine" : options.IsPersistent ? "rungs: [go-on, retry, error-return, unwind, kill, freeze]" : "mode: full";
        await File.WriteAllTextAsync(policy, $"defaults:\n  {what}\n  health-window: 1s\n  rehearse: {rehearse}\n");
        return ["--policy", policy];
    }

    private async Task InjectAsync(Guest guest, GuardProcess? guard, CancellationToken cancel)
    {
        if (guard is null)
        {
            machine.Inject(guest, plan);
            return;
        }

        FaultPlace place = plan.Fault.Place!;
        var request = new FaultInjectRequest(plan.Fault.Type, place.Module is null ? place.Function : $"{place.Module}:{place.Function}", plan.Fault.Seed) { UntilCrash = !options.IsPersistent };
        string socket = GuardSockets.Find(new QemuTargetSpec(null, guest.Pid)) ?? throw new LabException("the guard can't be asked");
        for (int attempt = 1; GuardControl.Ask(socket, request, cancel).Error is { } error; attempt++)
        {
            if (attempt == MostTries)
                throw new LabException($"the guard says: {error}");
            await Task.Delay(InjectStep, cancel);
        }
    }

    /// <summary>Takes the fault out of a guest that nobody guards when its console tells of a crash: as soon as one can know.</summary>
    private async Task TakeOutAsync(Guest guest, long mark, CancellationToken over)
    {
        try
        {
            while (guest.IsRunning && !TrialJudge.HasDied(guest.Console.TextFrom(mark)))
                await Task.Delay(Step, over);
            for (int attempt = 0; attempt < MostTries && IsUp(guest, mark) && !TryRevert(guest); attempt++)
                await Task.Delay(Step, over);
        }
        catch (OperationCanceledException)
        {
            // It is over.
        }
    }

    private bool TryRevert(Guest guest)
    {
        try
        {
            machine.Revert(guest, plan);
            return true;
        }
        catch (Exception e) when (e is TargetException or LabException or JournalException or GuestMemoryException)
        {
            return false;
        }
    }

    private async Task<string> KeepAsync(Guest guest, string console)
    {
        string name = $"{line}-{workload.Name}-{record.Trial}-{CampaignFile.NameOf(_arm)}", directory = Path.Combine(options.Directory, "evidence", name);
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
}
