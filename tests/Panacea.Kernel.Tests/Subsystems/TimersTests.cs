using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Tests.Image;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests.Subsystems;

public sealed class TimersTests
{
    private static readonly TargetLimits Few = TargetLimits.Default with { MaxChain = 100 };

    /// <summary>Puts timers in a bucket of a wheel.</summary>
    private static ulong Fill(SyntheticKernel k, int cpu, int wheel, int bucket, params ulong[] timers)
    {
        ulong at = k.PerCpu("timer_bases", cpu) + (ulong)(wheel * k.Types.SizeOf("timer_base"));
        ulong map = at + k.Types.Offset("timer_base.pending_map") + ((ulong)bucket / 64 * 8), link = at + k.Types.Offset("timer_base.vectors") + ((ulong)bucket * 8);
        k.WriteU64(map, k.ReadU64(map) | 1UL << (bucket % 64));
        foreach (ulong timer in timers)
        {
            k.WriteU64(link, timer);
            k.WriteU64(timer + 8, link);
            k.Put(timer, "timer_list.flags", (ulong)bucket << 22 | (uint)cpu);
            link = timer;
        }

        return at;
    }

    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void Timers_of_the_wheel_say_whom_they_wake_and_what_they_queue(KernelShape shape)
    {
        using var g = new KernelGuest(new SyntheticKernelOptions { Shape = shape });
        SyntheticKernel k = g.Guest;
        ulong sleep = k.Allocate(k.Types.SizeOf("process_timer")), work = k.Allocate(k.Types.SizeOf("delayed_work")), other = k.Allocate(k.Types.SizeOf("timer_list"));
        ulong workTimer = work + k.Types.Offset("delayed_work.timer");
        k.Put(sleep, "timer_list.function", k["process_timeout"]);
        k.Put(sleep, "process_timer.task", k.Kthread.Address);
        k.Put(sleep, "timer_list.expires", 0xffff_0100);
        k.Put(workTimer, "timer_list.function", k["delayed_work_timer_fn"]);
        k.Put(work, "delayed_work.work.func", k["ct_work"]);
        k.Put(other, "timer_list.function", 0x4242);
        ulong wheel = Fill(k, 1, 1, 70, sleep, workTimer);
        Fill(k, 1, 1, 575, other);
        k.Put(wheel, "timer_base.clk", 0xffff_0000);
        k.Put(wheel, "timer_base.running_timer", other);
        List<TimerWheel> wheels = Timers.Wheels(g.Kernel, Few);
        Assert.Equal(
            shape == KernelShape.Linux612 ? ["local", "global", "deferrable", "local", "global", "deferrable"] : ["standard", "deferrable", "standard", "deferrable"], wheels.Select(w => w.Name));
        TimerWheel found = wheels.Single(w => w.Timers.Items.Count > 0);
        Assert.Equal((1, 1, 0xffff_0000UL, other), (found.Cpu, found.Index, found.Clock, found.Running));
        Assert.Equal(
            [(sleep, 70, "process_timeout", k.Kthread.Address, null), (workTimer, 70, "delayed_work_timer_fn", 0UL, "ct_work"), (other, 575, null, 0UL, null)],
            found.Timers.Items.Select(t => (t.Address, t.Bucket, t.Name?.Name, t.Task, t.Work?.Name)));
        Assert.Equal(0xffff_0100UL, found.Timers.Items[0].Expires);
    }

    [Theory]
    [InlineData(0UL)]
    [InlineData(0xffff_c900_0000_0000UL)]
    [InlineData(0xdead_0000_0000_0122UL)]
    public void A_broken_bucket_gives_what_came_before(ulong next)
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        ulong[] timers = [.. Enumerable.Range(0, 3).Select(_ => k.Allocate(k.Types.SizeOf("timer_list")))];
        Fill(k, 0, 0, 3, timers);
        k.WriteU64(timers[1], next == 0 ? timers[0] : next);
        TimerWheel wheel = Timers.Wheels(g.Kernel, Few)[0];
        Assert.False(wheel.Timers.IsWhole);
        Assert.Equal(timers[0], wheel.Timers.Items[0].Address);
    }

    [Fact]
    public void High_resolution_timers_are_in_the_order_of_each_clock()
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        ulong[] timers = [.. Enumerable.Range(0, 5).Select(_ => k.Allocate(k.Types.SizeOf("hrtimer_sleeper")))];
        for (int i = 0; i < timers.Length; i++)
        {
            k.Put(timers[i], "hrtimer.node.expires", (ulong)(1000 + i));
            k.Put(timers[i], "hrtimer._softexpires", (ulong)(900 + i));
            k.Put(timers[i], "hrtimer.function", k[i == 0 ? "hrtimer_wakeup" : "ct_work"]);
        }

        k.Put(timers[0], "hrtimer_sleeper.task", k.Victim.Address);
        ulong cpu = k.PerCpu("hrtimer_bases", 1);
        ulong Clock(int clock) => cpu + k.Types.Offset("hrtimer_cpu_base.clock_base") + (ulong)(clock * k.Types.SizeOf("hrtimer_clock_base")) + k.Types.Offset("hrtimer_clock_base.active");
        k.Tree(Clock(0), timers[..3], cached: true);
        k.Tree(Clock(7), timers[3..], cached: true);
        k.Put(cpu, "hrtimer_cpu_base.expires_next", 1000);
        k.Put(cpu, "hrtimer_cpu_base.nr_events", 44);
        HighResolutionTimers found = Timers.HighResolution(g.Kernel, Few)[1];
        Assert.Equal((1000, true, 44u, null), (found.NextExpiryNs, found.IsHighResolution, found.Events, found.Timers.Broken));
        Assert.Equal([0, 0, 0, 7, 7], found.Timers.Items.Select(t => t.Clock));
        Assert.Equal([1000, 1001, 1002, 1003, 1004], found.Timers.Items.Select(t => t.ExpiresNs));
        Assert.Equal((900, "hrtimer_wakeup", k.Victim.Address), (found.Timers.Items[0].SoftExpiresNs, found.Timers.Items[0].Name?.Name, found.Timers.Items[0].Task));
        Assert.Equal(0UL, found.Timers.Items[1].Task);
        k.WriteU64(timers[1], timers[1] | 1);
        Assert.False(Timers.HighResolution(g.Kernel, Few)[1].Timers.IsWhole);
    }
}
