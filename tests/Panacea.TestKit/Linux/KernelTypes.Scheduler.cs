namespace Panacea.TestKit.Linux;

internal static partial class KernelTypes
{
    /// <summary>Waits, locks, run queues, timers and workqueues: what stands before task_struct, and the members that it needs of it.</summary>
    private static (string, CType)[] Scheduler(SyntheticTypes t, CType list, KernelShape shape)
    {
        bool eevdf = shape == KernelShape.Linux612;
        CType atomic = t.Known("atomic_t"), atomicLong = t.Known("atomic_long_t"), rb = t.Known("rb_node"), cached = t.Known("rb_root_cached"), hnode = t.Known("hlist_node");
        t.Struct("thread_info", ("flags", t.U64), ("syscall_work", t.U64), ("status", t.U32), ("cpu", t.U32));
        CType thread = t.Struct("thread_struct", ("tls_array", t.Array(t.U64, 3)), ("sp", t.U64));
        t.Struct("inactive_task_frame", ("r15", t.U64), ("r14", t.U64), ("r13", t.U64), ("r12", t.U64), ("bx", t.U64), ("bp", t.U64), ("ret_addr", t.U64));
        (string, CType)[] order = eevdf ? [("run_node", rb), ("deadline", t.U64), ("group_node", list), ("on_rq", t.U8), ("sched_delayed", t.U8)] : [("run_node", rb), ("group_node", list), ("on_rq", t.U32)];
        CType se = t.Struct("sched_entity", [.. order, ("exec_start", t.U64), ("sum_exec_runtime", t.U64), ("vruntime", t.U64), ("my_q", t.Pointer)]);
        CType rt = t.Struct("sched_rt_entity", ("run_list", list), ("time_slice", t.U32));
        (string, CType)[] server = eevdf ? [("dl_server", t.U32 with { Bits = 1 })] : [];
        CType dl = t.Struct("sched_dl_entity", [("rb_node", rb), ("deadline", t.U64), ("dl_throttled", t.U32 with { Bits = 1 }), .. server]);
        CType sched = t.Struct("sched_info", ("pcount", t.U64), ("last_arrival", t.U64), ("last_queued", t.U64));
        CType cfsRq = t.Struct("cfs_rq", ("nr_running", t.U32), ("tasks_timeline", cached), ("curr", t.Pointer));
        CType array = t.Struct("rt_prio_array", ("bitmap", t.Array(t.U64, 2)), ("queue", t.Array(list, 100)));
        CType rtRq = t.Struct("rt_rq", ("active", array), ("rt_nr_running", t.U32));
        CType dlRq = t.Struct("dl_rq", ("root", cached), ("dl_nr_running", t.U32));
        t.Struct("rq",
            ("nr_running", t.U32), ("nr_switches", t.U64), ("cfs", cfsRq), ("rt", rtRq), ("dl", dlRq), ("nr_uninterruptible", t.U64), ("curr", t.Pointer), ("idle", t.Pointer),
            ("clock", t.U64), ("clock_task", t.U64), ("nr_iowait", atomic));
        Locks(t, list, cached, atomic, atomicLong);
        Rcu(t, list, atomicLong);
        Workqueues(t, list, atomicLong, hnode);
        Timers(t, cached, rb, hnode, shape);
        CType tick = t.Struct("tk_read_base", ("mult", t.U32), ("shift", t.U32), ("xtime_nsec", t.U64), ("base", t.U64));
        t.Struct("timekeeper", ("tkr_mono", tick), ("offs_real", t.U64), ("offs_boot", t.U64), ("ntp_tick", t.U64));
        t.Struct("kernel_stat", ("irqs_sum", t.U64), ("softirqs", t.Array(t.U32, 10)));
        return
        [
            ("thread", thread), ("on_cpu", t.S32), ("on_rq", t.S32), ("prio", t.S32), ("static_prio", t.S32), ("rt_priority", t.U32), ("policy", t.U32), ("se", se), ("rt", rt), ("dl", dl),
            ("utime", t.U64), ("stime", t.U64), ("start_boottime", t.U64), ("nvcsw", t.U64), ("nivcsw", t.U64), ("sched_info", sched), ("last_switch_count", t.U64), ("last_switch_time", t.U64),
            ("rcu_read_lock_nesting", t.S32), ("rcu_node_entry", list),
        ];
    }

