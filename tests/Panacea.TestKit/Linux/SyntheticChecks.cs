using Panacea.TestKit.Memory;

namespace Panacea.TestKit.Linux;

/// <summary>What <see cref="SyntheticKernel.MakeWhole"/> has made.</summary>
/// <param name="Pids">struct pid by number.</param>
/// <param name="Mutex">A mutex that the task "victim" holds and the kernel thread waits for.</param>
/// <param name="Pool">A pool of workers.</param>
/// <param name="Worker">Its worker.</param>
/// <param name="Timer">A timer of CPU 0, bucket 70 of wheel 0.</param>
/// <param name="Wheel">That wheel.</param>
/// <param name="HighResolution">Two high-resolution timers of CPU 0, clock 0, in order.</param>
/// <param name="Cache">A slab cache.</param>
/// <param name="Slab">Its slab, of which objects 1, 3 and 2 are free.</param>
/// <param name="Mount">The root mount.</param>
/// <param name="File">A file that pid 1 has open.</param>
public sealed record WholeKernel(
    IReadOnlyDictionary<int, ulong> Pids, ulong Mutex, ulong Pool, ulong Worker, ulong Timer, ulong Wheel, IReadOnlyList<ulong> HighResolution, SyntheticCache Cache, SyntheticSlab Slab,
    ulong Mount, ulong File)
{
    /// <summary>Its wait queues.</summary>
    public required WholeWaits Waits { get; init; }

    /// <summary>Its pages on lists.</summary>
    public required WholePages Pages { get; init; }

    /// <summary>A slab with red zones and poison: 32 bytes an object, 16 of red zone before and 8 behind, objects 2 and 0 free.</summary>
    public required SyntheticSlab Guarded { get; init; }
}

public sealed partial class SyntheticKernel
{
    private const ulong StackEndMagic = 0x57ac_6e9d;

    /// <summary>Fills in what a living kernel has and other tests need not: families, pids, ends of stacks, queues, gates, something of everything. Every invariant holds afterwards.</summary>
    public WholeKernel MakeWhole()
    {
        Link();
        foreach (SyntheticTask task in Tasks.Concat(Idle).Distinct())
        {
            WriteU64(task.Stack, StackEndMagic);
            Put(task.Address, "task_struct.stack_canary", 0x1122_3344_5566_7700 + ((ulong)task.Pid << 12));
            Put(task.Address, "task_struct.thread.sp", task.StackTop - 0x200);
            Ring([task.Address + Types.Offset("task_struct.children")]);
            Ring([task.Address + Types.Offset("task_struct.sibling")]);
        }

        SyntheticTask init = Tasks[0];
        foreach (SyntheticTask leader in Tasks.Where(t => t.Pid == t.Tgid))
        {
            List<SyntheticTask> threads = [.. Tasks.Where(t => t.Tgid == leader.Tgid)];
            Put(leader.Signal, "signal_struct.nr_threads", (ulong)threads.Count);
            foreach (SyntheticTask thread in threads)
                Put(thread.Address, "task_struct.group_leader", leader.Address);
        }

        List(init.Address + Types.Offset("task_struct.children"), "task_struct.sibling", [.. Tasks.Where(t => t.Pid == t.Tgid && t != init).Select(t => t.Address)]);
        WholeKernel whole = MakeSomeOfAll(MakePids());
        for (int cpu = 0; cpu < Options.Cpus; cpu++)
            Put(Idle[cpu].Address, "task_struct.thread_info.cpu", (ulong)cpu);
        Put(Victim.Address, "task_struct.on_rq", 1);
        Put(Victim.Address, "task_struct.on_cpu", 1);
        QueueFair(Queue(0, "cfs"), [Entity(Victim)], current: true);
        MakeGates();
        MakeEntryAreas();
        return whole;
    }

    private SyntheticSlab MakeGuarded()
    {
        SyntheticSlab slab = AddSlab(AddCache("guarded-32", 32, redLeft: 16, poison: true), 2, 0);
        for (int i = 0; i < slab.Objects.Count; i++)
        {
            bool free = i is 0 or 2;
            byte zone = free ? (byte)0xbb : (byte)0xcc;
            Write(slab.Objects[i] - 16, [.. Enumerable.Repeat(zone, 16)]);
            Write(slab.Objects[i] + 32, [.. Enumerable.Repeat(zone, 8)]);
            if (free)
                Write(slab.Objects[i], [.. Enumerable.Repeat((byte)0x6b, 31), 0xa5]);
        }

        return slab;
    }

