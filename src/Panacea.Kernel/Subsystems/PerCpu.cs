using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>Per-CPU data: each CPU's area is the symbol's offset from that CPU's base (include/linux/percpu.h; __per_cpu_offset[]).</summary>
public static class PerCpu
{
    /// <summary>The address of a per-CPU variable on one CPU.</summary>
    /// <exception cref="KernelShapeException">No such symbol.</exception>
    /// <exception cref="GuestMemoryException">The CPU has no area.</exception>
    public static ulong Address(LinuxKernel kernel, string symbol, int cpu) =>
        unchecked(kernel.Image.PerCpuSymbol(symbol) + Base(kernel, cpu));

    /// <summary>The base of one CPU's area.</summary>
    public static ulong Base(LinuxKernel kernel, int cpu)
    {
        ulong table = kernel.Symbol("__per_cpu_offset");
        return kernel.ReadU64(table + ((ulong)cpu * 8), "__per_cpu_offset");
    }

    /// <summary>The kernel's CPU number of a vCPU: the one whose per-CPU base its GS base is; null where none is (a vCPU in firmware, offline, or on its way in or out), or
    /// where the segment bases are not known.</summary>
    /// <remarks>In user mode, and between the entry to the kernel and its SWAPGS, the kernel's base waits in MSR_KERNEL_GS_BASE. What a user has put into the other one (WRGSBASE) may be any
    /// address, also one of the kernel's: so the one that should hold it goes first.</remarks>
    public static int? CpuOf(LinuxKernel kernel, VcpuRegisters registers)
    {
        if (registers.Cpu is { } told)
            return told;
        int? waiting = registers.Knows(RegisterGroups.KernelGsBase) ? Find(registers.KernelGsBase) : null;
        int? active = registers.Knows(RegisterGroups.SegmentBases) ? Find(registers.GsBase) : null;
        return registers.IsUserMode ? waiting ?? active : active ?? waiting;

        int? Find(ulong address)
        {
            IReadOnlyList<ulong> bases = kernel.Image.Meta.PerCpuBases;
            for (int cpu = 0; cpu < bases.Count; cpu++)
            {
                if (bases[cpu] == address)
                    return cpu;
            }

            return null;
        }
    }

    /// <summary>The task that runs on a CPU.</summary>
    /// <remarks>pcpu_hot.current_task from 6.2 (commit e57ef2ed97c1, "x86: Put hot per CPU variables into a struct"), the per-CPU variable current_task before it and
    /// again from 6.15 (commit a1e4cc0155ad, "x86/percpu: Move current_task to percpu hot section").</remarks>
    public static ulong CurrentTask(LinuxKernel kernel, int cpu) => HotVariable(kernel, cpu, "current_task", "pcpu_hot.current_task", 8);

    /// <summary>Bits of the preempt count that are set in interrupts: hardirqs and NMIs.</summary>
    public const uint InterruptMask = 0xff_0000;

    /// <summary>The preempt count of a CPU: bits 0–7 preemption, 8–15 softirq, 16–19 hardirq, 20–23 NMI (include/linux/preempt.h); bit 31 inverted "need resched".</summary>
    public static uint PreemptCount(LinuxKernel kernel, int cpu) =>
        (uint)HotVariable(kernel, cpu, "__preempt_count", "pcpu_hot.preempt_count", 4) & 0x7fff_ffff;

    /// <summary>Where a CPU's preempt count lies.</summary>
    public static ulong PreemptCountAddress(LinuxKernel kernel, int cpu) => HotAddress(kernel, cpu, "__preempt_count", "pcpu_hot.preempt_count");

    private static ulong HotVariable(LinuxKernel kernel, int cpu, string symbol, string member, int size)
    {
        ulong address = HotAddress(kernel, cpu, symbol, member);
        return size == 8
            ? kernel.ReadU64(address, symbol)
            : kernel.Space.ReadUInt32(new VirtualAddress(address), symbol);
    }

    private static ulong HotAddress(LinuxKernel kernel, int cpu, string symbol, string member)
    {
        if (kernel.Image.TryFindPerCpuSymbol("pcpu_hot", out ulong hot))
        {
            // Without BTF the layout of 6.2 to 6.14 is still the only one there ever was: current_task first, preempt_count at 8.
            ulong offset = kernel.HasMember(member) ? kernel.Offset(member) : symbol == "current_task" ? 0UL : 8UL;
            return unchecked(hot + offset + Base(kernel, cpu));
        }

        return Address(kernel, symbol, cpu);
    }
}
