using Panacea.Kernel.Structures;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>Which class schedules a task.</summary>
public enum SchedulingClass
{
    /// <summary>Deadline.</summary>
    Deadline,

    /// <summary>Real-time.</summary>
    RealTime,

    /// <summary>Fair: normal, batch and idle policies.</summary>
    Fair,

    /// <summary>A BPF scheduler (sched_ext, 6.12).</summary>
    Extensible,
}

/// <summary>A task that waits for its CPU, or has it.</summary>
/// <param name="Task">task_struct address.</param>
/// <param name="Class">Class.</param>
/// <param name="Key">What the queue is ordered by: virtual deadline of a fair task (virtual run time before EEVDF), priority of a real-time task, absolute deadline of a deadline task; 0 for others.</param>
/// <param name="Depth">Task groups above it; 0 in the root group.</param>
/// <param name="IsCurrent">It is the one that its queue runs: the fair class keeps it out of the tree.</param>
/// <param name="IsDelayed">It sleeps already and stays queued until its lag has run off (EEVDF's delayed dequeue, 6.12).</param>
public sealed record QueuedTask(ulong Task, SchedulingClass Class, ulong Key, int Depth, bool IsCurrent, bool IsDelayed);

/// <summary>The run queue of one CPU. Times are nanoseconds of that CPU's scheduler clock.</summary>
/// <param name="Cpu">CPU.</param>
/// <param name="Address">struct rq.</param>
/// <param name="Running">Tasks that are ready, as the queue counts them (nr_running).</param>
/// <param name="Switches">Context switches.</param>
/// <param name="Current">The task that runs.</param>
/// <param name="Idle">The CPU's idle task.</param>
/// <param name="ClockNs">rq.clock, as of its last update: an idle CPU's clock stands.</param>
/// <param name="TaskClockNs">rq.clock_task: the same without time spent in interrupts and stolen by the hypervisor.</param>
/// <param name="Uninterruptible">Tasks that went into uninterruptible sleep here less those that woke here: only the sum over all CPUs means something.</param>
/// <param name="IoWait">Tasks that last ran here and wait for I/O.</param>
/// <param name="Tasks">Its tasks as far as its queues hold together.</param>
public sealed record RunQueue(
    int Cpu, ulong Address, uint Running, ulong Switches, ulong Current, ulong Idle, ulong ClockNs, ulong TaskClockNs, long Uninterruptible, int IoWait, Walked<QueuedTask> Tasks)
{
    /// <summary>The CPU has nothing to do.</summary>
    public bool IsIdle => Current == Idle;
}

/// <summary>Run queues (kernel/sched/sched.h).</summary>
public static class RunQueues
{
    /// <summary>Task groups nested in each other; cgroups stop at far fewer (cgroup.max.depth is a policy, the kernel's stack the limit).</summary>
    private const int MaxGroups = 64;

    /// <summary>MAX_RT_PRIO: queues of the real-time class, and one bit more as a stop (struct rt_prio_array).</summary>
    private const int MaxPriorities = 1024;

    /// <summary>How many tasks sleep uninterruptibly. Each run queue counts those that fell asleep on it and takes off those that wake on it: only the sum means something (kernel/sched/loadavg.c).</summary>
    /// <param name="kernel">The kernel, which may run.</param>
    /// <param name="cpus">Number of CPUs.</param>
    /// <exception cref="KernelShapeException">The kernel has no run queues of the known shape.</exception>
    /// <exception cref="GuestMemoryException">One can't be read.</exception>
    public static long Uninterruptible(LinuxKernel kernel, int cpus)
    {
        long sum = 0;
        for (int cpu = 0; cpu < cpus; cpu++)
            sum += unchecked((int)kernel.Read(PerCpu.Address(kernel, "runqueues", cpu), "rq.nr_uninterruptible"));
        return sum;
    }

    /// <summary>The run queues of all CPUs that run tasks, or did until a panic (<see cref="Cpus.Scheduled"/>). A queue that changes while it is read says so in <see cref="RunQueue.Tasks"/>: read again.</summary>
    /// <exception cref="KernelShapeException">The kernel has no run queues of the known shape.</exception>
    /// <exception cref="GuestMemoryException">A queue's own numbers can't be read.</exception>
    public static List<RunQueue> ReadAll(LinuxKernel kernel, TargetLimits limits) => [.. Cpus.Scheduled(kernel).Select(cpu => Read(kernel, cpu, limits))];