    private Dictionary<int, ulong> MakePids()
    {
        var pids = new Dictionary<int, ulong>();
        foreach (SyntheticTask task in Tasks.Where(t => t.Pid != 0))
        {
            ulong pid = New("pid"), link = task.Address + Types.Offset("task_struct.pid_links");
            WriteU64(pid + Types.Offset("pid.numbers"), (ulong)task.Pid);
            WriteU64(pid + Types.Offset("pid.tasks"), link);
            WriteU64(link + 8, pid + Types.Offset("pid.tasks"));
            Put(task.Address, "task_struct.thread_pid", pid);
            pids[task.Pid] = pid;
        }

        XArray(this["init_pid_ns"] + Types.Offset("pid_namespace.idr") + Types.Offset("idr.idr_rt"), pids.ToDictionary(p => (ulong)p.Key, p => p.Value));
        return pids;
    }

    private WholeKernel MakeSomeOfAll(Dictionary<int, ulong> pids)
    {
        HoldMutex(Mutex(0), Victim.Address, Kthread);

        ulong pool = New("worker_pool", ("cpu", 1), ("id", 2), ("nr_workers", 1), ("nr_idle", 1)), worker = New("worker", ("flags", 4), ("task", Kthread.Address)), queue = New("workqueue_struct");
        ulong share = New("pool_workqueue", ("pool", pool), ("wq", queue));
        XArray(this["worker_pool_idr"] + Types.Offset("idr.idr_rt"), new Dictionary<ulong, ulong> { [2] = pool });
        List(pool + Types.Offset("worker_pool.workers"), "worker.node", worker);
        ulong work = New("work_struct", ("func", this["ct_work"]));
        List(pool + Types.Offset("worker_pool.worklist"), "work_struct.entry", work);
        Ring([share + Types.Offset("pool_workqueue.inactive_works")]);
        List(queue + Types.Offset("workqueue_struct.pwqs"), "pool_workqueue.pwqs_node", share);
        List(this["workqueues"], "workqueue_struct.list", queue);

        const int bucket = 70;
        ulong timer = New("process_timer", ("task", Kthread.Address)), wheel = PerCpu("timer_bases", 0), head = wheel + Types.Offset("timer_base.vectors") + (bucket * 8);
        Put(timer, "timer_list.function", this["process_timeout"]);
        Put(timer, "timer_list.flags", (ulong)bucket << 22);
        WriteU64(head, timer);
        WriteU64(timer + 8, head);
        WriteU64(wheel + Types.Offset("timer_base.pending_map") + (bucket / 64 * 8), 1UL << (bucket % 64));

        ulong[] precise = [.. new[] { 100UL, 200UL }.Select(at => New("hrtimer_sleeper", ("timer.node.expires", at), ("timer._softexpires", at), ("timer.function", this["hrtimer_wakeup"]), ("timer.state", 1), ("task", Kthread.Address)))];
        ulong clock = PerCpu("hrtimer_bases", 0) + Types.Offset("hrtimer_cpu_base.clock_base") + Types.Offset("hrtimer_clock_base.active") + Types.Offset("timerqueue_head.rb_root");
        Tree(clock, precise, cached: true);

        SyntheticCache cache = AddCache("kmalloc-64", 64);
        SyntheticSlab slab = AddSlab(cache, 1, 3, 2);
        ulong mount = Mount("rootfs", "none", 0, 0, 1);
        List(this["super_blocks"], "super_block.s_list", Get(mount, "mount.mnt.mnt_sb"));
        Put(Init.Address, "task_struct.nsproxy", New("nsproxy", ("mnt_ns", MountNamespace(mount))));
        ulong dentry = Dentry("log", Get(mount, "mount.mnt.mnt_root")), file = File(mount, dentry, 0x81a4, 42);
        Put(dentry, "dentry.d_inode", Get(file, "file.f_inode"));
        Put(file, "file.f_op", this["null_fops"]);
        Put(this["null_fops"], "file_operations.write", this["vfs_write"]);
        SetFiles(Init, (3, file));
        return new WholeKernel(pids, Mutex(0), pool, worker, timer, wheel, precise, cache, slab, mount, file) { Waits = MakeWaits(mount), Pages = MakePages(), Guarded = MakeGuarded() };
    }

    /// <summary>Trap gates and two system calls.</summary>
    private void MakeGates()
    {
        ulong to = this["asm_exc_page_fault"];
        for (ulong vector = 0; vector < 256; vector++)
        {
            WriteU64(this["idt_table"] + (vector * 16), (to & 0xffff) | 0x10UL << 16 | 0x8eUL << 40 | (to >> 16 & 0xffff) << 48);
            WriteU64(this["idt_table"] + (vector * 16) + 8, to >> 32);
        }

        WriteU64(this["sys_call_table"], this["ksys_write"]);
        WriteU64(this["sys_call_table"] + 8, this["vfs_write"]);
    }
}
