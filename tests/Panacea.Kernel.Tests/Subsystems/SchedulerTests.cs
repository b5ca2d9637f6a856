using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Tests.Image;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests.Subsystems;

public sealed class SchedulerTests
{
    private static readonly TargetLimits Few = TargetLimits.Default with { MaxTasks = 50, MaxChain = 100 };

    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void Every_class_is_in_the_queue_and_groups_are_looked_into(KernelShape shape)
    {
        SyntheticTask[] fair = [], inner = [], urgent = [];
        SyntheticTask? deadline = null;
        using var g = new KernelGuest(new SyntheticKernelOptions { Shape = shape }, k =>
        {
            fair = [.. Enumerable.Range(0, 4).Select(i => k.AddTask(500 + i, $"fair{i}", state: 0))];
            inner = [.. Enumerable.Range(0, 2).Select(i => k.AddTask(510 + i, $"inner{i}", state: 0))];
            urgent = [.. Enumerable.Range(0, 3).Select(i => k.AddTask(520 + i, $"urgent{i}", state: 0))];
            deadline = k.AddTask(530, "deadline", state: 0);
            ulong group = k.Allocate(k.Types.SizeOf("cfs_rq")), entity = k.Allocate(k.Types.SizeOf("sched_entity"));
            k.Put(entity, "sched_entity.my_q", group);
            k.QueueFair(group, [k.Entity(inner[0]), k.Entity(inner[1])]);
            for (int i = 0; i < fair.Length; i++)
                k.Put(k.Entity(fair[i]), shape == KernelShape.Linux612 ? "sched_entity.deadline" : "sched_entity.vruntime", (ulong)(1000 + i));
            k.QueueFair(k.Queue(1, "cfs"), [k.Entity(fair[0]), k.Entity(fair[1]), entity, k.Entity(fair[2]), k.Entity(fair[3])], current: true);
            if (shape == KernelShape.Linux612)
                k.Put(k.Entity(fair[3]), "sched_entity.sched_delayed", 1);
            QueueRealTime(k, urgent);
            ulong server = k.Allocate(k.Types.SizeOf("sched_dl_entity")), node = k.Types.Offset("sched_dl_entity.rb_node");
            if (shape == KernelShape.Linux612)
                k.Put(server, "sched_dl_entity.dl_server", 1);
            ulong own = deadline.Address + k.Types.Offset("task_struct.dl");
            k.Put(own, "sched_dl_entity.deadline", 77);
            k.Tree(k.Queue(1, "dl") + k.Types.Offset("dl_rq.root"), shape == KernelShape.Linux612 ? [server + node, own + node] : [own + node], cached: true);
            k.Run(fair[0], 1);
        });
        RunQueue queue = RunQueues.ReadAll(g.Kernel, Few)[1];
        Assert.True(queue.Tasks.IsWhole, queue.Tasks.Broken);
        (string, SchedulingClass, ulong, int, bool, bool)[] ours = [.. queue.Tasks.Items.Select(t => (Tasks.ReadTask(g.Kernel, t.Task).Comm, t.Class, t.Key, t.Depth, t.IsCurrent, t.IsDelayed))];
        Assert.Equal(
        [
            ("deadline", SchedulingClass.Deadline, 77, 0, false, false), ("urgent0", SchedulingClass.RealTime, 10, 0, false, false), ("urgent1", SchedulingClass.RealTime, 10, 0, false, false),
            ("urgent2", SchedulingClass.RealTime, 98, 0, false, false), ("fair0", SchedulingClass.Fair, 1000, 0, true, false), ("fair1", SchedulingClass.Fair, 1001, 0, false, false),
            ("inner0", SchedulingClass.Fair, 0, 1, false, false), ("inner1", SchedulingClass.Fair, 0, 1, false, false), ("fair2", SchedulingClass.Fair, 1002, 0, false, false),
            ("fair3", SchedulingClass.Fair, 1003, 0, false, shape == KernelShape.Linux612),
        ], ours);
        Assert.Equal((1, 5000UL, fair[0].Address, false), (queue.Cpu, queue.Switches, queue.Current, queue.IsIdle));
        Assert.Empty(RunQueues.Read(g.Kernel, 0, Few).Tasks.Items);
    }

    public static TheoryData<string> Damages => ["group in itself", "tree", "wild group", "wild tree", "real-time queue", "wild current", "too many"];

