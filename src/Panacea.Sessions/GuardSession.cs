using System.Diagnostics;
using System.Runtime;
using Panacea.Diagnosis;
using Panacea.Kernel.Image;
using Panacea.Repair;
using Panacea.Sessions.Hangs;
using Panacea.Sessions.Policy;
using Panacea.Target;
using Panacea.Target.Qemu;
using Panacea.Target.Qemu.Qmp;

namespace Panacea.Sessions;

/// <summary>The life of one guarded VM: attached → armed → stopped → diagnosed → planned → applied → verified → armed. Runs on one thread of its own.</summary>
/// <param name="spec">The VM.</param>
/// <param name="options">How to guard it.</param>
/// <param name="sink">Where to report.</param>
/// <param name="limits">Ceilings for what the guest says.</param>
public sealed partial class GuardSession(QemuTargetSpec spec, GuardOptions options, ISessionSink sink, TargetLimits? limits = null)
{
    private static readonly TimeSpan HealthStep = TimeSpan.FromMilliseconds(100), ModuleStep = TimeSpan.FromSeconds(1), BootStep = TimeSpan.FromMilliseconds(250);

    /// <summary>How long QEMU's own account of a stop is waited for.</summary>
    private static readonly TimeSpan MeasurePatience = TimeSpan.FromMilliseconds(200);

    private readonly TargetLimits _limits = limits ?? TargetLimits.Default;
    private readonly string _vm = spec.ToString();

    // Images that a newer module map has replaced while a pending incident still reads through them.
    private readonly List<ArmedKernel> _retired = [];
    private OpenIncidents? _incidents;
    private IGuestControl _target = null!;
    private ArmedKernel? _armed;
    private string? _moduleSignature, _incomplete;
    private long _modulesLookedAt;
    private bool _isLost;

    /// <summary>How the VM is reached; another one in tests.</summary>
    internal Func<IGuestControl> Attach { get; init; } = () => QemuTarget.Attach(spec, new QemuAttachOptions { Gdb = new() { CommandTimeout = options.StopBudget } });

    /// <summary>Begins a check-up of the guest after a repair; another one, or none, in tests.</summary>
    internal Func<RepairImage, IGuestMemory, TargetLimits, RunningCheckUp?> BeginCheckUp { get; init; } = (image, memory, limits) => RunningCheckUp.Start(image, memory, limits);

    /// <summary>The clock of health windows and pauses; what the guest's standstill is measured by is QEMU's and the system's own.</summary>
    internal TimeProvider Time { get; init; } = TimeProvider.System;

    private OpenIncidents Incidents => _incidents ??= new(new IncidentBuilder(_vm, options), sink, options, ticks => Time.GetElapsedTime(ticks));

    private enum Next
    {
        /// <summary>Watch on.</summary>
        Guard,

        /// <summary>A new kernel is coming up.</summary>
        Rearm,

        /// <summary>QEMU has ended.</summary>
        Gone,
    }

    /// <summary>Guards until cancelled or until QEMU ends. The guest runs, without breakpoints, when this returns or throws.</summary>
    /// <exception cref="TargetException">The VM can't be guarded; the message says why and what to do.</exception>
    public void Run(CancellationToken cancel)
    {
        string reason = "error";
        _cancel = cancel;
        using (_target = Attach())
        {
            try
            {
                using CancellationTokenRegistration wake = cancel.Register(_target.Wake);
                sink.OnEvent(new AttachedEvent(_vm, _target.Pid, _target.IsMemoryShared ? "shared" : "private"));
                using IDisposable? control = BeginRequests();
                reason = Guard(cancel);
                ClearFuses();
                if (reason == "interrupted" && IsKept)
                    reason = "kept-stopped";
            }
            catch (TargetException) when (!_isLost && HasQemuEnded())
            {
                // It went while it was being asked something, which is no error of anybody's.
                reason = "gone";
            }
            finally
            {
                // First of all the guest must run; records are written afterwards. Its memory is unmapped with it.
                _takesRequests = false;
                Incidents.EndReading();
                _target.Dispose();
                EndRequests();
                Incidents.CloseAll(reason switch
                {
                    "interrupted" or "kept-stopped" => "the guard was interrupted before health was verified",
                    "error" => "the guard ended by an error before health was verified",
                    _ => "the guest ended before health was verified",
                });
                _armed?.Dispose();
                DropRetired();
            }
        }

        sink.OnEvent(new DetachedEvent(_vm, reason));
    }

