using Panacea.Diagnosis;
using Panacea.Kernel.Subsystems;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Sessions.Tests;

public sealed class HealthWatchTests
{
    public static TheoryData<KernelShape> Lines => [KernelShape.Linux61, KernelShape.Linux612];

    [Theory]
    [MemberData(nameof(Lines))]
    public void A_guest_that_ticks_switches_and_counts_lives(KernelShape shape)
    {
        using var g = new ArmedGuest(new SyntheticKernelOptions { Shape = shape });
        var watch = new HealthWatch(g.Armed.Image, g.Guest.Memory, 2, null, TargetLimits.Default);
        new ScriptedVm(g.Guest).Work();
        HealthResult health = watch.Look();
        Assert.True(health.Verified);
        Assert.Equal(
            [
                "jiffies 4294901760 → 4294902010", "cpu0 timer interrupts 1000 → 1250, context switches 5000 → 5099",
                "cpu1 timer interrupts 1000 → 1250, idle, context switches 5000 → 5099",
            ], health.Evidence);
    }

    [Theory]
    [InlineData("time", false)]
    [InlineData("scheduler", false)]
    [InlineData("busy CPU", false)]
    [InlineData("idle CPU", true)]
    [InlineData("idle CPU with work", false)]
    public void What_stands_still_is_seen(string what, bool lives)
    {
        using var g = new ArmedGuest();
        SyntheticKernel k = g.Guest;
        var watch = new HealthWatch(g.Armed.Image, k.Memory, 2, null, TargetLimits.Default);
        new ScriptedVm(k).Work();
        switch (what)
        {
            case "time":
                k.WriteU64(k["jiffies_64"], 0xffff_0000);
                break;
            case "scheduler":
                k.Put(k.PerCpu("runqueues", 0), "rq.nr_switches", 5000);
                k.Put(k.PerCpu("runqueues", 1), "rq.nr_switches", 5000);
                break;
            case "busy CPU":
                k.Put(k.PerCpu("irq_stat", 0), "irq_cpustat_t.apic_timer_irqs", 1000);
                break;
            default:
                // A tickless idle CPU takes no timer interrupts; one that has something to run and does not must.
                k.Put(k.PerCpu("irq_stat", 1), "irq_cpustat_t.apic_timer_irqs", 1000);
                if (what != "idle CPU")
                    k.Put(k.PerCpu("runqueues", 1), "rq.nr_running", 1);
                break;
        }

        HealthResult health = watch.Look();
        Assert.Equal(lives, health.Verified);
        Assert.Equal(3, health.Evidence.Count);
    }

    [Fact]
    public void Nothing_at_all_is_no_life()
    {
        using var g = new ArmedGuest();
        Assert.False(new HealthWatch(g.Armed.Image, g.Guest.Memory, 2, null, TargetLimits.Default).Look().Verified);
    }

    [Fact]
    public void What_cannot_be_measured_is_not_verified_and_says_so()
    {
        using var untyped = new ArmedGuest(new SyntheticKernelOptions { Btf = false });
        HealthResult health = new HealthWatch(untyped.Armed.Image, untyped.Guest.Memory, 2, null, TargetLimits.Default).Look();
        Assert.False(health.Verified);
        Assert.Contains("rq.curr", Assert.Single(health.Evidence));

        using var g = new ArmedGuest();
        var watch = new HealthWatch(g.Armed.Image, g.Guest.Memory, 2, null, TargetLimits.Default);
        g.Guest.Memory.Lose(g.Guest.Physical(g.Guest.PerCpu("runqueues", 1)));
        health = watch.Look();
        Assert.False(health.Verified);
        Assert.Contains("health can't be measured", Assert.Single(health.Evidence));
    }

    /// <summary>More vCPUs than the kernel has CPUs (nr_cpus=1), and fewer (hot-plug).</summary>
    [Theory]
    [InlineData(1, 2)]
    [InlineData(2, 3)]
    [InlineData(64, 3)]
    public void Only_cpus_that_are_both_are_watched(int vcpus, int lines)
    {
        using var g = new ArmedGuest();
        var watch = new HealthWatch(g.Armed.Image, g.Guest.Memory, vcpus, null, TargetLimits.Default);
        new ScriptedVm(g.Guest).Work();
        HealthResult health = watch.Look();
        Assert.True(health.Verified);
        Assert.Equal(lines, health.Evidence.Count);
    }

    /// <summary>A guest that lives, and whose disk, or whose tick, was helped for nothing.</summary>
    [Theory]
    [InlineData("disk", false)]
    [InlineData("disk that gets on", true)]
    [InlineData("tick", false)]
    [InlineData("tick that is set up", true)]
    [InlineData("tick that runs", true)]
    [InlineData("no tick on purpose", true)]
    public void What_was_helped_for_nothing_is_seen(string what, bool helped) => AssertSeen(what, helped, true);

    /// <summary>That time stands still is worse than that a disk does.</summary>
    [Fact]
    public void A_guest_that_does_not_live_is_not_said_to_want_for_a_disk() => AssertSeen("disk", false, false);

    private static void AssertSeen(string what, bool helped, bool lives)
    {
        using var g = new ArmedGuest();
        SyntheticKernel k = g.Guest;
        bool isDisk = what.StartsWith("disk", StringComparison.Ordinal);
        ulong tick = k.PerCpu("tick_cpu_sched", 1);
        k.Put(tick, "tick_sched.sched_timer.function", k["tick_sched_timer"]);
        SyntheticVirtioDisk disk = k.AddVirtioDisk("vda", (1, 1));
        k.SetProgress(disk, 7, 6, 6, 6);
        Panacea.Kernel.LinuxKernel kernel = g.Armed.Image.KernelOver(k.Memory);
        VirtioDisk found = VirtioDisks.Enumerate(kernel, TargetLimits.Default)[0];
        var hang = new Hang(isDisk ? CrashKind.StalledIo : CrashKind.LostTick, default, [])
        {
            Stall = isDisk ? DiskStall.Of(kernel, kernel, found, found.Queues[0], true, TargetLimits.Default) : null,
            Timer = isDisk ? null : TickTimer.Read(kernel, 1),
        };
        var watch = new HealthWatch(g.Armed.Image, k.Memory, 2, hang, TargetLimits.Default);
        if (lives)
            new ScriptedVm(k).Work();
        if (what != "tick that runs")
            k.Put(k.PerCpu("irq_stat", 1), "irq_cpustat_t.apic_timer_irqs", 1000);
        if (what == "disk that gets on")
            k.SetProgress(disk, 7, 7, 6, 6);
        if (what == "tick that is set up")
            k.Put(tick, "tick_sched.sched_timer.state", 1);
        if (what == "no tick on purpose")
            k.Put(tick, "tick_sched.tick_stopped", 1);
        HealthResult health = watch.Look();
        Assert.Equal(helped, health.Verified);
        if (!helped)
            Assert.Equal(isDisk ? "vda, queue 0, stands as it stood" : "cpu1 still has no tick", health.Evidence[^1]);
        Assert.Equal(helped || !lives ? null : health.Evidence[^1], health.Standing);
    }
}
