using Panacea.Kernel;
using Panacea.Kernel.Subsystems;
using Panacea.Sessions.Hangs;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Sessions.Tests.Hangs;

/// <summary>A slow disk is no proof of anything: a queue whose sides have stood still for long while the guest was at work is.</summary>
public sealed class StallWatchTests : IDisposable
{
    private static readonly TimeSpan After = TimeSpan.FromSeconds(2);
    private static readonly TargetLimits Few = TargetLimits.Default with { MaxChain = 100 };

    private readonly ArmedGuest _guest = new();
    private readonly StallWatch _watch;
    private readonly SyntheticVirtioDisk _disk;
    private TimeSpan _now = TimeSpan.FromHours(1);
    private ulong _ticks = 1000;

    private SyntheticKernel Kernel => _guest.Guest;

    private LinuxKernel Live => _guest.Armed.Image.KernelOver(Kernel.Memory);

    public StallWatchTests()
    {
        _watch = new StallWatch(After, 2, since => _now - TimeSpan.FromTicks(since), () => _now.Ticks, Few);
        _disk = Kernel.AddVirtioDisk("vda", (1, 1), (1, 1), (0, 0));
        Kernel.SetProgress(_disk, 7, 7, 5, 5);
        Kernel.Put(Kernel.PerCpu("runqueues", 0), "rq.nr_uninterruptible", 1);
        Kernel.Put(Kernel.PerCpu("runqueues", 1), "rq.nr_running", 1);
    }

    public void Dispose() => _guest.Dispose();

    [Fact]
    public void What_the_driver_has_not_looked_at_is_seen_once()
    {
        Kernel.SetProgress(_disk, 7, 7, 6, 5);
        DiskStall stall = Watched(10)!;
        Assert.Equal(StallKind.AnswerUnheard, stall.Kind);
        Assert.True(StallWatch.IsStill(stall, Live, Few));
        _watch.Tell(stall);
        Assert.Null(Watched(20));

        // It has got on, and stands again: that is another one.
        Kernel.SetProgress(_disk, 9, 9, 8, 6);
        Assert.False(StallWatch.IsStill(stall, Live, Few));
        Assert.NotNull(Watched(10));
    }

    /// <summary>While others come and go, as long as there are moments at which the device has nothing.</summary>
    [Fact]
    public void Requests_that_nobody_has_are_seen_among_others()
    {
        ushort at = 7;
        DiskStall stall = Watched(10, () =>
        {
            at++;
            bool isBusy = at % 3 == 0;
            Kernel.SetProgress(_disk, at, at, isBusy ? (ushort)(at - 1) : at, isBusy ? (ushort)(at - 1) : at);
            Kernel.Put(_disk.Requests[1], "request.io_start_time_ns", 5000u + at);
        })!;
        Assert.Equal((StallKind.RequestsLost, _disk.Requests[0]), (stall.Kind, Assert.Single(stall.Requests).Address));
        _watch.Tell(stall);
        DiskStall other = Watched(10, () => Kernel.SetProgress(_disk, 7, 7, 7, 7))!;
        Assert.Equal(_disk.Requests[1], Assert.Single(other.Requests).Address);
        Assert.True(StallWatch.IsStill(other, Live, Few));
        Kernel.Put(_disk.Requests[1], "request.state", 2);
        Assert.False(StallWatch.IsStill(other, Live, Few));
    }

    /// <summary>Looked at with the requests only, which is not at every look.</summary>
    [Fact]
    public void A_queue_that_nobody_runs_is_seen_once()
    {
        Kernel.SetProgress(_disk, 7, 7, 7, 7);
        foreach (ulong request in _disk.Requests)
            Kernel.Put(request, "request.state", 0);
        Kernel.SetWaiting(_disk, _disk.Requests[0], refused: true);
        DiskStall stall = Watched(10)!;
        Assert.Equal((StallKind.QueueNotRun, _disk.Requests[0]), (stall.Kind, stall.Waiting.Address));
        Assert.True(StallWatch.IsStill(stall, Live, Few));
        _watch.Tell(stall);
        Assert.Null(Watched(20));

        // Another one each time: it is being run.
        int look = 0;
        Assert.Null(Watched(20, () => Kernel.SetWaiting(_disk, _disk.Requests[look++ / 3 % 2], refused: true)));
        Kernel.Put(Kernel.PerCpu("runqueues", 0), "rq.nr_uninterruptible", 0);
        Assert.NotNull(Watched(40));
    }

    [Theory]
    [InlineData("the device works")]
    [InlineData("the driver looks")]
    [InlineData("not for long")]
    [InlineData("the guest gets no time")]
    [InlineData("a CPU hangs")]
    [InlineData("it panics")]
    public void What_may_still_get_on_is_no_stall(string what)
    {
        Kernel.SetProgress(_disk, 7, 7, (ushort)(what == "the device works" ? 5 : 6), 5);
        ushort at = 7;
        if (what == "it panics")
            Kernel.Write(Kernel["panic_cpu"], [0, 0, 0, 0]);
        Assert.Null(Watched(what == "not for long" ? 2 : 20, () =>
        {
            if (what == "the driver looks")
                Kernel.SetProgress(_disk, ++at, at, (ushort)(at - 1), (ushort)(at - 2));
        }, cpus: what == "the guest gets no time" ? 0 : what == "a CPU hangs" ? 1 : 2));
    }

    private DiskStall? Watched(int seconds, Action? each = null, int cpus = 2)
    {
        for (TimeSpan end = _now + TimeSpan.FromSeconds(seconds); _now < end; _now += TimeSpan.FromMilliseconds(250))
        {
            each?.Invoke();
            _ticks++;
            for (int cpu = 0; cpu < cpus; cpu++)
                Kernel.Put(Kernel.PerCpu("irq_stat", cpu), "irq_cpustat_t.apic_timer_irqs", _ticks);
            if (_watch.Look(Live, () => false) is { } stall)
                return stall;
        }

        return null;
    }
}