    private string Guard(CancellationToken cancel)
    {
        bool first = true;
        while (true)
        {
            if (!Arm(first, cancel))
                return cancel.IsCancellationRequested ? "interrupted" : "gone";
            first = false;
            Next next = Next.Guard;
            while (next == Next.Guard)
            {
                if (cancel.IsCancellationRequested)
                    return "interrupted";
                next = Watch(cancel);
            }

            if (next == Next.Gone)
                return "gone";
        }
    }

    /// <summary>Waits for a kernel to be up, learns it, and sets the breakpoints.</summary>
    /// <returns>False where the guard was cancelled or QEMU ended.</returns>
    private bool Arm(bool first, CancellationToken cancel)
    {
        int misses = 0;
        while (!cancel.IsCancellationRequested)
        {
            IHeldGuest? found = _target.Stopped;
            try
            {
                long started = Stopwatch.GetTimestamp();
                var kernel = new ArmedKernel(
                    RepairImageBuilder.Build(_target.Memory, ReadControlRegisters(found), options.ImageCache, _limits), _limits);
                if (found is not null || kernel.IsUp(_target.Memory))
                {
                    Take(kernel, started);
                    return true;
                }

                kernel.Dispose();
            }
            catch (NotLinuxException e) when (!first || ++misses < 4)
            {
                // After a reset the firmware runs first; and a vCPU that is just in user space under PTI, or in SMM, shows no kernel at this very moment.
                _ = e;
            }
            catch (NotLinuxException e)
            {
                throw new TargetException($"{_vm}: {e.Message}", e);
            }

            if (found is { Reason: StopReason.Other })
                WaitForOperator(cancel);
            else if (_target.WaitForStop(BootStep) is { Kind: QemuWaitKind.Gone })
                return false;
            DropEvents();
            if (_target.Stopped is { Reason: StopReason.Breakpoint } stray)
                stray.Resume();
        }

        return false;
    }

    private IReadOnlyList<VcpuControlState> ReadControlRegisters(IHeldGuest? held) =>
        held is null
            ? ControlRegisters.Parse(_target.HumanMonitor("info registers -a"))
            : [.. held.ReadAllRegisters().Select(r => new VcpuControlState(r.Cr0, r.Cr3, r.Cr4, r.Efer, 0))];

    private void Take(ArmedKernel kernel, long started)
    {
        long imageUs = (long)Stopwatch.GetElapsedTime(started).TotalMicroseconds;
        _armed = kernel;
        _moduleSignature = kernel.ModuleSignature(_target.Memory);
        BeginWatches(kernel);
        Incidents.Forget();
        IHeldGuest? found = _target.FoundStopped is { IsResumed: false } f ? f : null;
        if (found is null)
            _target.FlushDisks();
        IHeldGuest stop = found ?? _target.Stop();
        long stoppedUs = SetBreakpoints(stop, kernel, out VcpuRegisters? registers);

        PrepareRehearsals();
        if (_hangs is not null && _target.VcpuTimes() is null)
            Warn("hangs of CPUs can't be seen: its vCPUs share a thread of the host, so the processor time of each can't be told");

        // Whoever reads "armed" may rely on it that the guest is not stopped any more but by a crash: QEMU forgets an operator's pause that comes during a stop of ours.
        if (registers is not null)
            Rehearse(kernel, registers);
        sink.OnEvent(new ArmedEvent(_vm, kernel.Image.Meta.Release, kernel.Image.Id, imageUs, stoppedUs, kernel.Image.Meta.Without));
        if (found is not null)
            CarryOn(found, kernel);
        else if (_target.Stopped is { } hit)
            OnStop(hit, Stopwatch.GetTimestamp(), found: false);
    }