    /// <summary>The run queue of one CPU.</summary>
    /// <inheritdoc cref="ReadAll" path="/exception"/>
    public static RunQueue Read(LinuxKernel kernel, int cpu, TargetLimits limits)
    {
        ulong rq = PerCpu.Address(kernel, "runqueues", cpu);
        return new RunQueue(
            cpu, rq, kernel.ReadU32(rq, "rq.nr_running"), kernel.Read(rq, "rq.nr_switches"), kernel.Read(rq, "rq.curr"), kernel.Read(rq, "rq.idle"),
            kernel.Read(rq, "rq.clock"), kernel.Read(rq, "rq.clock_task"), unchecked((int)kernel.Read(rq, "rq.nr_uninterruptible")),
            kernel.ReadS32(rq, "rq.nr_iowait.counter"), Walk.Collect(Queued(kernel, rq, limits)));
    }

    /// <summary>The tasks of a run queue: deadline, real-time, then fair ones, each class in its order.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="rq">struct rq.</param>
    /// <param name="limits">Ceilings; <see cref="TargetLimits.MaxTasks"/> bounds the tasks.</param>
    /// <exception cref="KernelShapeException">While enumerating: a queue does not hold together (<see cref="StructureException"/>), or is of no known shape.</exception>
    /// <exception cref="GuestMemoryException">While enumerating: a link points to memory that can't be read.</exception>
    public static IEnumerable<QueuedTask> Queued(LinuxKernel kernel, ulong rq, TargetLimits limits)
    {
        int count = 0;
        var seen = new HashSet<ulong>();
        ulong current = kernel.Read(rq, "rq.curr");
        IEnumerable<QueuedTask> all = Deadline(kernel, rq, current, limits).Concat(RealTime(kernel, unchecked(rq + kernel.Offset("rq.rt")), current, 0, seen, limits))
            .Concat(Fair(kernel, unchecked(rq + kernel.Offset("rq.cfs")), 0, seen, limits)).Concat(Extensible(kernel, rq, current, limits));
        foreach (QueuedTask task in all)
        {
            if (++count > limits.MaxTasks)
                throw new StructureException(StructureFault.TooLong, rq, $"run queue: more than {limits.MaxTasks} tasks");
            yield return task;
        }
    }

    private static IEnumerable<QueuedTask> Deadline(LinuxKernel kernel, ulong rq, ulong current, TargetLimits limits)
    {
        ulong root = unchecked(rq + kernel.Offset("rq.dl") + kernel.Offset("dl_rq.root"));
        bool servers = kernel.HasMember("sched_dl_entity.dl_server");
        foreach (ulong entity in RedBlackTrees.Entries(kernel, root, "sched_dl_entity.rb_node", limits))
        {
            // A server stands for the fair class as a whole, and is part of no task (commit 63ba8422f876, "sched/deadline: Introduce deadline servers", 6.8).
            if (servers && kernel.Read(entity, "sched_dl_entity.dl_server") != 0)
                continue;
            ulong task = Walk.ContainerOf(kernel, entity, "task_struct.dl");
            yield return new QueuedTask(task, SchedulingClass.Deadline, kernel.Read(entity, "sched_dl_entity.deadline"), 0, task == current, false);
        }
    }

    private static IEnumerable<QueuedTask> RealTime(LinuxKernel kernel, ulong rtRq, ulong current, int depth, HashSet<ulong> seen, TargetLimits limits)
    {
        CheckQueue(depth, rtRq, seen, limits);
        ulong array = unchecked(rtRq + kernel.Offset("rt_rq.active"));
        ulong queues = unchecked(array + kernel.Offset("rt_prio_array.queue")), bitmap = unchecked(array + kernel.Offset("rt_prio_array.bitmap"));
        int count = Shapes.Elements(kernel, "rt_prio_array.queue", 16, MaxPriorities);
        bool groups = kernel.HasMember("sched_rt_entity.my_q");
        ulong word = 0;
        for (int priority = 0; priority < count; priority++)
        {
            if (priority % 64 == 0)
                word = kernel.ReadU64(unchecked(bitmap + ((ulong)priority / 8)), "rt_prio_array.bitmap");
            if ((word >> (priority % 64) & 1) == 0)
                continue;
            foreach (ulong entity in Lists.Entries(kernel, unchecked(queues + ((ulong)priority * 16)), "sched_rt_entity.run_list", limits))
            {
                // Groups of real-time tasks are there with CONFIG_RT_GROUP_SCHED alone.
                if (groups && kernel.Read(entity, "sched_rt_entity.my_q") is var inner and not 0)
                {
                    foreach (QueuedTask below in RealTime(kernel, inner, current, depth + 1, seen, limits))
                        yield return below;
                    continue;
                }

                ulong task = Walk.ContainerOf(kernel, entity, "task_struct.rt");
                yield return new QueuedTask(task, SchedulingClass.RealTime, (ulong)priority, depth, task == current, false);
            }
        }
    }

