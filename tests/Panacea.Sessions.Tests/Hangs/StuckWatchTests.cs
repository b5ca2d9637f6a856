using Panacea.Kernel;
using Panacea.Kernel.Subsystems;
using Panacea.Sessions.Hangs;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Sessions.Tests.Hangs;

/// <summary>A long wait is no proof of anything: a ring of waits is, and an owner that is gone.</summary>
public sealed class StuckWatchTests : IDisposable
{
    private static readonly TimeSpan After = TimeSpan.FromSeconds(2);

    private readonly ArmedGuest _guest = new();
    private readonly StuckWatch _watch;
    private TimeSpan _now = TimeSpan.FromHours(1);

    private SyntheticKernel Kernel => _guest.Guest;

    private LinuxKernel Live => _guest.Armed.Image.KernelOver(Kernel.Memory);

    public StuckWatchTests()
    {
        _watch = new StuckWatch(After, 2, since => _now - TimeSpan.FromTicks(since), () => _now.Ticks, TargetLimits.Default with { MaxTasks = 100, MaxChain = 100 });
        Kernel.Put(Kernel.PerCpu("runqueues", 0), "rq.nr_uninterruptible", 5);
        Kernel.Put(Kernel.PerCpu("runqueues", 1), "rq.nr_uninterruptible", unchecked((ulong)-3L));
    }

    public void Dispose() => _guest.Dispose();

    [Fact]
    public void Two_that_wait_for_each_other_are_seen_after_a_while()
    {
        SyntheticTask[] tasks = [Kernel.AddTask(600, "one"), Kernel.AddTask(601, "two")];
        ulong a = Kernel.Mutex(0), b = Kernel.Mutex(1);
        Kernel.HoldMutex(a, tasks[0].Address, tasks[1]);
        Kernel.HoldMutex(b, tasks[1].Address, tasks[0]);
        Kernel.Link();
        StuckTask stuck = Watched(TimeSpan.FromSeconds(3))!;
        Assert.Contains((stuck.Wait.Task, stuck.Wait.Lock), ((ulong, ulong)[])[(tasks[0].Address, b), (tasks[1].Address, a)]);
        Assert.False(stuck.IsOwnerGone);
        Assert.Equal(2, stuck.Told.Count);

        // One of them was told of in vain: the other one is left to try, and then nobody.
        _watch.Tell(stuck);
        StuckTask other = Watched(TimeSpan.FromSeconds(3))!;
        Assert.NotEqual(stuck.Wait.Task, other.Wait.Task);
        _watch.Tell(other);
        Assert.Null(Watched(TimeSpan.FromSeconds(10)));
    }

