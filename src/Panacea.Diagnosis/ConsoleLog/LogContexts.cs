using Panacea.Formats.ConsoleLog;

namespace Panacea.Diagnosis.ConsoleLog;

/// <summary>What the processor was running for, from its stack: the innermost function that only runs in one context decides.</summary>
internal static class LogContexts
{
    private static readonly HashSet<string> Softirq = new(StringComparer.Ordinal)
    {
        "__do_softirq", "handle_softirqs", "do_softirq", "run_ksoftirqd", "__softirqentry_text_start", "tasklet_action_common",
    };

    private static readonly HashSet<string> Hardirq = new(StringComparer.Ordinal)
    {
        "__common_interrupt", "common_interrupt", "handle_irq_event", "__handle_irq_event_percpu", "__flush_smp_call_function_queue", "flush_smp_call_function_queue", "generic_smp_call_function_single_interrupt",
        "hrtimer_interrupt", "irq_work_run", "irq_work_run_list", "irq_work_single", "do_IRQ", "smp_apic_timer_interrupt",
    };

    private static readonly HashSet<string> Nmi = new(StringComparer.Ordinal)
    {
        "exc_nmi", "asm_exc_nmi", "default_do_nmi", "nmi_handle", "end_repeat_nmi", "do_nmi",
    };

    private static readonly HashSet<string> Idle = new(StringComparer.Ordinal)
    {
        "do_idle", "cpu_startup_entry", "default_idle_call", "rest_init",
    };

    /// <summary>From the frames of the report's own stack, innermost first.</summary>
    /// <param name="frames">The stack.</param>
    /// <param name="identity">Who ran.</param>
    /// <param name="hasRegisters">The stack begins where the registers were taken; else it begins in the code that reports.</param>
    public static CrashContext Of(IReadOnlyList<LogFrame> frames, LogIdentity? identity, bool hasRegisters)
    {
        CrashContext task = OfTask(frames, identity);
        bool inTask = true;
        foreach (LogFrame frame in frames)
        {
            if (frame.Function is not { } function || !frame.Reliable)
                continue;

            // A watchdog's interrupt looks at what it interrupted; without registers its own frames stand above it.
            if (Nmi.Contains(function) || frame.Section == "NMI")
                return hasRegisters || !frames.Any(f => f.IsTrap) ? CrashContext.Nmi : AfterTrap(frames, identity);
            if (Softirq.Contains(function))
                return CrashContext.Softirq;
            if (Hardirq.Contains(function) || function.StartsWith("__sysvec_", StringComparison.Ordinal))
                return CrashContext.Hardirq;

            // The IRQ stack serves softirqs and interrupts; an interrupt that ends on a processor that goes to softirqs shows them first.
            inTask &= frame.Section is not ("IRQ" or "SOFTIRQ");
            if (function.StartsWith("sysvec_", StringComparison.Ordinal) || function.StartsWith("asm_sysvec_", StringComparison.Ordinal))
                return inTask ? task : CrashContext.Hardirq;
            if (function is "preempt_schedule_irq" or "entry_SYSCALL_64_after_hwframe" or "entry_SYSCALL_64" or "asm_exc_page_fault" or "kthread" or "ret_from_fork" or "ret_from_fork_asm")
                return task;
        }

        return task;
    }

    private static CrashContext AfterTrap(IReadOnlyList<LogFrame> frames, LogIdentity? identity)
    {
        int at = frames.ToList().FindIndex(f => f.IsTrap);
        return Of([.. frames.Skip(at)], identity, true);
    }

    /// <summary>The task that was current, whatever interrupted it.</summary>
    private static CrashContext OfTask(IReadOnlyList<LogFrame> frames, LogIdentity? identity)
    {
        if (identity?.Pid == 0 || (identity?.Comm?.StartsWith("swapper/", StringComparison.Ordinal) ?? false) || frames.Any(f => f.Function is { } n && Idle.Contains(n)))
            return CrashContext.Idle;
        for (int i = frames.Count - 1; i >= 0; i--)
        {
            switch (frames[i].Function)
            {
                case "entry_SYSCALL_64_after_hwframe" or "entry_SYSCALL_64" or "entry_SYSCALL_compat_after_hwframe" or "entry_INT80_compat" or "asm_exc_page_fault" or "exc_page_fault" or "do_syscall_64" or "asm_int80_emulation":
                    return CrashContext.Process;
                case "kthread" or "kernel_thread_helper":
                    return CrashContext.KernelThread;
            }
        }

        return identity?.Comm is { } comm && (comm.StartsWith("kworker/", StringComparison.Ordinal) || comm.StartsWith("ksoftirqd/", StringComparison.Ordinal)) ? CrashContext.KernelThread
            : frames.Count == 0 ? CrashContext.Unknown
            : frames.Any(f => f.Function is "ret_from_fork" or "ret_from_fork_asm") ? CrashContext.KernelThread
            : CrashContext.Unknown;
    }
}
