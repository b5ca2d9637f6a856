using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Tests.Image;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests.Subsystems;

public sealed class CpuAndRcuTests
{
    private static readonly TargetLimits Few = TargetLimits.Default with { MaxChain = 100 };

    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void What_a_cpu_is_in_the_middle_of_is_told_apart(KernelShape shape)
    {
        using var g = new KernelGuest(new SyntheticKernelOptions { Shape = shape });
        SyntheticKernel k = g.Guest;
        k.Run(k.Kthread, 1, 0x0011_0302);
        if (shape == KernelShape.Linux612)
            k.Put(k.PerCpu("pcpu_hot", 1), "pcpu_hot.softirq_pending", 0x82);
        else
            k.Put(k.PerCpu("irq_stat", 1), "irq_cpustat_t.__softirq_pending", 0x82);
        k.Put(k.PerCpu("kstat", 1), "kernel_stat.irqs_sum", 555);
        k.Write(k.PerCpu("kstat", 1) + k.Types.Offset("kernel_stat.softirqs") + 4, 9, 0, 0, 0);
        CpuState cpu = CpuStates.ReadAll(g.Kernel)[1];
        Assert.Equal((1, k.Kthread.Address, 2u, 1u), (cpu.Cpu, cpu.Current, cpu.PreemptDepth, cpu.SoftirqDisableDepth));
        Assert.Equal((true, true, true), (cpu.InSoftirq, cpu.InHardirq, cpu.InNmi));
        Assert.Equal((true, true, false), (cpu.IsPending(1), cpu.IsPending(7), cpu.IsPending(0)));
        Assert.Equal((555UL, 1000u, 9u, 10), (cpu.Interrupts, cpu.TimerInterrupts, cpu.Softirqs[1], cpu.Softirqs.Count));
        Assert.Equal("NET_RX", CpuStates.SoftirqNames(g.Kernel)[3]);
        CpuState other = CpuStates.Read(g.Kernel, 0);
        Assert.Equal((false, false, false, 0u), (other.InSoftirq, other.InHardirq, other.InNmi, other.SoftirqPending));
    }

    [Fact]
    public void A_grace_period_names_the_cpus_and_readers_that_hold_it_up()
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        ulong rcu = k["rcu_state"], leaf = rcu + k.Types.Offset("rcu_state.node");
        RcuState quiet = RcuState.Read(g.Kernel, Few);
        Assert.Equal((false, null, false, 2), (quiet.IsInProgress, quiet.AgeJiffies, quiet.IsStalled, quiet.Cpus.Count));
        Assert.Empty(quiet.WaitsForCpus);

        ulong entry = k.Types.Offset("task_struct.rcu_node_entry");
        k.Put(rcu, "rcu_state.gp_seq", 401);
        k.Put(rcu, "rcu_state.gp_start", 0xffff_0000 - 300);
        k.Put(rcu, "rcu_state.jiffies_stall", 0xffff_0000 - 10);
        k.Put(leaf, "rcu_node.qsmask", 2);

        // Three were preempted; the newest came after the grace period began and does not hold it up.
        k.Ring([leaf + k.Types.Offset("rcu_node.blkd_tasks"), k.Victim.Address + entry, k.Kthread.Address + entry, k.Init.Address + entry]);
        k.Put(leaf, "rcu_node.gp_tasks", k.Kthread.Address + entry);
        k.Put(k.PerCpu("rcu_data", 1), "rcu_data.core_needs_qs", 1);
        k.Put(k.PerCpu("rcu_data", 1), "rcu_data.cblist.len.counter", 12);
        RcuState state = RcuState.Read(g.Kernel, Few);
        Assert.Equal((true, 300UL, true), (state.IsInProgress, state.AgeJiffies, state.IsStalled));
        Assert.Equal([1], state.WaitsForCpus);
        Assert.Equal([k.Kthread.Address, k.Init.Address], state.BlockedReaders.Items);
        Assert.Equal(new RcuCpu(1, 0, true, 0, 12), state.Cpus[1]);
        k.Put(rcu, "rcu_state.jiffies_stall", 0xffff_0000 + 10);
        Assert.False(RcuState.Read(g.Kernel, Few).IsStalled);
    }

    [Fact]
    public void An_rcu_tree_of_senseless_shape_is_a_typed_failure()
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        ulong leaf = k["rcu_state"] + k.Types.Offset("rcu_state.node");
        k.Put(leaf, "rcu_node.gp_tasks", 0x1234);
        k.WriteU64(leaf + k.Types.Offset("rcu_node.blkd_tasks"), 0xffff_c900_0000_0000);
        Assert.False(RcuState.Read(g.Kernel, Few).BlockedReaders.IsWhole);
        k.Write(k["rcu_num_lvls"], 200, 0, 0, 0);
        Assert.Throws<KernelShapeException>(() => RcuState.Read(g.Kernel, Few));
        k.Write(k["rcu_num_lvls"], 1, 0, 0, 0);
        k.Write(k["rcu_num_nodes"], 0xff, 0xff, 0xff, 0xff);
        Assert.Throws<KernelShapeException>(() => RcuState.Read(g.Kernel, Few));
        k.Write(k["rcu_num_nodes"], 1, 0, 0, 0);
        k.WriteU64(k["rcu_state"] + k.Types.Offset("rcu_state.level"), 0x1000);
        Assert.Empty(RcuState.Read(g.Kernel, Few).WaitsForCpus);
    }
}
