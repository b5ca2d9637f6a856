using Panacea.Kernel.Structures;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>What a CPU is in the middle of.</summary>
/// <param name="Cpu">CPU.</param>
/// <param name="Current">The task that runs.</param>
/// <param name="PreemptCount">The count as a whole, without "need resched".</param>
/// <param name="SoftirqPending">Softirqs that wait to be served, a bit each.</param>
/// <param name="Interrupts">Hardware interrupts taken since boot; null where the kernel keeps no sum.</param>
/// <param name="TimerInterrupts">Local timer interrupts taken since boot; null where unknown.</param>
/// <param name="Softirqs">Softirqs served since boot, by number; empty where unknown.</param>
public sealed record CpuState(int Cpu, ulong Current, uint PreemptCount, uint SoftirqPending, ulong? Interrupts, uint? TimerInterrupts, IReadOnlyList<uint> Softirqs)
{
    /// <summary>How often preemption is disabled: by spinlocks, mostly.</summary>
    public uint PreemptDepth => PreemptCount & 0xff;

    /// <summary>Softirqs are being served: an odd count, because disabling them adds two.</summary>
    public bool InSoftirq => (PreemptCount & 0x100) != 0;

    /// <summary>How often softirqs are disabled (local_bh_disable).</summary>
    public uint SoftirqDisableDepth => (PreemptCount >> 9) & 0x7f;

    /// <summary>A hardware interrupt is being served.</summary>
    public bool InHardirq => (PreemptCount & 0xf_0000) != 0;

    /// <summary>A non-maskable interrupt is being served.</summary>
    public bool InNmi => (PreemptCount & 0xf0_0000) != 0;

    /// <summary>Whether a softirq waits, by its number.</summary>
    public bool IsPending(int softirq) => (SoftirqPending >> softirq & 1) != 0;
}

/// <summary>What CPUs are in the middle of (include/linux/preempt.h, interrupt.h, kernel_stat.h). Whether interrupts are enabled is in a vCPU's registers alone.</summary>
public static class CpuStates
{
    /// <summary>Softirqs by number, where the kernel has no table of names.</summary>
    private static readonly string[] Known = ["HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU"];

    /// <summary>The CPUs that run tasks, or did until a panic (<see cref="Cpus.Scheduled"/>).</summary>
    /// <exception cref="KernelShapeException">The kernel lacks what every kernel has.</exception>
    /// <exception cref="GuestMemoryException">Something can't be read.</exception>
    public static List<CpuState> ReadAll(LinuxKernel kernel) => [.. Cpus.Scheduled(kernel).Select(cpu => Read(kernel, cpu))];

    /// <summary>One CPU.</summary>
    /// <inheritdoc cref="ReadAll" path="/exception"/>
    public static CpuState Read(LinuxKernel kernel, int cpu)
    {
        uint[] softirqs = [];
        ulong? interrupts = null;
        if (kernel.Image.TryFindPerCpuSymbol("kstat", out _) && kernel.HasMember("kernel_stat.softirqs"))
        {
            ulong stat = PerCpu.Address(kernel, "kstat", cpu), first = unchecked(stat + kernel.Offset("kernel_stat.softirqs"));
            softirqs = [.. Enumerable.Range(0, Shapes.Elements(kernel, "kernel_stat.softirqs", 4, 32))
                .Select(i => kernel.Space.ReadUInt32(new VirtualAddress(first + ((ulong)i * 4)), "kernel_stat.softirqs"))];
            interrupts = kernel.Read(stat, "kernel_stat.irqs_sum");
        }

        uint? timer = kernel.Image.TryFindPerCpuSymbol("irq_stat", out _) && kernel.HasMember("irq_cpustat_t.apic_timer_irqs")
            ? kernel.ReadU32(PerCpu.Address(kernel, "irq_stat", cpu), "irq_cpustat_t.apic_timer_irqs") : null;
        return new CpuState(cpu, PerCpu.CurrentTask(kernel, cpu), PerCpu.PreemptCount(kernel, cpu), SoftirqPending(kernel, cpu), interrupts, timer, softirqs);
    }

    /// <summary>Softirqs that wait: in irq_stat; in pcpu_hot from 6.2 (commit e57ef2ed97c1 and those behind it) to 6.14; then a per-CPU variable of its own.</summary>
    public static uint SoftirqPending(LinuxKernel kernel, int cpu)
    {
        if (kernel.Image.TryFindPerCpuSymbol("pcpu_hot", out _) && kernel.HasMember("pcpu_hot.softirq_pending"))
            return kernel.ReadU32(PerCpu.Address(kernel, "pcpu_hot", cpu), "pcpu_hot.softirq_pending");
        if (kernel.Image.TryFindPerCpuSymbol("__softirq_pending", out _))
        {
            Span<byte> raw = stackalloc byte[2];
            kernel.Space.Read(new VirtualAddress(PerCpu.Address(kernel, "__softirq_pending", cpu)), raw, "__softirq_pending");
            return BitConverter.ToUInt16(raw);
        }

        return kernel.ReadU32(PerCpu.Address(kernel, "irq_stat", cpu), "irq_cpustat_t.__softirq_pending");
    }

    /// <summary>Names of the softirqs by number, from the kernel's own table (softirq_to_name, kernel/softirq.c).</summary>
    public static IReadOnlyList<string> SoftirqNames(LinuxKernel kernel)
    {
        if (!kernel.Image.TryFindSymbol("softirq_to_name", out ulong table))
            return Known;
        string[] names = [.. Known];
        for (int i = 0; i < names.Length; i++)
        {
            if (kernel.Space.TryReadUInt64(new VirtualAddress(table + ((ulong)i * 8)), out ulong at, out _) && kernel.Space.TryReadString(new VirtualAddress(at), 32, out string name, out _))
                names[i] = name;
        }

        return names;
    }
}
