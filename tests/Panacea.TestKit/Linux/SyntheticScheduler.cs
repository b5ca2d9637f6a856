using Panacea.TestKit.Memory;

namespace Panacea.TestKit.Linux;

/// <summary>Where a sleeping task's stack lies.</summary>
/// <param name="Sp">task_struct.thread.sp.</param>
/// <param name="Frames">By function: its stack pointer at the call it waits in; its local variables lie from there on.</param>
public sealed record SyntheticSleep(ulong Sp, IReadOnlyDictionary<string, ulong> Frames);

public sealed partial class SyntheticKernel
{
    /// <summary>A way into the scheduler through mutex_lock, as places that calls return to, innermost first.</summary>
    public static readonly string[] InMutexLock =
    [
        "__schedule:back:__switch_to_asm", "schedule:back:__schedule", "__mutex_lock.constprop.0:back:schedule", "mutex_lock:back:__mutex_lock.constprop.0", "ct_sleeper:back:mutex_lock",
        "kthread:back:ct_outer", "ret_from_fork:back:kthread",
    ];

    /// <summary>The way in for one of the lock functions that ct_sleeper calls, or for ct_sleeper itself (wait_event).</summary>
    public static string[] In(string function) => function switch
    {
        "mutex_lock" => InMutexLock,
        "ct_sleeper" => ["__schedule:back:__switch_to_asm", "schedule:back:__schedule", "ct_sleeper:back:schedule", "kthread:back:ct_outer", "ret_from_fork:back:kthread"],
        _ => ["__schedule:back:__switch_to_asm", "schedule:back:__schedule", $"{function}:back:schedule", $"ct_sleeper:back:{function}", "kthread:back:ct_outer", "ret_from_fork:back:kthread"],
    };

    /// <summary>Writes the stack of a task that waits (struct inactive_task_frame and the frames above it).</summary>
    /// <param name="task">The task.</param>
    /// <param name="places">Places that calls return to, innermost first.</param>
    public SyntheticSleep Sleep(SyntheticTask task, params string[] places)
    {
        ulong sp = task.StackTop - 0x100;
        foreach (string place in places)
            sp -= (ulong)Math.Max(0, (int)Text.DepthAt(this[place]));
        sp = (sp & ~15UL) - 56;
        Put(task.Address, "task_struct.thread.sp", sp);
        for (ulong i = 0; i < 6; i++)
            WriteU64(sp + (i * 8), 0x1111 * (i + 1));
        WriteU64(sp + 48, this[places[0]]);
        ulong at = sp + 56;
        var frames = new Dictionary<string, ulong>();
        for (int i = 0; i < places.Length; i++)
        {
            frames[places[i].Split(':')[0]] = at;
            at += (ulong)Text.DepthAt(this[places[i]]);
            if (i + 1 < places.Length)
                WriteU64(at - 8, this[places[i + 1]]);
        }

        return new SyntheticSleep(sp, frames);
    }

    /// <summary>Puts a task to sleep in a lock function with a waiter in its frame; not in the lock's list before <see cref="Ring"/>.</summary>
    /// <param name="task">The task.</param>
    /// <param name="function">mutex_lock, rwsem_down_read_slowpath, ….</param>
    /// <param name="member">The waiter's task pointer, as mutex_waiter.task.</param>
    /// <returns>Address of the waiter.</returns>
    public ulong Wait(SyntheticTask task, string function, string member)
    {
        SyntheticSleep sleep = Sleep(task, In(function));
        ulong waiter = sleep.Frames[function == "mutex_lock" ? "__mutex_lock.constprop.0" : function] + 16;
        Put(task.Address, "task_struct.__state", 2);
        Put(waiter, member, task.Address);
        return waiter;
    }

    /// <summary>Puts a task to sleep in msleep().</summary>
    /// <param name="task">The task.</param>
    /// <param name="jiffies">For how long.</param>
    public void SleepFor(SyntheticTask task, ulong jiffies)
    {
        SyntheticSleep sleep = Sleep(
            task, "__schedule:back:__switch_to_asm", "schedule:back:__schedule", "schedule_timeout:back:schedule", "msleep:back:schedule_timeout", "ct_sleeper:back:msleep", "kthread:back:ct_outer",
            "ret_from_fork:back:kthread");
        ulong timer = sleep.Frames["schedule_timeout"] + 16;
        Put(task.Address, "task_struct.__state", 2);
        Put(timer, "timer_list.function", this["process_timeout"]);
        Put(timer, "timer_list.expires", ReadU64(this["jiffies_64"]) + jiffies);
        Put(timer, "process_timer.task", task.Address);
    }

    /// <summary>Takes a mutex: its owner and its waiters, each of which is put to sleep in mutex_lock.</summary>
    public void HoldMutex(ulong mutex, ulong owner, params SyntheticTask[] waiters)
    {
        Put(mutex, "mutex.owner.counter", owner | (waiters.Length > 0 ? 1UL : 0UL));
        Ring([mutex + Types.Offset("mutex.wait_list"), .. waiters.Select(w => Wait(w, "mutex_lock", "mutex_waiter.task"))]);
    }