    /// <summary>All that arming needs of a guest that stands still, in one stop: the breakpoints, and one vCPU's registers to rehearse with.</summary>
    /// <returns>Microseconds for which the guest was stopped for it; 0 where it stood for another reason.</returns>
    private long SetBreakpoints(IHeldGuest stop, ArmedKernel kernel, out VcpuRegisters? registers)
    {
        registers = null;
        long started = Stopwatch.GetTimestamp();
        try
        {
            _target.ArmBreakpoints(kernel.Addresses);
            if (stop.Reason == StopReason.Requested)
                registers = stop.ReadRegisters(0);
        }
        finally
        {
            if (stop.Reason == StopReason.Requested)
                stop.Resume();
        }

        if (stop.Reason != StopReason.Requested)
            return 0;
        long ours = (long)Stopwatch.GetElapsedTime(started).TotalMicroseconds;
        return _target.TryMeasureStop(stop, MeasurePatience, out long measured) ? measured : ours;
    }

    /// <summary>A guard died and left the guest at a death point: the work goes on where it ended. One that stands elsewhere is let go.</summary>
    private void CarryOn(IHeldGuest guest, ArmedKernel kernel)
    {
        if (guest.FindVcpuAt(kernel.Addresses) >= 0)
            OnStop(guest, Stopwatch.GetTimestamp(), found: true);
        else
            guest.Resume();
    }

