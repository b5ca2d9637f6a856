using Panacea.Diagnosis;

namespace Panacea.Repair.Strategies;

/// <summary>Crashes in the middle of a switch of tasks (kernel/sched/core.c, __schedule). The run queue says already who runs, its lock is held, and whoever called the scheduler has left something on its stack by which it
/// is to be woken: none of that is a lock that a function takes and gives back, and a stack that is led out of it leaves all of it behind. Seen in a campaign of faults: the task lived, and the next to wake it died.</summary>
internal static class TaskSwitch
{
    private const string Switch = "__schedule";

    /// <summary>Why nothing can be led out of it; null where the crash is elsewhere.</summary>
    public static string? WhyNot(CrashEvidence evidence) =>
        evidence.Stack.Frames.TakeWhile(f => f.Index == 0 || !f.IsTrap).Any(f => evidence.LocationOf(f) is { Module: null } at && Boundaries.WithoutSuffix(at.Name) == Switch)
            ? "the crash is in the middle of a switch of tasks, of which half has been done" : null;
}
