using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Tests.Image;
using Panacea.Kernel.Unwind;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests.Subsystems;

public sealed class TaskBacktracesTests
{
    [Theory]
    [MemberData(nameof(KernelGuest.Shapes), MemberType = typeof(KernelGuest))]
    public void A_sleeping_task_has_its_stack_and_waits_outside_the_scheduler(KernelShape shape, int levels)
    {
        using var g = new KernelGuest(RepairImageTests.Options(shape, levels));
        g.Guest.Sleep(g.Guest.Kthread, SyntheticKernel.InMutexLock);
        var backtraces = new TaskBacktraces(g.Kernel, TargetLimits.Default);
        TaskBacktrace trace = backtraces.Of(g.Guest.Kthread.Address);
        Assert.Equal(UnwindEnd.Complete, trace.Trace.End);
        Assert.Equal(
            ["__schedule", "schedule", "__mutex_lock.constprop.0", "mutex_lock", "ct_sleeper", "kthread", "ret_from_fork"], trace.Trace.Frames.Select(f => backtraces.Locate(f)!.Name));
        Assert.Equal(0x5555UL, trace.Trace.Frames[0].Registers[Gpr.Rbx]);
        Assert.Equal("ct_sleeper", backtraces.Locate(backtraces.WaitsIn(trace)!)!.Name);
    }

    [Fact]
    public void A_running_task_has_its_registers_elsewhere_and_a_dead_one_has_no_stack()
    {
        using var g = new KernelGuest();
        g.Guest.Sleep(g.Guest.Kthread, SyntheticKernel.InMutexLock);
        var backtraces = new TaskBacktraces(g.Kernel, TargetLimits.Default);
        g.Guest.Put(g.Guest.Kthread.Address, "task_struct.on_cpu", 1);
        Assert.Contains("on a CPU", Assert.Throws<KernelShapeException>(() => backtraces.Of(g.Guest.Kthread.Address)).Message);
        g.Guest.Put(g.Guest.Kthread.Address, "task_struct.on_cpu", 0);
        g.Guest.Put(g.Guest.Kthread.Address, "task_struct.stack", 0);
        Assert.Contains("exited", Assert.Throws<KernelShapeException>(() => backtraces.Of(g.Guest.Kthread.Address)).Message);
    }

    [Theory]
    [InlineData(0UL)]
    [InlineData(0x1000UL)]
    [InlineData(0xffff_c900_0000_0000UL)]
    [InlineData(ulong.MaxValue)]
    public void A_wild_stack_pointer_is_a_typed_failure(ulong sp)
    {
        using var g = new KernelGuest();
        g.Guest.Put(g.Guest.Kthread.Address, "task_struct.thread.sp", sp);
        Assert.Throws<GuestMemoryException>(() => new TaskBacktraces(g.Kernel, TargetLimits.Default).Of(g.Guest.Kthread.Address));
    }

    [Fact]
    public void A_stack_pointer_into_other_memory_unwinds_to_nowhere()
    {
        using var g = new KernelGuest();
        g.Guest.Put(g.Guest.Kthread.Address, "task_struct.thread.sp", g.Guest.Victim.Address);
        TaskBacktrace trace = new TaskBacktraces(g.Kernel, TargetLimits.Default).Of(g.Guest.Kthread.Address);
        Assert.False(trace.Trace.IsComplete);
    }
}
