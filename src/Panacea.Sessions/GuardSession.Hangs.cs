using System.Diagnostics;
using Panacea.Diagnosis;
using Panacea.Sessions.Hangs;

namespace Panacea.Sessions;

public sealed partial class GuardSession
{
    private HangWatch? _hangs;
    private StuckWatch? _stuck;
    private StallWatch? _stalls;
    private TickWatch? _ticks;

    private void BeginWatches(ArmedKernel kernel)
    {
        (_hangs, _stuck, _stalls, _ticks) = (null, null, null, null);
        if (options.Hangs is not { Detect: true, After: var after })
            return;
        int cpus = Math.Min(_target.VcpuCount, kernel.Image.Meta.PerCpuBases.Count);
        _hangs = new HangWatch(kernel.Image.KernelOver(_target.Memory), cpus, _target, after);
        _stuck = new StuckWatch(after, cpus, Elapsed, Time.GetTimestamp, _limits);
        _stalls = new StallWatch(after, cpus, Elapsed, Time.GetTimestamp, _limits);
        _ticks = new TickWatch(cpus, Elapsed, Time.GetTimestamp, _target.VcpuTimes, _target.IsSuspended);

        TimeSpan Elapsed(long ticks) => Time.GetElapsedTime(ticks);
    }

    /// <summary>Looks for CPUs that hang; where there are some, breaks the one that is to blame.</summary>
    private void LookForHangs()
    {
        if (_hangs is not { } watch)
        {
            LookForWaits();
            return;
        }

        IReadOnlyList<HangingCpu> hanging = watch.Look();
        bool isOverdue = hanging.Count == 0 && options.Hangs.Fallback && (hanging = watch.TakeOverdue()).Count > 0;
        if (hanging.Count == 0)
        {
            LookForWaits();
            return;
        }

        Incidents.CancelCheckUps();
        string? warning = RefreshModules(isStill: false);
        var at = DateTimeOffset.UtcNow;
        string id = IncidentBuilder.NewId(at);
        var death = new DeathEvent(_vm, id, Hang.Point, Found: false);
        StopResult? stop = new StopWindow(_target, _armed!)
        {
            Injected = InjectedRanges, Refine = WithFuse, EarlierRepairs = Incidents.RepairsOf, Rehearser = NewRehearser(), Declined = isOverdue ? (held, evidence) => Decline(held, evidence, death) : null,
        }.HandleHang(hanging, WhyNot, Stopwatch.GetTimestamp());
        Warn(warning);
        if (stop is null)
        {
            watch.Postpone(hanging);
            return;
        }

        if (stop.Applied is not null)
            watch.Forget();
        else if (!isOverdue)
            watch.Told(hanging);
        Conclude(id, at, stop, death);
        AfterHang(stop);
    }

    private void LookForWaits()
    {
        if (!LookForStuckTasks() && !LookForLostTicks())
            LookForStalledDisks();
    }

    /// <summary>Looks for CPUs that have lost their timer tick, and starts one's again.</summary>
    /// <returns>There was one.</returns>
    private bool LookForLostTicks()
    {
        if (_ticks is not { } watch || _armed is not { } armed || watch.Look(armed.Image.KernelOver(_target.Memory)) is not { } lost)
            return false;
        Incidents.CancelCheckUps();
        var at = DateTimeOffset.UtcNow;
        string id = IncidentBuilder.NewId(at);
        TakeOutFaults();
        StopResult? stop = new StopWindow(_target, armed).HandleLostTick(lost, WhyNot, Stopwatch.GetTimestamp());
        if (stop is null || stop.Applied is not null)
            watch.Forget(lost);
        else
            watch.Tell(lost);
        if (stop is not null)
            Conclude(id, at, stop, new DeathEvent(_vm, id, stop.Point.Symbol, Found: false));
        return true;
    }

    /// <summary>Looks for disks whose requests do not get on, and helps one.</summary>
    private void LookForStalledDisks()
    {
        if (_stalls is not { } watch || _armed is not { } armed || watch.Look(armed.Image.KernelOver(_target.Memory), () => _target.HasNews) is not { } stall)
            return;
        Incidents.CancelCheckUps();
        var at = DateTimeOffset.UtcNow;
        string id = IncidentBuilder.NewId(at);

        // What it has done shows already, and stays when it is gone.
        TakeOutFaults();
        StopResult? stop = new StopWindow(_target, armed).HandleStall(stall, _limits, WhyNot, Stopwatch.GetTimestamp());
        if (stop is null || stop.Applied is not null)
            watch.Forget(stall);
        else
            watch.Tell(stall);
        if (stop is not null)
            Conclude(id, at, stop, new DeathEvent(_vm, id, stop.Point.Symbol, Found: false));
    }

    /// <summary>Looks for tasks that wait for each other, or for somebody who is gone, and leads one out of it.</summary>
    /// <returns>There was one.</returns>
    private bool LookForStuckTasks()
    {
        if (_stuck is not { } watch || _armed is not { } armed || watch.Look(armed.Image.KernelOver(_target.Memory), armed.Capture.CodeMap, () => _target.HasNews) is not { } stuck)
            return false;
        Incidents.CancelCheckUps();
        var at = DateTimeOffset.UtcNow;
        string id = IncidentBuilder.NewId(at);
        StopResult? stop = new StopWindow(_target, armed).HandleStuck(stuck, WhyNot, Stopwatch.GetTimestamp());
        if (stop is null)
        {
            RearmForFaults();
            return true;
        }

        if (stop.Applied is null)
            watch.Tell(stuck);
        Conclude(id, at, stop, new DeathEvent(_vm, id, stop.Point.Symbol, Found: false));
        AfterHang(stop);
        return true;
    }
}
