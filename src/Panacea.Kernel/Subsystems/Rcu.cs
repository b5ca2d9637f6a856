using Panacea.Kernel.Structures;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>One CPU's part in RCU grace periods (struct rcu_data, kernel/rcu/tree.h).</summary>
/// <param name="Cpu">CPU.</param>
/// <param name="Sequence">The grace period it knows of: its number above the two state bits.</param>
/// <param name="NeedsQuiescentState">The current grace period waits for a quiescent state that this CPU has not reported (core_needs_qs).</param>
/// <param name="TicksThisPeriod">Timer ticks that it has seen in this grace period.</param>
/// <param name="Callbacks">Callbacks that wait on it.</param>
public sealed record RcuCpu(int Cpu, ulong Sequence, bool NeedsQuiescentState, ulong TicksThisPeriod, long Callbacks);

/// <summary>RCU as a whole.</summary>
/// <param name="Sequence">rcu_state.gp_seq: the grace period's number above two bits that say whether one is running.</param>
/// <param name="AgeJiffies">Ticks since it began (or the last one ended); null where there is none running.</param>
/// <param name="StallAtJiffies">When the kernel will complain of a stall, by jiffies; 0 where it never will.</param>
/// <param name="IsStalled">A grace period runs and that time has passed.</param>
/// <param name="Kthread">The grace-period kernel thread's task_struct.</param>
/// <param name="WaitsForCpus">CPUs that have not reported a quiescent state in the grace period that runs.</param>
/// <param name="BlockedReaders">Tasks that were preempted within a read section and hold up the grace period.</param>
/// <param name="Cpus">Each CPU's part.</param>
public sealed record RcuState(
    ulong Sequence, ulong? AgeJiffies, ulong StallAtJiffies, bool IsStalled, ulong Kthread, IReadOnlyList<int> WaitsForCpus, Walked<ulong> BlockedReaders, IReadOnlyList<RcuCpu> Cpus)
{
    /// <summary>RCU_SEQ_STATE_MASK: a grace period is running where any of these bits is set (kernel/rcu/rcu.h).</summary>
    private const ulong SequenceStateMask = 3;

    /// <summary>Leaf nodes at most: NR_CPUS of 8192 over 16 CPUs a leaf, and twice that.</summary>
    private const int MaxNodes = 1024;

    /// <summary>A grace period is running.</summary>
    public bool IsInProgress => (Sequence & SequenceStateMask) != 0;

    /// <summary>Reads it.</summary>
    /// <exception cref="KernelShapeException">The kernel has no tree RCU (it is for one CPU), or of no known shape.</exception>
    /// <exception cref="GuestMemoryException">Something can't be read.</exception>
    public static RcuState Read(LinuxKernel kernel, TargetLimits limits)
    {
        ulong state = kernel.Symbol("rcu_state"), jiffies = kernel.ReadSymbolU64("jiffies_64");
        ulong sequence = kernel.Read(state, "rcu_state.gp_seq");
        bool running = (sequence & SequenceStateMask) != 0;
        ulong stall = Shapes.ReadIfAny(kernel, state, "rcu_state.jiffies_stall") ?? 0;
        ulong start = kernel.Read(state, "rcu_state.gp_start");

        // jiffies_stall is far in the future while nothing runs or stalls are suppressed (rcu_cpu_stall_reset: jiffies + ULONG_MAX / 2).
        bool stalled = running && stall != 0 && unchecked((long)(jiffies - stall)) >= 0;
        var waiting = new List<int>();
        var blocked = new List<ulong>();
        string? broken = null;
        foreach (ulong leaf in Leaves(kernel, state))
        {
            ulong mask = kernel.Read(leaf, "rcu_node.qsmask");
            int first = kernel.ReadS32(leaf, "rcu_node.grplo");
            for (int bit = 0; running && bit < 64; bit++)
            {
                if ((mask >> bit & 1) != 0)
                    waiting.Add(checked(first + bit));
            }

            Walked<ulong> readers = Blocked(kernel, leaf, limits);
            blocked.AddRange(readers.Items);
            broken ??= readers.Broken;
        }

        return new RcuState(
            sequence, running ? unchecked(jiffies - start) : null, stall, stalled, kernel.Read(state, "rcu_state.gp_kthread"), waiting, new Walked<ulong>(blocked, broken),
            [.. Structures.Cpus.Online(kernel).Select(cpu => ReadCpu(kernel, cpu))]);
    }

    /// <summary>One CPU's part.</summary>
    public static RcuCpu ReadCpu(LinuxKernel kernel, int cpu)
    {
        ulong data = PerCpu.Address(kernel, "rcu_data", cpu);
        return new RcuCpu(
            cpu, kernel.Read(data, "rcu_data.gp_seq"), kernel.Read(data, "rcu_data.core_needs_qs") != 0, kernel.Read(data, "rcu_data.ticks_this_gp"),
            unchecked((long)kernel.Read(data, Shapes.FirstOf(kernel, "rcu_data.cblist.len.counter", "rcu_data.cblist.len"))));
    }

    /// <summary>The leaf nodes: the last level of rcu_state.node, where CPUs report.</summary>
    private static IEnumerable<ulong> Leaves(LinuxKernel kernel, ulong state)
    {
        ulong nodes = unchecked(state + kernel.Offset("rcu_state.node")), size = (ulong)kernel.Image.Types.SizeOf("rcu_node");
        uint count = kernel.Space.ReadUInt32(new VirtualAddress(kernel.Symbol("rcu_num_nodes")), "rcu_num_nodes");
        uint levels = kernel.Space.ReadUInt32(new VirtualAddress(kernel.Symbol("rcu_num_lvls")), "rcu_num_lvls");
        int most = Shapes.Elements(kernel, "rcu_state.level", 8, 16);
        if (levels < 1 || levels > most || count < 1 || count > MaxNodes)
            throw new KernelShapeException($"RCU says it has {count} nodes on {levels} levels");
        ulong leaf = kernel.ReadU64(unchecked(state + kernel.Offset("rcu_state.level") + ((levels - 1) * 8)), "rcu_state.level");
        for (; leaf >= nodes && leaf < nodes + (count * size); leaf += size)
            yield return leaf;
    }

    /// <summary>Readers that hold up the grace period: from gp_tasks to the end of the node's list of preempted readers, which is newest first (CONFIG_PREEMPT_RCU).</summary>
    private static Walked<ulong> Blocked(LinuxKernel kernel, ulong leaf, TargetLimits limits)
    {
        if (!kernel.HasMember("task_struct.rcu_node_entry") || !kernel.HasMember("rcu_node.gp_tasks"))
            return new Walked<ulong>([], null);
        ulong oldest = kernel.Read(leaf, "rcu_node.gp_tasks");
        if (oldest == 0)
            return new Walked<ulong>([], null);
        return Walk.Collect(Lists.Nodes(kernel, unchecked(leaf + kernel.Offset("rcu_node.blkd_tasks")), "rcu_node.blkd_tasks", limits)
            .SkipWhile(node => node != oldest).Select(node => Walk.ContainerOf(kernel, node, "task_struct.rcu_node_entry")));
    }
}
