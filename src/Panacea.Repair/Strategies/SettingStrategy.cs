using Panacea.Diagnosis;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>
/// The kernel has found something, has said so, and would have gone on; but a setting (panic_on_warn, panic_on_rcu_stall, unknown_nmi_panic, …) makes a panic of it. The function that asks for
/// the setting returns, and the kernel goes on as it does without it. Nothing is lost.
/// </summary>
public sealed class SettingStrategy : IRepairStrategy
{
    /// <summary>Frames of panic() itself and of what leads to it.</summary>
    private const int MaxFrames = 4;

    /// <summary>A function that calls panic() for a setting alone.</summary>
    /// <param name="Name">The setting, a sysctl or a boot parameter.</param>
    /// <param name="Result">What the function returns where the setting is not set; null where it returns nothing.</param>
    /// <param name="Variable">A variable of the kernel that has to be cleared, because the function will be called again until it has done its work; null where there is none.</param>
    private sealed record Setting(string Name, ulong? Result = null, string? Variable = null);

    /// <summary>kernel/panic.c, kernel/rcu/tree_stall.h, arch/x86/kernel/nmi.c; kernel/watchdog.c, where the timer has been forwarded before anything is looked at and HRTIMER_RESTART is 1;
    /// mm/oom_kill.c, where true has the allocation tried again.</summary>
    private static readonly Dictionary<string, Setting> Settings = new(StringComparer.Ordinal)
    {
        ["check_panic_on_warn"] = new("panic_on_warn"),

        // kernel/sched/core.c, which has it inlined before 6.2 (commit 79cc1ba7badf, "panic: Consolidate open-coded panic_on_warn checks").
        ["__schedule_bug"] = new("panic_on_warn"),
        ["panic_on_rcu_stall"] = new("panic_on_rcu_stall"),

        // It is inlined into them, each into the next; only the last is called once a tick, and looks for stalls again with the next.
        ["print_cpu_stall"] = new("panic_on_rcu_stall"),
        ["print_other_cpu_stall"] = new("panic_on_rcu_stall"),
        ["check_cpu_stall"] = new("panic_on_rcu_stall"),
        ["rcu_pending"] = new("panic_on_rcu_stall", 0),
        ["rcu_sched_clock_irq"] = new("panic_on_rcu_stall"),
        ["unknown_nmi_error"] = new("unknown_nmi_panic or panic_on_unrecovered_nmi"),
        ["io_check_error"] = new("panic_on_io_nmi"),
        ["pci_serr_error"] = new("panic_on_unrecovered_nmi"),
        ["watchdog_timer_fn"] = new("softlockup_panic", 1),
        ["out_of_memory"] = new("panic_on_oom", 1, "sysctl_panic_on_oom"),
    };

    /// <inheritdoc/>
    public RepairKind Kind => RepairKind.GoOn;

    /// <inheritdoc/>
    public StrategyVerdict Evaluate(CrashEvidence evidence) =>
        evidence.Context == CrashContext.Process && Attacks.WhatItMeans(evidence) is { } attack
            ? StrategyVerdict.Declines($"{attack}: such a process does not go on")
            : Return(evidence, Kind);

    /// <summary>The function that asks for the setting returns.</summary>
    internal static StrategyVerdict Return(CrashEvidence evidence, RepairKind kind)
    {
        if (evidence.Point.Symbol is "oops_end" or Hang.Point)
            return StrategyVerdict.Declines("it is no panic that a setting asked for");
        IReadOnlyList<StackFrame> frames = evidence.Stack.Frames;
        for (int i = 0; i < frames.Count && i < MaxFrames && frames[i].Reliability == FrameReliability.Exact; i++)
        {
            string function = Boundaries.WithoutSuffix(evidence.LocationOf(frames[i])?.Name ?? "");
            if (!Settings.TryGetValue(function, out Setting? setting))
                continue;
            StrategyVerdict verdict = ReturnCandidate.Plan(evidence, i, new ReturnResult(new ReturnedFunction(function, null, 0, setting.Result), setting.Result, $"{setting.Result}", null), kind, acceptsDoubt: true);
            if (verdict.Plan is not { } found)
                return verdict;

            // Nothing is wrong with the function: it is to run the next time.
            RepairPlan plan = found with { Returned = null };
            PlannedContinuation? woken = Slept(evidence, i);
            if (woken is not null)
                plan = plan with { Continuations = [.. plan.Continuations, woken] };
            if (setting.Variable is not { } variable)
            {
                return StrategyVerdict.Applies(plan with
                {
                    Explanation = $"{function} returns, as it does where {setting.Name} is not set{(woken is null ? "" : ", and the task has its preempt count again when it wakes up")}; nothing is lost",
                    Lost = [],
                    Risks = ["what the kernel has warned of is as it was"],
                });
            }

            if (!evidence.Kernel.HasSymbol(variable))
                return StrategyVerdict.Declines($"{setting.Name} can't be cleared: this kernel has no {variable}");
            return StrategyVerdict.Applies(plan with
            {
                Writes = [.. plan.Writes, new PlannedWrite(new VirtualAddress(evidence.Kernel.Symbol(variable)), new byte[4], $"{setting.Name}: 0")],
                Explanation = $"{setting.Name} is cleared and {function} returns, so that it is called again and does what it does without the setting",
                Lost = [$"{setting.Name} is 0 from now on"],
                Risks = ["what the kernel would have died of is as it was"],
            });
        }

        return StrategyVerdict.Declines("it is no panic that a setting asked for");
    }

    /// <summary>Who sleeps where he must not has his preempt count forgotten by the scheduler (schedule_debug, kernel/sched/core.c), and enables preemption once too often afterwards: page faults of his
    /// would be refused, and nothing of his would give way. Where he wakes up soon, he finds the count as it was.</summary>
    private static PlannedContinuation? Slept(CrashEvidence evidence, int index)
    {
        IReadOnlyList<StackFrame> frames = evidence.Stack.Frames;
        if (evidence.Context is not (CrashContext.Process or CrashContext.KernelThread) || evidence.PreemptWord is not > 1)
            return null;
        string Name(int i) => i < frames.Count && frames[i].Reliability == FrameReliability.Exact ? Boundaries.WithoutSuffix(evidence.LocationOf(frames[i])?.Name ?? "") : "";
        int bug = Name(index) == "__schedule_bug" ? index : index + 1;
        if (Name(bug) != "__schedule_bug" || Name(bug + 1) != "__schedule" || Name(bug + 2) != "schedule" || Name(bug + 3).Length == 0 || frames[bug + 2].Cfa is not { } back)
            return null;

        // schedule() has added one, and takes it off again.
        return new PlannedContinuation(frames[bug + 3].Ip, back, [], [], "the return from schedule()") { PreemptCount = evidence.PreemptWord!.Value - 1, IsOptional = true };
    }
}