    private void Rehearse(ArmedKernel kernel, VcpuRegisters registers)
    {
        kernel.Rehearse(_target.Memory, registers);

        // What building left behind is given back to the system now, not in the middle of a crash.
        GCSettings.LargeObjectHeapCompactionMode = GCLargeObjectHeapCompactionMode.CompactOnce;
        GC.Collect(2, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        WarmMemory.Touch();
    }

    private Next Watch(CancellationToken cancel)
    {
        TimeSpan patience = Incidents.Any ? HealthStep : ModuleStep;
        if (_hangs is { } hangs && hangs.NextLook < patience)
            patience = hangs.NextLook;
        GuestWait wait = _target.WaitForStop(patience);
        long seen = Stopwatch.GetTimestamp();

        // Only where nothing has happened: a second CPU often dies right after the first.
        if (wait.Kind == QemuWaitKind.TimedOut)
            WarmMemory.Keep();
        switch (wait.Kind)
        {
            case QemuWaitKind.Gone:
                return Next.Gone;
            case QemuWaitKind.Stopped when wait.Guest!.Reason == StopReason.Other:
                WaitForOperator(cancel);
                return _target.IsGone ? Next.Gone : Next.Guard;
            case QemuWaitKind.Stopped:
                OnStop(wait.Guest!, seen, found: false);

                // A guest that crashes all the time would leave no other moment for it, and it is then that somebody wants to set a fuse.
                if (_target.Stopped is null)
                    AnswerRequests();
                return Next.Guard;
        }

        Incidents.Look();
        DropRetired();
        while (_target.TryTakeEvent(out QmpEvent? e))
        {
            if (e!.Name == "RESET")
                return OnReset();
        }

        AnswerRequests();
        if (wait.Kind != QemuWaitKind.TimedOut)
            return Next.Guard;
        LookForHangs();
        if (Time.GetElapsedTime(_modulesLookedAt) >= ModuleStep)
        {
            _modulesLookedAt = Time.GetTimestamp();
            Warn(RefreshModules(isStill: false));
        }

        return Next.Guard;
    }

    private Next OnReset()
    {
        sink.OnEvent(new ResetEvent(_vm));
        _fallback?.Forget();
        Incidents.EndReading();
        Incidents.CloseAll("the guest was reset before health was verified");
        if (_target.Disarm() is { } stray)
            stray.Resume();
        _armed?.Dispose();
        (_armed, _hangs, _stuck, _stalls, _ticks) = (null, null, null, null, null);
        _fuses.Clear();
        _untilCrash.Clear();
        DropRetired();

        // The machine that comes up may be laid out in another way: memory that was plugged in, a region that the firmware moves.
        _target.RefreshMemory();
        return Next.Rearm;
    }

    private void DropRetired() => _retired.RemoveAll(kernel =>
    {
        if (Incidents.Use(kernel))
            return false;
        kernel.Dispose();
        return true;
    });

    /// <summary>The stub's connection ends a moment before the monitor's does.</summary>
    private bool HasQemuEnded() => SpinWait.SpinUntil(() => _target.IsGone, HealthStep);

    private void DropEvents()
    {
        while (_target.TryTakeEvent(out _))
        {
        }
    }

    /// <summary>An operator's pause is the operator's to end. The stub tells nothing of its end, so the run state is asked for now and then. A guest that stands still shows
    /// no life: the time does not count for those that are being watched.</summary>
    private void WaitForOperator(CancellationToken cancel)
    {
        long started = Time.GetTimestamp();
        while (!cancel.IsCancellationRequested && !_target.IsGone && !_target.NoteResumedElsewhere())
        {
            AnswerRequests();
            cancel.WaitHandle.WaitOne(BootStep);
        }

        TimeSpan paused = Time.GetElapsedTime(started);
        Incidents.Pause(paused);
    }

    private void OnStop(IHeldGuest guest, long seen, bool found)
    {
        // A pause that an operator made between two of our steps: the next wait finds it.
        if (guest.Reason == StopReason.Other)
            return;

        // QEMU writes out the guest's disks before it answers anything: what needs no answer is done meanwhile. A module that came in since the last look may be the one that crashes: what it takes to learn it is worth a
        // process.
        string? warning = RefreshModules(isStill: true);
        int vcpu = found ? guest.FindVcpuAt(_armed!.Addresses) : guest.StoppedVcpu;
        DeathPoint? point = vcpu < 0 ? null : _armed?.PointAt(guest.ReadRegisters(vcpu).Rip);
        if (point is null)
        {
            if (vcpu >= 0 && _untilCrash.Count > 0 && guest.ReadRegisters(vcpu).Rip == _armed?.OopsBegin)
                TakeOutFaults();

            // Nobody waits for this stop any more: QEMU was suspended when it was asked for, or it was for an experiment. What else was armed then serves nobody.
            if (_armed is not null)
                _target.ArmBreakpoints(WhileIdle);
            guest.Resume();
            Warn(warning);
            return;
        }

        Incidents.CancelCheckUps();
        TakeOutFaults();
        var at = DateTimeOffset.UtcNow;
        string id = IncidentBuilder.NewId(at);
        var death = new DeathEvent(_vm, id, point.Symbol, found);
        StopResult stop = new StopWindow(_target, _armed!) { Declined = (held, evidence) => Decline(held, evidence, death), Refine = WithFuse, EarlierRepairs = Incidents.RepairsOf, Rehearser = NewRehearser() }.Handle(guest, vcpu, point, WhyNot, seen);
        Warn(warning);
        Conclude(id, at, stop, death);
    }

    /// <summary>After a stop: the guest runs, or is let go of; what was done is told and recorded.</summary>
    private void Conclude(string id, DateTimeOffset at, StopResult stop, DeathEvent death)
    {
        // Letting go resumes the guest by whatever way still works; nothing may come before it.
        if (stop.Lost is not null)
        {
            _isLost = true;
            Incidents.EndReading();
            _target.Dispose();
        }

        (long stoppedUs, string source) = Measure(stop, death.Found);
        stop = Tell(stop, death, stoppedUs);
        Note(stop, id);
        Record(id, at, stop, stoppedUs, source);
        if (stop.Lost is { } lost)
            throw new TargetException($"{_vm}: {lost.Message}", lost);
        if (IsKept)
            WaitWhileKept(_cancel);
    }

    private (long Us, string Source) Measure(StopResult stop, bool found)
    {
        // A guest that was found standing has stood since its guard died; only the time from here on is ours to tell.
        if (found || stop.Lost is not null)
            return (stop.StoppedUs, "panacea");
        long sum = 0;
        foreach (IHeldGuest guest in stop.Stops)
        {
            if (!_target.TryMeasureStop(guest, MeasurePatience, out long us))
                return (stop.StoppedUs, "panacea");
            sum += us;
        }

        return (sum, "qemu");
    }

    /// <summary>Why a rung may not be used: the mode, the policy, or that it has failed on the task that stands there now.</summary>
    private RungBar? WhyNot(RepairKind kind, CrashEvidence evidence) =>
        !GuardPolicy.Allows(options.Mode, kind) ? new RungBar(RungVerdict.NotAllowed, $"not allowed: by mode {GuardPolicy.Name(options.Mode)}")
        : kind == RepairKind.Kill && options.Quarantine == QuarantineKind.Freeze ? new RungBar(RungVerdict.NotAllowed, "not allowed: by policy quarantine: freeze")
        : options.Rungs is { } rungs && !rungs.Contains(kind) ? new RungBar(RungVerdict.NotAllowed, "not allowed: by policy rungs")
        : Incidents.WhyNot(kind, evidence);

    private void Record(string id, DateTimeOffset at, StopResult stop, long stoppedUs, string source)
    {
        HealthWatch? watch = stop.Applied is null || stop.Lost is not null ? null : new HealthWatch(_armed!.Image, _target.Memory, _target.VcpuCount, stop.Evidence?.Hang, _limits);
        var errors = new List<string>(stop.Errors);
        CrashReport? report = null;
        IReadOnlyList<ConsoleLine> console = [];
        if (stop.Evidence is not null)
        {
            try
            {
                (report, console) = new CrashReporter(_limits).Write(stop.Evidence);
            }
            catch (Exception e)
            {
                // The guest is saved or gone by now; a report that can't be written must not end the guard.
                errors.Add($"report: {e.GetType().Name}: {e.Message}");
            }
        }

        var pending = new PendingIncident
        {
            Id = id, At = at, Stop = stop, StoppedUs = stoppedUs, StoppedSource = source, Report = report, Console = console, Errors = errors, Watch = watch, Kernel = _armed,
            WatchStartedTicks = Time.GetTimestamp(), RepairsBefore = Incidents.RepairsInWindow,
            Settled = stop is { Lost: { } lost, Applied: not null } ? (IncidentOutcome.Failed, $"QEMU stopped answering ({lost.Message}): health could not be verified")
                : watch is null ? (stop.Errors.Count > 0 ? IncidentOutcome.Failed : IncidentOutcome.Declined, WhyNothing(stop)) : null,
            Aftermath = stop is { Evidence: not null, Lost: null, Fallback: not { Action: FallbackAction.Reset } } ? Aftermath.Begin(_armed!, _target.Memory, stop.Evidence, _limits) : null,
            CheckUp = !options.CheckUp || watch is null || Incidents.IsCheckingUp ? null : BeginCheckUp(_armed!.Image, _target.Memory, _limits),
        };
        Incidents.Add(pending);
    }

    private string WhyNothing(StopResult stop) =>
        stop.Errors.Count > 0 ? $"Panacea failed ({stop.Errors[0]}); the guest went on to what it would have done alone"
        : options.Mode == GuardMode.Observe ? "the guard only observes"
        : Incidents.IsLimitReached ? $"the guest has been repaired {options.RepairLimit} times within {Durations.Format(options.RepairLimitWindow)} (repair limit)"
        : stop.Rehearsal is { WhyNot: null, Plans: [_, ..] tried } ? $"no copy of the machine lived with a repair ({string.Join("; ", tried.Select(t => $"{GuardPolicy.Name(t.Repair)}: {string.Join(", ", t.Seen)}"))})"
        : stop.Ladder.All(v => v.Bar is not null) ? "no repair that may be used is left"
        : string.Join("; ", stop.Ladder.Where(v => v.Bar is null).Select(v => v.Verdict.WhyNot));

    /// <returns>What to warn of, or null.</returns>
    private string? RefreshModules(bool isStill)
    {
        if (_armed is not { } armed || armed.ModuleSignature(_target.Memory) is not { } now
            || (now == _moduleSignature && ((now == _incomplete && !isStill) || !armed.LacksModule(_target.Memory, isStill))))
            return null;

        // A module that can't be learned is tried once for each change of the list, and at each crash.
        _incomplete = now == _moduleSignature ? now : null;
        _moduleSignature = now;
        try
        {
            _armed = new ArmedKernel(RepairImageBuilder.Refresh(armed.Image, _target.Memory, options.ImageCache, _limits, isStill), _limits);
            _hangs?.Use(_armed.Image.KernelOver(_target.Memory));
            _retired.Add(armed);
            return null;
        }
        catch (Exception e) when (e is not TargetException)
        {
            // The map so far still serves; what came in since is unknown code until the next change.
            return $"the module map could not be refreshed: {e.Message}";
        }
    }

    private void Warn(string? message)
    {
        if (message is not null)
            sink.OnEvent(new WarningEvent(_vm, message));
    }
}
