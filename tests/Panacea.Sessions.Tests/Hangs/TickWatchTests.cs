using Panacea.Kernel;
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
        _watch = new TickWatch(2, since => _now - TimeSpan.FromTicks(since), () => _now.Ticks);
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

    private void Queue(bool isQueued) => Kernel.Put(Kernel.PerCpu("tick_cpu_sched", 0), "tick_sched.sched_timer.state", isQueued ? 1UL : 0);

    private LostTick? Watched(int seconds, Action? each = null)
    {
        for (TimeSpan end = _now + TimeSpan.FromSeconds(seconds); _now < end; _now += TimeSpan.FromMilliseconds(250))
        {
            each?.Invoke();
            if (_watch.Look(Live) is { } lost)
                return lost;
        }

        return null;
    }
}
