using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Tests.Image;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests.Subsystems;

public sealed class PerCpuAndStacksTests
{
    [Theory]
    [MemberData(nameof(KernelGuest.Shapes), MemberType = typeof(KernelGuest))]
    public void The_current_task_and_its_preempt_count_are_found_in_both_shapes(KernelShape shape, int levels)
    {
        using var g = new KernelGuest(RepairImageTests.Options(shape, levels));
        Assert.Equal((g.Guest.Victim.Address, g.Guest.Idle[1].Address), (PerCpu.CurrentTask(g.Kernel, 0), PerCpu.CurrentTask(g.Kernel, 1)));
        g.Guest.Run(g.Guest.Kthread, 1, 0x0001_0203);
        Assert.Equal(g.Guest.Kthread.Address, PerCpu.CurrentTask(g.Kernel, 1));

        // Bit 31 says "no need to reschedule" and is no part of the count.
        Assert.Equal(0x0001_0203u, PerCpu.PreemptCount(g.Kernel, 1));
        Assert.Equal(g.Guest.PerCpu("runqueues", 1), PerCpu.Address(g.Kernel, "runqueues", 1));
    }

    /// <summary>pcpu_hot begins with current_task and preempt_count in every kernel that has it.</summary>
    [Fact]
    public void Without_types_pcpu_hot_is_still_read()
    {
        using var g = new KernelGuest(new SyntheticKernelOptions { Shape = KernelShape.Linux612, Btf = false });
        g.Guest.Run(g.Guest.Kthread, 0, 0x100);
        Assert.Equal((g.Guest.Kthread.Address, 0x100u), (PerCpu.CurrentTask(g.Kernel, 0), PerCpu.PreemptCount(g.Kernel, 0)));
    }

    [Fact]
    public void A_vcpus_number_is_told_by_its_gs_base()
    {
        using var g = new KernelGuest();
        VcpuRegisters kernel = g.Guest.Vcpu(1, 0, default);
        Assert.Equal(1, PerCpu.CpuOf(g.Kernel, kernel));

        // In user mode GS is the user's and the kernel's waits for SWAPGS.
        VcpuRegisters user = kernel with { Cs = 0x33, GsBase = 0, KernelGsBase = g.Guest.PerCpuBase(0) };
        Assert.Equal(0, PerCpu.CpuOf(g.Kernel, user));

        // So it is after the entry to the kernel, until SWAPGS has been executed; and after the one on the way out.
        Assert.Equal(0, PerCpu.CpuOf(g.Kernel, user with { Cs = 0x10 }));

        // A user may put any address into its own (WRGSBASE): it is not believed where the kernel's is there.
        Assert.Equal(0, PerCpu.CpuOf(g.Kernel, user with { GsBase = g.Guest.PerCpuBase(1) }));
        Assert.Equal(1, PerCpu.CpuOf(g.Kernel, kernel with { KernelGsBase = g.Guest.PerCpuBase(0) }));
        Assert.Null(PerCpu.CpuOf(g.Kernel, kernel with { GsBase = 0 }));
    }

    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void The_stacks_of_a_cpu_are_found(KernelShape shape)
    {
        using var g = new KernelGuest(RepairImageTests.Options(shape));
        List<KernelStack> stacks = Stacks.Of(g.Kernel, 0, g.Guest.Victim.Address);
        Assert.Equal(["task", "irq", "df", "nmi", "db", "mce"], stacks.Select(s => s.Name));
        Assert.Equal(new KernelStack("task", g.Guest.Victim.Stack, g.Guest.Victim.StackTop), stacks[0]);
        Assert.Equal(16384UL, stacks[1].End - stacks[1].Start);
        Assert.Equal(0UL, stacks[1].End % 4096);
        Assert.All(stacks.Skip(2), s => Assert.Equal(8192UL, s.End - s.Start));
        Assert.True(stacks[0].Contains(g.Guest.Victim.Stack) && !stacks[0].Contains(g.Guest.Victim.StackTop));
        Assert.Equal("task", Assert.Single(Stacks.Of(g.Kernel, null, g.Guest.Victim.Address)).Name);
    }

    [Fact]
    public void A_stack_that_cannot_be_found_is_one_fewer()
    {
        using var g = new KernelGuest();
        g.Guest.Put(g.Guest.Victim.Address, "task_struct.stack", ulong.MaxValue);
        g.Guest.WriteU64(g.Guest.PerCpu("cea_exception_stacks", 0), ulong.MaxValue - 100);
        g.Guest.WriteU64(g.Guest.PerCpu("hardirq_stack_ptr", 0), ulong.MaxValue);
        Assert.Empty(Stacks.Of(g.Kernel, 0, g.Guest.Victim.Address));
        Assert.Empty(Stacks.Of(g.Kernel, 99, 0x1234));
    }
}
