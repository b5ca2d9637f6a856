using Panacea.Diagnosis;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>
/// Quarantine: the offending process is killed where it stands and the OS goes on. The kernel's own exit path does the work (kernel/exit.c, make_task_dead), entered as the kernel
/// itself enters it after an oops, but without the panic.
/// </summary>
public sealed class KillStrategy : IRepairStrategy
{
    private const ulong Sigkill = 9;

    /// <summary>Where a dying task is sent, the best first. The rewind_ ones start over at the top of the task's stack, so they work from any stack
    /// (arch/x86/entry/entry_64.S); do_exit was split off make_task_dead in 5.17 (commit 0e25498f8cd4, "exit: Add and use make_task_dead.").</summary>
    private static readonly string[] ExitPaths = ["rewind_stack_and_make_dead", "rewind_stack_do_exit", "make_task_dead", "do_exit"];

    /// <inheritdoc/>
    public RepairKind Kind => RepairKind.Kill;

    /// <inheritdoc/>
    public StrategyVerdict Evaluate(CrashEvidence evidence)
    {
        if (evidence.Context is not (CrashContext.Process or CrashContext.KernelThread))
            return StrategyVerdict.Declines($"the crash is in {Describe(evidence.Context)}: there is no process to take out");
        if (evidence.Task is { Tgid: 1 } or { Pid: 0 })
            return StrategyVerdict.Declines("the crash is in init or the idle task, which the kernel can't live without");
        if (evidence.Kind is CrashKind.DoubleFault or CrashKind.StackOverflow)
            return StrategyVerdict.Declines("the double fault handler does not return; the panic after it is stopped instead");
        string? path = Array.Find(ExitPaths, evidence.Kernel.HasSymbol);
        if (path is null)
            return StrategyVerdict.Declines("this kernel has none of the exit paths that Panacea knows");

        ulong target = evidence.Kernel.Symbol(path);
        ulong stack = (evidence.Crash.Sp & ~15UL) - 8;
        string who = evidence.Task is { } task ? $"process {task.Tgid} ({task.Comm})" : "the current process";
        var lost = new List<string> { who };
        var risks = new List<string>();
        if (evidence.PreemptCount is > 0)
            risks.Add("the process was in an atomic section: a spinlock that it held stays locked");
        else
            risks.Add("locks that the process held inside the kernel stay locked");
        if (evidence.Context == CrashContext.KernelThread)
            risks.Add("a kernel thread ends, and nobody starts it again");

        string explanation = $"{who} is killed through {path}; the rest of the OS goes on";
        if (evidence.Point.Symbol != "oops_end")
        {
            PlannedRegister[] direct =
            [
                new(evidence.Vcpu.Vcpu, WritableRegister.Rdi, Sigkill, "exit signal SIGKILL"),
                new(evidence.Vcpu.Vcpu, WritableRegister.Rsp, ((evidence.Vcpu.Gpr[Gpr.Rsp] + 8) & ~15UL) - 8, "stack alignment of a function's entry"),
                new(evidence.Vcpu.Vcpu, WritableRegister.Rip, target, path),
            ];
            return StrategyVerdict.Applies(new RepairPlan
            {
                Kind = Kind, Explanation = explanation, Writes = [], Registers = direct, Lost = lost, Risks = risks,
            });
        }

        PtRegs next = (evidence.Crash with { Ip = target, Flags = TrapReturn.CleanFlags(evidence.Crash.Flags) })
            .With(Gpr.Rdi, Sigkill).With(Gpr.Rsp, stack).With(Gpr.Rbp, 0);
        return StrategyVerdict.Applies(TrapReturn.Plan(evidence, next) with { Kind = Kind, Explanation = explanation, Lost = lost, Risks = risks });
    }

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