    /// <summary>One of four mutexes in the kernel's data.</summary>
    public ulong Mutex(int number) => this["ct_mutexes"] + (ulong)(number * 64);

    /// <summary>Puts fair tasks on a CPU's queue; the first is the current one where <paramref name="current"/>.</summary>
    /// <param name="cfsRq">Address of a cfs_rq.</param>
    /// <param name="entities">Addresses of sched_entities, in order.</param>
    /// <param name="current">The first runs, and is out of the tree.</param>
    public void QueueFair(ulong cfsRq, IReadOnlyList<ulong> entities, bool current = false)
    {
        foreach (ulong entity in entities)
            Put(entity, "sched_entity.on_rq", 1);
        Put(cfsRq, "cfs_rq.curr", current ? entities[0] : 0);
        Put(cfsRq, "cfs_rq.nr_running", (ulong)entities.Count);
        Tree(cfsRq + Types.Offset("cfs_rq.tasks_timeline"), [.. entities.Skip(current ? 1 : 0).Select(e => e + Types.Offset("sched_entity.run_node"))], cached: true);
    }

    /// <summary>The sched_entity of a task.</summary>
    public ulong Entity(SyntheticTask task) => task.Address + Types.Offset("task_struct.se");

    /// <summary>A part of a CPU's run queue: cfs, rt, dl.</summary>
    public ulong Queue(int cpu, string part) => PerCpu("runqueues", cpu) + Types.Offset($"rq.{part}");

    private IEnumerable<(string Name, int Bytes)> SchedulerPerCpu() =>
    [
        ("kstat", Types.SizeOf("kernel_stat")), ("timer_bases", Types.SizeOf("timer_base") * (Options.Shape == KernelShape.Linux612 ? 3 : 2)), ("hrtimer_bases", Types.SizeOf("hrtimer_cpu_base")),
        ("rcu_data", Types.SizeOf("rcu_data")), ("qnodes", 64), ("tick_cpu_sched", Types.SizeOf("tick_sched")), ("tick_cpu_device", Types.SizeOf("tick_device")), ("blk_cpu_done", 8),
    ];

    /// <summary>Everything that a kernel has of its scheduler when nothing goes on.</summary>
    private void LayOutScheduler()
    {
        _data["__sched_text_start"] = Text["__schedule"];
        _data["__sched_text_end"] = Text["__mutex_lock.constprop.0"] + SyntheticText.SlotBytes;
        foreach (string mask in (string[])["__cpu_online_mask", "__cpu_active_mask"])
            WriteU64(Data(mask, 1024), (1UL << Options.Cpus) - 1);
        ulong load = Data("avenrun", 24);
        for (int i = 0; i < 3; i++)
            WriteU64(load + ((ulong)i * 8), 2048 + ((ulong)i * 1024));
        ulong keeper = Data("shadow_timekeeper", Types.SizeOf("timekeeper"));
        Put(keeper, "timekeeper.ntp_tick", 4_000_000UL << 32);
        Put(keeper, "timekeeper.tkr_mono.shift", 8);
        Put(keeper, "timekeeper.tkr_mono.base", 100_000_000_000);
        Put(keeper, "timekeeper.tkr_mono.xtime_nsec", 500 << 8);
        Put(keeper, "timekeeper.offs_boot", 1_000_000_000);
        Put(keeper, "timekeeper.offs_real", 1_700_000_000_000_000_000);

        ulong rcu = Data("rcu_state", Types.SizeOf("rcu_state")), leaf = rcu + Types.Offset("rcu_state.node");
        WriteU64(rcu + Types.Offset("rcu_state.level"), leaf);
        Put(rcu, "rcu_state.gp_seq", 400);
        Put(leaf, "rcu_node.grphi", (ulong)(Options.Cpus - 1));
        Ring([leaf + Types.Offset("rcu_node.blkd_tasks")]);
        Write(Data("rcu_num_nodes", 4), 1, 0, 0, 0);
        Write(Data("rcu_num_lvls", 4), 1, 0, 0, 0);

        ulong mutexes = Data("ct_mutexes", 4 * 64);
        for (ulong i = 0; i < 4; i++)
            Ring([mutexes + (i * 64) + Types.Offset("mutex.wait_list")]);
        Data("worker_pool_idr", Types.SizeOf("idr"));
        Ring([Data("workqueues", 16)]);
        for (int cpu = 0; cpu < Options.Cpus; cpu++)
        {
            Put(PerCpu("runqueues", cpu), "rq.clock", 100_000_000_000 + ((ulong)cpu * 1_000_000));
            Put(PerCpu("runqueues", cpu), "rq.clock_task", 99_000_000_000);
            ulong queues = Queue(cpu, "rt") + Types.Offset("rt_rq.active") + Types.Offset("rt_prio_array.queue");
            for (ulong i = 0; i < 100; i++)
                Ring([queues + (i * 16)]);
            Put(PerCpu("hrtimer_bases", cpu), "hrtimer_cpu_base.hres_active", 1);
        }
    }
}
