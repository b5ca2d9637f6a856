using System.Diagnostics;
using Panacea.Diagnosis;
using Panacea.Sessions.Hangs;

namespace Panacea.Sessions;

public sealed partial class GuardSession
{
    private HangWatch? _hangs;
    private StuckWatch? _stuck;

    /// <summary>Looks for CPUs that hang; where there are some, breaks the one that is to blame.</summary>
    private void LookForHangs()
    {
        if (_hangs is not { } watch)
        {
            LookForStuckTasks();
            return;
        }

        IReadOnlyList<HangingCpu> hanging = watch.Look();
        bool isOverdue = hanging.Count == 0 && options.Hangs.Fallback && (hanging = watch.TakeOverdue()).Count > 0;
        if (hanging.Count == 0)
        {
            LookForStuckTasks();
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
        TakeOutFaults();
    }

    /// <summary>Looks for tasks that wait for each other, or for somebody who is gone, and leads one out of it.</summary>
    private void LookForStuckTasks()
    {
        if (_stuck is not { } watch || _armed is not { } armed || watch.Look(armed.Image.KernelOver(_target.Memory), armed.Capture.CodeMap, () => _target.HasNews) is not { } stuck)
            return;
        Incidents.CancelCheckUps();
        var at = DateTimeOffset.UtcNow;
        string id = IncidentBuilder.NewId(at);
        StopResult? stop = new StopWindow(_target, armed).HandleStuck(stuck, WhyNot, Stopwatch.GetTimestamp());
        if (stop is null)
            return;
        if (stop.Applied is null)
            watch.Tell(stuck);
        Conclude(id, at, stop, new DeathEvent(_vm, id, stop.Point.Symbol, Found: false));
        TakeOutFaults();
    }
}
