using Panacea.Kernel;
using Panacea.Kernel.Subsystems;
using Panacea.Sessions.Hangs;
using Panacea.TestKit.Linux;

namespace Panacea.Sessions.Tests.Hangs;

/// <summary>A CPU that does without its tick says so; one that has lost it does not.</summary>
public sealed class TickWatchTests : IDisposable
{
    private readonly ArmedGuest _guest = new();
    private readonly TickWatch _watch;
    private TimeSpan _now = TimeSpan.FromHours(1);

    private SyntheticKernel Kernel => _guest.Guest;

    private LinuxKernel Live => _guest.Armed.Image.KernelOver(Kernel.Memory);

    public TickWatchTests()
    {
        _watch = new TickWatch(2, since => _now - TimeSpan.FromTicks(since), () => _now.Ticks, () => _ran, () => _isSuspended);
        foreach (int cpu in (int[])[0, 1])
            Kernel.Put(Kernel.PerCpu("tick_cpu_sched", cpu), "tick_sched.sched_timer.function", Kernel["tick_sched_timer"]);
    }

    public void Dispose() => _guest.Dispose();

    [Fact]
    public void A_tick_that_was_there_and_is_gone_is_seen_once()
    {
        Queue(true);
        Assert.Null(Watched(10));
        Queue(false);
        LostTick lost = Watched(10)!;
        Assert.Equal((0, Kernel["tick_sched_timer"]), (lost.Cpu, lost.Timer.Function));
        Assert.True(TickWatch.IsStill(lost, Live));
        _watch.Tell(lost);
        Assert.Null(Watched(10));
        Queue(true);
        Assert.False(TickWatch.IsStill(lost, Live));
        Assert.Null(Watched(10));
        Queue(false);
        Assert.NotNull(Watched(10));
    }

    /// <summary>A guest lives only when all of its CPUs do.</summary>
    [Fact]
    public void Of_two_the_second_does_not_wait_for_as_long_again()
    {
        Queue(true);
        Queue(true, 1);
        Assert.Null(Watched(1));
        Queue(false);
        Queue(false, 1);
        LostTick first = Watched(10)!;
        Assert.Equal(0, first.Cpu);
        Queue(true);
        _watch.Forget(first);
        Assert.Equal(1, Watched(1)?.Cpu);
    }

    [Theory]
    [InlineData("it was never there")]
    [InlineData("the CPU does without")]
    [InlineData("now and then it is out")]
    [InlineData("it panics")]
    public void What_is_as_it_should_be_is_not_lost(string what)
    {
        if (what != "it was never there")
        {
            Queue(true);
            Assert.Null(Watched(1));
        }

        Queue(false);
        int look = 0;
        if (what == "the CPU does without")
            Kernel.Put(Kernel.PerCpu("tick_cpu_sched", 0), "tick_sched.tick_stopped", 1);
        if (what == "it panics")
            Kernel.Write(Kernel["panic_cpu"], [0, 0, 0, 0]);
        Assert.Null(Watched(20, () =>
        {
            if (what == "now and then it is out")
                Queue(look++ % 2 == 0);
        }));
    }

    /// <summary>The function of the timer is an interrupt, and a QEMU that is suspended stays in it.</summary>
    [Theory]
    [InlineData("its QEMU is suspended")]
    [InlineData("it is in an interrupt")]
    public void A_moment_that_lasts_is_no_lost_tick(string what)
    {
        Queue(true);
        Assert.Null(Watched(1));
        Queue(false);
        if (what == "it is in an interrupt")
            Interrupt(1);
        Assert.Null(Watched(30, runs: what == "it is in an interrupt"));
        Interrupt(0);
        Assert.NotNull(Watched(10));
    }

    /// <summary>Its interrupt does not come: it stays queued for the same time, and the CPU gets on.</summary>
    [Theory]
    [InlineData("it switches", true)]
    [InlineData("it has nothing to do", true)]
    [InlineData("it gets nowhere", false)]
    [InlineData("it ticks", false)]
    [InlineData("it does without", false)]
    public void A_timer_whose_interrupt_does_not_come_is_seen_once(string what, bool isLost)
    {
        ulong count = 0, rq = Kernel.PerCpu("runqueues", 0), tick = Kernel.PerCpu("tick_cpu_sched", 0);
        Queue(true);
        if (what == "it has nothing to do")
        {
            Kernel.Put(rq, "rq.curr", Kernel.Get(rq, "rq.idle"));
            Kernel.Put(rq, "rq.nr_running", 0);
        }

        if (what == "it does without")
            Kernel.Put(tick, "tick_sched.tick_stopped", 1);
        LostTick? lost = Watched(30, Go);
        Assert.Equal(isLost, lost is not null);
        if (lost is null)
            return;
        Assert.Equal((0, true), (lost.Cpu, lost.Timer.IsQueued));
        Assert.True(TickWatch.IsStill(lost, Live));
        _watch.Tell(lost);
        Assert.Null(Watched(10, Go));
        Kernel.Put(tick, "tick_sched.sched_timer.node.expires", 99);
        Assert.False(TickWatch.IsStill(lost, Live));
        Assert.NotNull(Watched(10, Go));

        void Go()
        {
            if (what is "it switches" or "it ticks" or "it does without")
                Kernel.Put(rq, "rq.nr_switches", ++count);
            if (what == "it ticks")
                Kernel.Put(tick, "tick_sched.sched_timer.node.expires", count);
        }
    }

    /// <summary>All CPUs wait for it: nothing runs at all, although it may.</summary>
    [Fact]
    public void A_guest_that_waits_for_its_timers_alone_does_not_run()
    {
        ulong rq = Kernel.PerCpu("runqueues", 0);
        Queue(true);
        Kernel.Put(rq, "rq.curr", Kernel.Get(rq, "rq.idle"));
        Kernel.Put(rq, "rq.nr_running", 0);
        _isSuspended = true;
        Assert.Null(Watched(30, runs: false));
        _isSuspended = false;
        Assert.NotNull(Watched(30, runs: false));
    }

    /// <summary>Where the host's account can't be told, what the guest does shows.</summary>
    [Fact]
    public void It_is_seen_without_the_host_s_account_where_another_cpu_gets_on()
    {
        _ran = null;
        ulong switches = 0;
        Queue(true);
        Assert.Null(Watched(1, Switch));
        Queue(false);
        Assert.Null(Watched(10));
        Assert.NotNull(Watched(10, Switch));

        void Switch() => Kernel.Put(Kernel.PerCpu("runqueues", 1), "rq.nr_switches", ++switches);
    }

    private bool _isSuspended;

    private IReadOnlyList<TimeSpan>? _ran = [TimeSpan.Zero, TimeSpan.Zero];

    private void Interrupt(uint depth) => Kernel.Write(PerCpu.PreemptCountAddress(Live, 0), BitConverter.GetBytes(0x8000_0000 | (depth << 16)));

    private void Queue(bool isQueued, int cpu = 0) => Kernel.Put(Kernel.PerCpu("tick_cpu_sched", cpu), "tick_sched.sched_timer.state", isQueued ? 1UL : 0);

    private LostTick? Watched(int seconds, Action? each = null, bool runs = true)
    {
        for (TimeSpan end = _now + TimeSpan.FromSeconds(seconds); _now < end; _now += TimeSpan.FromMilliseconds(250))
        {
            each?.Invoke();
            if (runs && _ran is [_, var ran])
                _ran = [TimeSpan.Zero, ran + TimeSpan.FromMilliseconds(1)];
            if (_watch.Look(Live) is { } lost)
                return lost;
        }

        return null;
    }
}