    private static void Locks(SyntheticTypes t, CType list, CType cached, CType atomic, CType atomicLong)
    {
        t.Struct("mutex", ("owner", atomicLong), ("wait_lock", t.U32), ("wait_list", list));
        t.Struct("mutex_waiter", ("list", list), ("task", t.Pointer));
        t.Struct("rw_semaphore", ("count", atomicLong), ("owner", atomicLong), ("wait_lock", t.U32), ("wait_list", list));
        t.Struct("rwsem_waiter", ("list", list), ("task", t.Pointer), ("type", t.U32));
        t.Struct("semaphore", ("lock", t.U32), ("count", t.U32), ("wait_list", list));
        t.Struct("semaphore_waiter", ("list", list), ("task", t.Pointer));
        t.Struct("wait_queue_entry", ("flags", t.U32), ("private", t.Pointer), ("func", t.Pointer), ("entry", list));
        CType queue = t.Struct("wait_queue_head", ("lock", t.U32), ("head", list));
        CType writer = t.Struct("rcuwait", ("task", t.Pointer));
        t.Struct("percpu_rw_semaphore", ("read_count", t.Pointer), ("writer", writer), ("waiters", queue), ("block", atomic));
        CType swait = t.Struct("swait_queue_head", ("lock", t.U32), ("task_list", list));
        CType key = t.Struct("wait_bit_key", ("flags", t.Pointer), ("bit_nr", t.S32), ("timeout", t.U64));
        t.Struct("wait_bit_queue_entry", ("key", key), ("wq_entry", t.Known("wait_queue_entry")));
        t.Struct("wait_page_queue", ("folio", t.Pointer), ("bit_nr", t.S32), ("wait", t.Known("wait_queue_entry")));
        t.Struct("swait_queue", ("task", t.Pointer), ("task_list", list));
        t.Struct("completion", ("done", t.U32), ("wait", swait));
        t.Struct("rt_mutex_base", ("wait_lock", t.U32), ("waiters", cached), ("owner", t.Pointer));
        CType node = t.Struct("rt_waiter_node", ("entry", t.Known("rb_node")), ("prio", t.S32));
        t.Struct("rt_mutex_waiter", ("tree", node), ("task", t.Pointer), ("lock", t.Pointer));
    }

    private static void Rcu(SyntheticTypes t, CType list, CType atomicLong)
    {
        CType node = t.Struct("rcu_node", ("lock", t.U32), ("gp_seq", t.U64), ("qsmask", t.U64), ("grplo", t.S32), ("grphi", t.S32), ("blkd_tasks", list), ("gp_tasks", t.Pointer));
        t.Struct("rcu_state",
            ("node", t.Array(node, 4)), ("level", t.Array(t.Pointer, 4)), ("gp_seq", t.U64), ("gp_kthread", t.Pointer), ("gp_start", t.U64), ("jiffies_stall", t.U64));
        CType callbacks = t.Struct("rcu_segcblist", ("head", t.Pointer), ("len", atomicLong));
        t.Struct("rcu_data", ("gp_seq", t.U64), ("core_needs_qs", t.U8), ("ticks_this_gp", t.U64), ("cblist", callbacks));
    }

    private static void Workqueues(SyntheticTypes t, CType list, CType atomicLong, CType hnode)
    {
        CType work = t.Struct("work_struct", ("data", atomicLong), ("entry", list), ("func", t.Pointer));
        t.Struct("workqueue_attrs", ("nice", t.S32));
        t.Struct("worker_pool",
            ("lock", t.U32), ("cpu", t.S32), ("id", t.S32), ("flags", t.U32), ("watchdog_ts", t.U64), ("worklist", list), ("nr_workers", t.S32), ("nr_idle", t.S32), ("workers", list),
            ("attrs", t.Pointer));
        t.Struct("worker",
            ("current_work", t.Pointer), ("current_func", t.Pointer), ("current_pwq", t.Pointer), ("task", t.Pointer), ("node", list), ("flags", t.U32), ("id", t.S32), ("desc", t.Array(t.Char, 24)),
            ("rescue_wq", t.Pointer));
        t.Struct("pool_workqueue", ("pool", t.Pointer), ("wq", t.Pointer), ("nr_active", t.S32), ("inactive_works", list), ("pwqs_node", list));
        t.Struct("workqueue_struct", ("pwqs", list), ("list", list), ("rescuer", t.Pointer), ("name", t.Array(t.Char, 24)), ("flags", t.U32));
        CType timer = t.Struct("timer_list", ("entry", hnode), ("expires", t.U64), ("function", t.Pointer), ("flags", t.U32));
        t.Struct("delayed_work", ("work", work), ("timer", timer));
        t.Struct("process_timer", ("timer", timer), ("task", t.Pointer));
        t.Enum("work_bits", ("WORK_STRUCT_FLAG_BITS", 8));
    }

    private static void Timers(SyntheticTypes t, CType cached, CType rb, CType hnode, KernelShape shape)
    {
        CType wheel = t.Struct("timer_base",
            ("lock", t.U32), ("running_timer", t.Pointer), ("clk", t.U64), ("next_expiry", t.U64), ("pending_map", t.Array(t.U64, 9)), ("vectors", t.Array(t.Pointer, 576)));
        t.Variable("timer_bases", t.Array(wheel, shape == KernelShape.Linux612 ? 3 : 2));
        CType node = t.Struct("timerqueue_node", ("node", rb), ("expires", t.S64));
        CType head = t.Struct("timerqueue_head", ("rb_root", cached));
        CType timer = t.Struct("hrtimer", ("node", node), ("_softexpires", t.S64), ("function", t.Pointer), ("state", t.U8));
        t.Struct("tick_sched", ("sched_timer", timer), shape == KernelShape.Linux612 ? ("flags", t.U64) : ("tick_stopped", t.U32 with { Bits = 1 }));
        t.Struct("clock_event_device", ("event_handler", t.Pointer));
        t.Struct("tick_device", ("evtdev", t.Pointer), ("mode", t.U32));
        t.Struct("hrtimer_sleeper", ("timer", timer), ("task", t.Pointer));
        CType clock = t.Struct("hrtimer_clock_base", ("cpu_base", t.Pointer), ("index", t.U32), ("active", head));
        t.Struct("hrtimer_cpu_base",
            ("lock", t.U32), ("hres_active", t.U32 with { Bits = 1 }), ("nr_events", t.U32), ("nr_hangs", t.U32), ("expires_next", t.S64), ("clock_base", t.Array(clock, 8)));
    }
}
