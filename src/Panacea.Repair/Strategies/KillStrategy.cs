using Panacea.Diagnosis;
using Panacea.Kernel.Holdings;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>
/// Quarantine: the offending process is killed where it stands and the OS goes on. The kernel's own exit path does the work (kernel/exit.c, make_task_dead), entered as the kernel
/// itself enters it after an oops, but without the panic. Locks that its functions hold, as far as they can be told, are given back first.
/// </summary>
public sealed class KillStrategy : IRepairStrategy
{
    private const ulong Sigkill = 9;

    /// <summary>Bits of the preempt count that are set while softirqs are served or off (include/linux/preempt.h).</summary>
    private const uint SoftirqMask = 0xff00;

    /// <summary>Where a dying task is sent, the best first. The rewind_ ones start over at the top of the task's stack, so they work from any stack
    /// (arch/x86/entry/entry_64.S); do_exit was split off make_task_dead in 5.17 (commit 0e25498f8cd4, "exit: Add and use make_task_dead.").</summary>
    private static readonly string[] ExitPaths = ["rewind_stack_and_make_dead", "rewind_stack_do_exit", "make_task_dead", "do_exit"];

    /// <summary>Beginnings of names of kernel threads for which everybody waits in the end (kernel/rcu/tree.c, kernel/stop_machine.c, kernel/softirq.c, kernel/kthread.c).</summary>
    private static readonly string[] Indispensable = ["rcu_preempt", "rcu_sched", "migration/", "ksoftirqd/", "kthreadd"];

    /// <inheritdoc/>
    public RepairKind Kind => RepairKind.Kill;

    /// <inheritdoc/>
    public StrategyVerdict Evaluate(CrashEvidence evidence)
    {
        if (evidence.Context is not (CrashContext.Process or CrashContext.KernelThread))
            return StrategyVerdict.Declines($"the crash is in {Describe(evidence.Context)}: there is no process to take out");
        if (evidence.Task is { Tgid: 1 } or { Pid: 0 })
            return StrategyVerdict.Declines("the crash is in init or the idle task, which the kernel can't live without");
        if (WhyIndispensable(evidence) is { } indispensable)
            return StrategyVerdict.Declines(indispensable);
        if (TaskSwitch.WhyNot(evidence) is { } half)
            return StrategyVerdict.Declines(half);
        string? path = Array.Find(ExitPaths, evidence.Kernel.HasSymbol);
        if (path is null)
            return StrategyVerdict.Declines("this kernel has none of the exit paths that Panacea knows");

        string who = evidence.Task is { } task ? $"process {task.Tgid} ({task.Comm})" : "the current process";
        var lost = new List<string> { who };
        var risks = new List<string>();
        if (evidence.Context == CrashContext.KernelThread)
            risks.Add("a kernel thread ends, and nobody starts it again");
        AbandonedFrames abandoned = AbandonedFrames.All(evidence);
        risks.AddRange(abandoned.StaysHeld(evidence));

        // A frame of its own for the exit path; the rewind_ ones start over at the top of the task's stack. The kernel's exit path puts preempt count and interrupts right itself. The functions that
        // give locks back need room below it that the trap's registers do not lie in: that of the abandoned frames.
        ulong stack = evidence.Point.Symbol == "oops_end" ? evidence.Crash.Sp : unchecked(evidence.Vcpu.Gpr[Gpr.Rsp] + 8);
        if (UsedUpStack.Is(evidence) && !UsedUpStack.TryInTask(evidence, out stack))
            return StrategyVerdict.Declines("its stack is used up, and where another place on it is can't be told");
        if (abandoned.Locks.Count > 0)
            stack = Math.Max(stack, evidence.Stack.Frames[AbandonedFrames.Outermost(evidence, evidence.FaultyFrame!.Value)].Sp);
        stack = unchecked((stack & ~15UL) - 8);
        bool interrupts = evidence.Point.Symbol == "oops_end" ? evidence.Crash.InterruptsEnabled : (evidence.Vcpu.Rflags & 0x200) != 0;

        // A task that has turned softirqs off counts as being in an interrupt, and make_task_dead() panics over it before it puts the count right (kernel/exit.c).
        uint? count = evidence.PreemptWord is { } word && (word & SoftirqMask) != 0 ? 0 : null;
        var landing = new Landing(evidence.Kernel.Symbol(path), stack, [(Gpr.Rbp, 0)], WritableRegister.Rdi, Sigkill, interrupts, count, abandoned)
        {
            CallStack = abandoned.Locks.Any(l => l.Kind == HoldingKind.Plug) ? ReturnPlan.StackBelow(evidence) : null,
        };
        if (!ReturnPlan.TryMake(evidence, landing, out RepairPlan plan, out string whyNot))
            return StrategyVerdict.Declines(whyNot);
        return StrategyVerdict.Applies(plan with
        {
            Kind = Kind,
            Explanation = $"{who} is killed through {path}{abandoned.Given}; the rest of the OS goes on",
            Lost = lost,
            Risks = risks,

            // What the functions further out hold is not given back.
            Confidence = Confidence.Medium,
        });
    }

    /// <summary>Why a task can't be taken out, although it is no init: everybody waits for it in the end, and nobody starts it again. Null where it can.</summary>
    internal static string? WhyIndispensable(CrashEvidence evidence) =>
        evidence is { Context: CrashContext.KernelThread, Task: { } thread } && Array.Exists(Indispensable, name => thread.Comm.StartsWith(name, StringComparison.Ordinal))
            ? $"the crash is in {thread.Comm}, which the kernel can't live without: nobody starts it again" : null;

    internal static string Describe(CrashContext context) => context switch
    {
        CrashContext.Softirq => "a softirq",
        CrashContext.Hardirq => "a hardware interrupt",
        CrashContext.Nmi => "an NMI",
        CrashContext.Idle => "the idle task",
        CrashContext.KernelThread => "a kernel thread",
        CrashContext.Process => "a process",
        _ => "a context that could not be told",
    };
}