    [Fact]
    public void What_somebody_who_is_gone_holds_is_seen()
    {
        SyntheticTask task = Kernel.AddTask(600, "waits");
        Kernel.HoldMutex(Kernel.Mutex(0), 0xffff_8880_dead_0000, task);
        Kernel.Link();
        StuckTask stuck = Watched(TimeSpan.FromSeconds(3))!;
        Assert.Equal((task.Address, Kernel.Mutex(0), true), (stuck.Wait.Task, stuck.Wait.Lock, stuck.IsOwnerGone));
        Assert.Contains("is no task any more", Assert.Single(stuck.Told), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("the owner lives")]
    [InlineData("not for long")]
    [InlineData("it is switched to now and then")]
    [InlineData("the run queues count nobody")]
    public void What_may_still_end_is_not_stuck(string what)
    {
        SyntheticTask task = Kernel.AddTask(600, "waits");
        bool lives = what == "the owner lives";
        Kernel.HoldMutex(Kernel.Mutex(0), lives ? Kernel.Victim.Address : 0xffff_8880_dead_0000, task);
        if (what == "the run queues count nobody")
            Kernel.Put(Kernel.PerCpu("runqueues", 0), "rq.nr_uninterruptible", 3);
        Kernel.Link();
        ulong switches = 10;
        Assert.Null(Watched(what == "not for long" ? TimeSpan.FromSeconds(1) : TimeSpan.FromSeconds(20), () =>
        {
            if (what == "it is switched to now and then")
                Kernel.Put(task.Address, "task_struct.nvcsw", switches++);
        }));
    }

    /// <summary>What it waits for is there at some looks, and it sleeps.</summary>
    [Theory]
    [InlineData("mutex", true)]
    [InlineData("completion", true)]
    [InlineData("bit", true)]
    [InlineData("folio", true)]
    [InlineData("completion", false)]
    [InlineData("bit", false)]
    [InlineData("folio", false)]
    public void A_wait_whose_end_nobody_has_told_is_seen(string what, bool hasCome)
    {
        SyntheticTask task = Kernel.AddTask(600, "waits");
        ulong word = Kernel.Allocate(8);
        Kernel.WriteU64(word, hasCome ? ~(1UL << 3) : 1UL << 3);
        switch (what)
        {
            case "mutex":
                Kernel.HoldMutex(Kernel.Mutex(0), 0, task);
                break;
            case "completion":
                ulong completion = Kernel.New("completion", ("done", hasCome ? 1UL : 0));
                Kernel.Ring([completion + Kernel.Types.Offset("completion.wait.task_list"), Kernel.Wait(task, "__wait_for_common", "swait_queue.task") + Kernel.Types.Offset("swait_queue.task_list")]);
                break;
            default:
                ulong entry = Kernel.Wait(task, "ct_sleeper", "wait_queue_entry.private"), head = Kernel.New("wait_queue_head");
                Kernel.Put(entry, "wait_queue_entry.func", Kernel[what == "bit" ? "wake_bit_function" : "wake_page_function"]);
                (string link, string bits, string number) = what == "bit"
                    ? ("wait_bit_queue_entry.wq_entry", "wait_bit_queue_entry.key.flags", "wait_bit_queue_entry.key.bit_nr")
                    : ("wait_page_queue.wait", "wait_page_queue.folio", "wait_page_queue.bit_nr");
                ulong waiter = entry - Kernel.Types.Offset(link);
                Kernel.Put(waiter, bits, word);
                Kernel.Put(waiter, number, 3);
                Kernel.Ring([head + Kernel.Types.Offset("wait_queue_head.head"), entry + Kernel.Types.Offset("wait_queue_entry.entry")]);
                break;
        }

        Kernel.Link();
        StuckTask? stuck = Watched(TimeSpan.FromSeconds(5));
        Assert.Equal(hasCome, stuck is { HasCome: true });
        if (!hasCome)
            return;
        Assert.Equal((task.Address, false), (stuck!.Wait.Task, stuck.IsOwnerGone));
        _watch.Tell(stuck);
        Assert.Null(Watched(TimeSpan.FromSeconds(5)));
        Assert.Equal(what == "folio", LostWakes.Sign(Live, stuck.Wait) is (_, 2));
    }

    /// <summary>A guest with very many tasks that crashes may not have to wait for somebody who counts them.</summary>
    [Fact]
    public void A_look_is_left_off_where_the_guest_stops()
    {
        SyntheticTask task = Kernel.AddTask(600, "waits");
        for (int i = 0; i < 70; i++)
            Kernel.AddTask(700 + i, "sleeps");
        Kernel.HoldMutex(Kernel.Mutex(0), 0xffff_8880_dead_0000, task);
        Kernel.Link();
        int asked = 0;
        for (TimeSpan end = _now + TimeSpan.FromSeconds(20); _now < end; _now += TimeSpan.FromMilliseconds(500))
        {
            Run();
            Assert.Null(_watch.Look(Live, _guest.Armed.Capture.CodeMap, () => ++asked > 0));
        }

        // The first look does not know yet whether the guest gets on.
        Assert.Equal(39, asked);
        Assert.NotNull(Watched(TimeSpan.FromSeconds(3)));
    }

    /// <summary>What takes long is not done all the time.</summary>
    [Fact]
    public void A_look_that_takes_long_is_followed_by_a_long_pause()
    {
        Kernel.AddTask(600, "waits", state: 2);
        for (int i = 0; i < 40; i++)
            Kernel.AddTask(700 + i, "sleeps");
        Kernel.Link();
        int looks = 0;
        for (TimeSpan end = _now + TimeSpan.FromSeconds(60); _now < end; _now += TimeSpan.FromMilliseconds(500))
        {
            Run();
            Assert.Null(_watch.Look(Live, _guest.Armed.Capture.CodeMap, () =>
            {
                looks++;
                _now += TimeSpan.FromMilliseconds(100);
                return false;
            }));
        }

        Assert.InRange(looks, 5, 6);
    }

    /// <summary>A guest whose QEMU is suspended shows one moment of itself for long.</summary>
    [Theory]
    [InlineData(0, false)]
    [InlineData(1, false)]
    [InlineData(2, true)]
    public void What_stands_still_in_a_guest_that_gets_no_time_is_not_stuck(int ticking, bool isRing)
    {
        SyntheticTask[] tasks = [Kernel.AddTask(600, "one"), Kernel.AddTask(601, "two")];
        ulong a = Kernel.Mutex(0), b = Kernel.Mutex(1);
        Kernel.HoldMutex(a, isRing ? tasks[0].Address : 0, tasks[1]);
        if (isRing)
            Kernel.HoldMutex(b, tasks[1].Address, tasks[0]);
        Kernel.Link();
        _ticking = ticking;

        // What the CPU that does not get on is just doing may be to wake the task.
        Kernel.Put(Kernel.PerCpu("runqueues", 1), "rq.nr_running", 1);
        Assert.Null(Watched(TimeSpan.FromSeconds(isRing ? 1 : 30)));
        _ticking = 0;
        Assert.Null(Watched(TimeSpan.FromSeconds(30)));
        _ticking = 2;
        Assert.NotNull(Watched(TimeSpan.FromSeconds(5)));
    }

    private int _ticking = 2;
    private ulong _ticks;

    private void Run()
    {
        _ticks++;
        for (int cpu = 0; cpu < _ticking; cpu++)
            Kernel.Put(Kernel.PerCpu("irq_stat", cpu), "irq_cpustat_t.apic_timer_irqs", _ticks);
    }

    private StuckTask? Watched(TimeSpan limit, Action? each = null)
    {
        for (TimeSpan end = _now + limit; _now < end; _now += TimeSpan.FromMilliseconds(250))
        {
            each?.Invoke();
            Run();
            if (_watch.Look(Live, _guest.Armed.Capture.CodeMap, () => false) is { } stuck)
                return stuck;
        }

        return null;
    }
}
