namespace Panacea.Kernel.Subsystems;

/// <summary>What shows from outside that a CPU gets on.</summary>
/// <param name="TimerInterrupts">Local timer interrupts taken since boot: irq_stat.apic_timer_irqs (arch/x86/include/asm/hardirq.h).</param>
/// <param name="Switches">Context switches since boot: rq.nr_switches (kernel/sched/sched.h).</param>
/// <param name="Task">task_struct address of the task that it runs: rq.curr.</param>
/// <param name="IsIdleTask">It runs its idle task.</param>
/// <param name="Runnable">Tasks that run on it or wait for it: rq.nr_running.</param>
public readonly record struct CpuProgress(ulong TimerInterrupts, ulong Switches, ulong Task, bool IsIdleTask, ulong Runnable)
{
    /// <summary>It has nothing to run.</summary>
    public bool IsIdle => IsIdleTask && Runnable == 0;

    /// <summary>Reads one CPU's.</summary>
    /// <exception cref="KernelShapeException">The kernel lacks a symbol or a member.</exception>
    /// <exception cref="Panacea.Target.GuestMemoryException">It can't be read.</exception>
    public static CpuProgress Read(LinuxKernel kernel, int cpu)
    {
        ulong irqs = PerCpu.Address(kernel, "irq_stat", cpu), rq = PerCpu.Address(kernel, "runqueues", cpu);
        ulong current = kernel.Read(rq, "rq.curr");
        return new CpuProgress(
            kernel.Read(irqs, "irq_cpustat_t.apic_timer_irqs"), kernel.Read(rq, "rq.nr_switches"), current, current == kernel.Read(rq, "rq.idle"), kernel.Read(rq, "rq.nr_running"));
    }
}