    /// <summary>A fair queue: its current entity, which is out of the tree while it runs, and the tree; entities of groups have a queue of their own (my_q).</summary>
    private static IEnumerable<QueuedTask> Fair(LinuxKernel kernel, ulong cfsRq, int depth, HashSet<ulong> seen, TargetLimits limits)
    {
        CheckQueue(depth, cfsRq, seen, limits);
        ulong current = kernel.Read(cfsRq, "cfs_rq.curr");
        if (current != 0 && kernel.Read(current, "sched_entity.on_rq") != 0)
        {
            foreach (QueuedTask task in Entity(kernel, current, isCurrent: true, depth, seen, limits))
                yield return task;
        }

        foreach (ulong entity in RedBlackTrees.Entries(kernel, unchecked(cfsRq + kernel.Offset("cfs_rq.tasks_timeline")), "sched_entity.run_node", limits))
        {
            foreach (QueuedTask task in Entity(kernel, entity, isCurrent: false, depth, seen, limits))
                yield return task;
        }
    }

    private static IEnumerable<QueuedTask> Entity(LinuxKernel kernel, ulong entity, bool isCurrent, int depth, HashSet<ulong> seen, TargetLimits limits)
    {
        // There are no groups without CONFIG_FAIR_GROUP_SCHED.
        if (kernel.HasMember("sched_entity.my_q") && kernel.Read(entity, "sched_entity.my_q") is var inner and not 0)
        {
            foreach (QueuedTask below in Fair(kernel, inner, depth + 1, seen, limits))
                yield return below;
            yield break;
        }

        // EEVDF orders by deadline (commit 147f3efaa241, "sched/fair: Implement an EEVDF-like scheduling policy", 6.6) and dequeues late (commit 152e11f6df29, 6.12).
        ulong key = kernel.Read(entity, Shapes.FirstOf(kernel, "sched_entity.deadline", "sched_entity.vruntime"));
        bool delayed = kernel.HasMember("sched_entity.sched_delayed") && kernel.Read(entity, "sched_entity.sched_delayed") != 0;
        yield return new QueuedTask(Walk.ContainerOf(kernel, entity, "task_struct.se"), SchedulingClass.Fair, key, depth, isCurrent, delayed);
    }

    private static IEnumerable<QueuedTask> Extensible(LinuxKernel kernel, ulong rq, ulong current, TargetLimits limits)
    {
        if (!kernel.HasMember("rq.scx.runnable_list"))
            yield break;
        foreach (ulong task in Lists.Entries(kernel, unchecked(rq + kernel.Offset("rq.scx.runnable_list")), "task_struct.scx.runnable_node", limits))
            yield return new QueuedTask(task, SchedulingClass.Extensible, 0, 0, task == current, false);
    }

    /// <summary>A group has one queue a CPU, so none is met twice: where one is, empty groups in each other could take for ever.</summary>
    private static void CheckQueue(int depth, ulong queue, HashSet<ulong> seen, TargetLimits limits)
    {
        if (!seen.Add(queue))
            throw new StructureException(StructureFault.Cycle, queue, $"run queue: the queue at 0x{queue:x} is there twice");
        if (seen.Count > limits.MaxChain)
            throw new StructureException(StructureFault.TooLong, queue, $"run queue: more than {limits.MaxChain} groups");
        if (depth > MaxGroups)
            throw new StructureException(StructureFault.TooLong, queue, $"run queue: the queue at 0x{queue:x} is nested more than {MaxGroups} groups deep");
    }
}