    [Theory]
    [MemberData(nameof(Damages))]
    public void A_broken_queue_gives_what_it_has_and_says_where_it_broke(string damage)
    {
        SyntheticTask[] fair = [];
        using var g = new KernelGuest(null, k =>
        {
            fair = [.. Enumerable.Range(0, 60).Select(i => k.AddTask(500 + i, $"fair{i}", state: 0))];
            k.QueueFair(k.Queue(0, "cfs"), [.. fair.Take(damage == "too many" ? 60 : 8).Select(k.Entity)]);
            QueueRealTime(k, [fair[50]], 0);
        });
        SyntheticKernel k = g.Guest;
        ulong entity = k.Entity(fair[3]), node = entity + k.Types.Offset("sched_entity.run_node");
        switch (damage)
        {
            case "group in itself":
                k.Put(entity, "sched_entity.my_q", k.Queue(0, "cfs"));
                break;
            case "tree":
                k.WriteU64(node, node | 1);
                break;
            case "wild group":
                k.Put(entity, "sched_entity.my_q", 0xffff_c900_0000_0000);
                break;
            case "wild tree":
                k.WriteU64(node + 8, 0xdead_0000_0000_0008);
                break;
            case "real-time queue":
                k.WriteU64(fair[50].Address + k.Types.Offset("task_struct.rt") + 8, 0x1234);
                break;
            case "wild current":
                k.Put(k.Queue(0, "cfs"), "cfs_rq.curr", 0x1000);
                break;
        }

        RunQueue queue = RunQueues.Read(g.Kernel, 0, Few);
        Assert.False(queue.Tasks.IsWhole);
        Assert.NotEmpty(queue.Tasks.Broken!);
        Assert.InRange(queue.Tasks.Items.Count, 0, Few.MaxTasks);
        if (damage is "wild group" or "too many")
            Assert.Contains(queue.Tasks.Items, t => t.Task == fair[0].Address);
    }

    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void Details_are_what_the_kernel_keeps(KernelShape shape)
    {
        using var g = new KernelGuest(new SyntheticKernelOptions { Shape = shape, Cpus = 2 });
        SyntheticKernel k = g.Guest;
        ulong at = k.Victim.Address;
        foreach ((string member, ulong value) in ((string, ulong)[])[
            ("thread_info.cpu", 1), ("on_cpu", 1), ("on_rq", 1), ("prio", 139), ("static_prio", 139), ("rt_priority", 0), ("policy", 3), ("utime", 5), ("stime", 6), ("se.sum_exec_runtime", 12),
            ("start_boottime", 99), ("nvcsw", 3), ("nivcsw", 4), ("rcu_read_lock_nesting", 2)])
            k.Put(at, $"task_struct.{member}", value);
        k.Put(k.Victim.Signal, "signal_struct.nr_threads", 7);
        LinuxTask task = Tasks.ReadTask(g.Kernel, at);
        k.Put(task.Memory, "mm_struct.total_vm", 1000);
        ulong rss = task.Memory + k.Types.Offset("mm_struct.rss_stat");
        for (int i = 0; i < 4; i++)
        {
            if (shape == KernelShape.Linux612)
                k.Put(rss + (ulong)(i * k.Types.SizeOf("percpu_counter")), "percpu_counter.count", (ulong)(10 * (i + 1)));
            else
                k.WriteU64(rss + ((ulong)i * 8), i == 2 ? ulong.MaxValue - 4 : (ulong)(10 * (i + 1)));
        }

        TaskDetails d = TaskDetails.Read(g.Kernel, task);
        Assert.Equal((1, true, 1, 139, 19, SchedulingPolicy.Batch), (d.Cpu, d.IsOnCpu, d.OnRunQueue, d.Priority, d.Nice, d.Policy));
        Assert.Equal((5UL, 6UL, 12UL, 99UL, 3UL, 4UL, 7, 2), (d.UserNs, d.SystemNs, d.RuntimeNs, d.StartNs, d.VoluntarySwitches, d.InvoluntarySwitches, d.Threads, d.RcuNesting));
        Assert.Equal(new ProcessMemory(10, 20, 40, shape == KernelShape.Linux612 ? 30 : 0, 1000), d.Memory);
        Assert.Equal(70, d.Memory!.ResidentPages);
        Assert.Null(TaskDetails.Read(g.Kernel, Tasks.ReadTask(g.Kernel, k.Kthread.Address)).Memory);

        // What the threads have not handed in yet, below zero too: a page that is copied on write goes from one count to the other.
        if (shape == KernelShape.Linux61)
        {
            ulong counts = k.Types.Offset("task_struct.rss_stat.count");
            k.Put(at + counts, "task_rss_stat.events", unchecked((uint)-3));
            k.Put(at + counts + 4, "task_rss_stat.events", 5);
            k.Put(k.Init.Address + counts + 12, "task_rss_stat.events", 64);
        }

        Assert.Equal(
            shape == KernelShape.Linux61 ? new ProcessMemory(7, 25, 104, 0, 1000) : d.Memory, TaskDetails.ReadMemory(g.Kernel, task.Memory, [at, k.Init.Address]));
        Assert.Equal(d.Memory, TaskDetails.ReadMemory(g.Kernel, task.Memory));
    }

    [Fact]
    public void Empty_groups_that_hold_each_other_twice_end()
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        ulong at = k.Queue(0, "cfs");
        for (int level = 0; level < 60; level++)
        {
            ulong below = k.Allocate(k.Types.SizeOf("cfs_rq"));
            ulong[] pair = [k.Allocate(k.Types.SizeOf("sched_entity")), k.Allocate(k.Types.SizeOf("sched_entity"))];
            foreach (ulong entity in pair)
                k.Put(entity, "sched_entity.my_q", below);
            k.QueueFair(at, pair);
            at = below;
        }

        Assert.Contains("twice", RunQueues.Read(g.Kernel, 0, Few).Tasks.Broken);
    }

    [Fact]
    public void A_process_whose_numbers_lead_nowhere_is_a_typed_failure()
    {
        using var g = new KernelGuest();
        LinuxTask task = Tasks.ReadTask(g.Kernel, g.Guest.Victim.Address);
        g.Guest.Put(task.Address, "task_struct.thread_info.cpu", uint.MaxValue);
        Assert.Throws<KernelShapeException>(() => TaskDetails.Read(g.Kernel, task));
        g.Guest.Put(task.Address, "task_struct.thread_info.cpu", 0);
        g.Guest.Put(task.Address, "task_struct.signal", 0x10);
        Assert.Throws<GuestMemoryException>(() => TaskDetails.Read(g.Kernel, task));
    }

    [Fact]
    public void The_clock_is_read_and_told_in_nanoseconds()
    {
        using var g = new KernelGuest();
        KernelClock clock = KernelClock.Read(g.Kernel);
        Assert.Equal((0xffff_0000UL, 250, 100_000_000_500UL, 101_000_000_500UL), (clock.Jiffies, clock.Hz, clock.MonotonicNs, clock.BoottimeNs));
        Assert.Equal([1.0, 1.5, 2.0], clock.LoadAverage);
        Assert.Equal(4_000_000UL, clock.ToNs(1));
        g.Guest.Put(g.Guest["shadow_timekeeper"], "timekeeper.ntp_tick", 3);
        g.Guest.Put(g.Guest["shadow_timekeeper"], "timekeeper.tkr_mono.shift", 200);
        Assert.Equal((null, null), (KernelClock.Read(g.Kernel).Hz, KernelClock.Read(g.Kernel).ToNs(5)));
    }

    [Fact]
    public void How_long_a_task_sleeps_is_told_with_its_source()
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        ulong at = k.Kthread.Address;
        var times = new SleepTimes(g.Kernel);
        Assert.Null(times.Of(at));

        // Off CPU 0 at 90 s of its task clock, which is a second behind; the newest clock is CPU 1's, 100.001 s.
        k.Put(at, "task_struct.sched_info.last_arrival", 80_000_000_000);
        Assert.Equal(new SleepTime(20_001_000_000, SleepTimeSource.LastArrival, 0, 20_001_000_000), times.Of(at));
        k.Put(at, "task_struct.se.exec_start", 90_000_000_000);
        Assert.Equal(new SleepTime(9_001_000_000, SleepTimeSource.LastRun, 0, 20_001_000_000), times.Of(at));

        // The hung-task detector saw it 1000 ticks of 4 ms ago, and it has not switched since.
        k.Put(at, "task_struct.last_switch_time", 0xffff_0000 - 1000);
        k.Put(at, "task_struct.last_switch_count", 9);
        Assert.Equal(0UL, times.Of(at)!.AtLeastNs);
        k.Put(at, "task_struct.nvcsw", 5);
        k.Put(at, "task_struct.nivcsw", 4);
        Assert.Equal(4_000_000_000UL, times.Of(at)!.AtLeastNs);
        k.Put(at, "task_struct.se.exec_start", ulong.MaxValue);
        Assert.Equal(4_000_000_000UL, times.Of(at)!.Ns);
        k.Put(at, "task_struct.on_cpu", 1);
        Assert.Null(times.Of(at));
    }

    private static void QueueRealTime(SyntheticKernel k, SyntheticTask[] tasks, int cpu = 1)
    {
        ulong array = k.Queue(cpu, "rt") + k.Types.Offset("rt_rq.active"), run = k.Types.Offset("task_struct.rt");
        ulong queues = array + k.Types.Offset("rt_prio_array.queue");
        k.Ring([queues + (10 * 16), .. tasks.Take(2).Select(t => t.Address + run)]);
        k.WriteU64(array, 1UL << 10);
        if (tasks.Length > 2)
        {
            k.Ring([queues + (98 * 16), tasks[2].Address + run]);
            k.WriteU64(array + 8, 1UL << (98 - 64));
        }
    }
}
