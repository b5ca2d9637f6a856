using Panacea.Kernel.Structures;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>How a task is scheduled (include/uapi/linux/sched.h).</summary>
public enum SchedulingPolicy
{
#pragma warning disable CS1591 // The kernel's names: SCHED_*.
    Normal = 0,
    Fifo = 1,
    RoundRobin = 2,
    Batch = 3,
    Idle = 5,
    Deadline = 6,
    Extensible = 7,
#pragma warning restore CS1591
}

/// <summary>What a process holds in memory, in pages.</summary>
/// <param name="FilePages">Resident, of files.</param>
/// <param name="AnonymousPages">Resident, anonymous.</param>
/// <param name="SharedPages">Resident, of shared memory.</param>
/// <param name="SwappedPages">Swapped out.</param>
/// <param name="VirtualPages">Mapped, resident or not (mm_struct.total_vm).</param>
public sealed record ProcessMemory(long FilePages, long AnonymousPages, long SharedPages, long SwappedPages, ulong VirtualPages)
{
    /// <summary>Resident set as ps shows it.</summary>
    public long ResidentPages => unchecked(FilePages + AnonymousPages + SharedPages);
}

/// <summary>A task in detail. Times are nanoseconds.</summary>
public sealed record TaskDetails
{
    /// <summary>The task.</summary>
    public required LinuxTask Task { get; init; }

    /// <summary>CPU it runs on or last ran on.</summary>
    public required int Cpu { get; init; }

    /// <summary>It is running on that CPU now.</summary>
    public required bool IsOnCpu { get; init; }

    /// <summary>task_struct.on_rq: 0 not queued, 1 queued, 2 between queues.</summary>
    public required int OnRunQueue { get; init; }

    /// <summary>Effective priority: below 0 deadline, 0 to 99 real-time (lower first), 100 to 139 normal (120 is nice 0).</summary>
    public required int Priority { get; init; }

    /// <summary>Nice value, −20 to 19.</summary>
    public required int Nice { get; init; }

    /// <summary>Real-time priority as sched_setscheduler takes it, 1 to 99; 0 for others.</summary>
    public required uint RealtimePriority { get; init; }

    /// <summary>Policy.</summary>
    public required SchedulingPolicy Policy { get; init; }

    /// <summary>User time as the tick has sampled it.</summary>
    public required ulong UserNs { get; init; }

    /// <summary>System time as the tick has sampled it.</summary>
    public required ulong SystemNs { get; init; }

    /// <summary>CPU time as the scheduler has measured it: what /proc/PID/stat scales the other two to (cputime_adjust).</summary>
    public required ulong RuntimeNs { get; init; }

    /// <summary>Start, since boot (CLOCK_BOOTTIME).</summary>
    public required ulong StartNs { get; init; }

    /// <summary>Switches that it asked for.</summary>
    public required ulong VoluntarySwitches { get; init; }

    /// <summary>Switches that it was made to do.</summary>
    public required ulong InvoluntarySwitches { get; init; }

    /// <summary>Threads of its process.</summary>
    public required int Threads { get; init; }

    /// <summary>Lowest address of its kernel stack.</summary>
    public required ulong Stack { get; init; }

    /// <summary>Its stack pointer as it was switched away; stale while it runs.</summary>
    public required ulong SavedStackPointer { get; init; }

    /// <summary>Raw task_struct.__state.</summary>
    public required uint RawState { get; init; }

    /// <summary>RCU read sections it is in (CONFIG_PREEMPT_RCU); null where the kernel does not count them.</summary>
    public int? RcuNesting { get; init; }

    /// <summary>Memory of its process; null for kernel threads.</summary>
    public ProcessMemory? Memory { get; init; }

    /// <summary>Reads them (include/linux/sched.h).</summary>
    /// <exception cref="GuestMemoryException">The task can't be read.</exception>
    /// <exception cref="KernelShapeException">The kernel lacks a member that every kernel has, or a value is senseless.</exception>
    public static TaskDetails Read(LinuxKernel kernel, LinuxTask task)
    {
        ulong at = task.Address;
        return new TaskDetails
        {
            Task = task,
            Cpu = CpuOf(kernel, at),
            IsOnCpu = IsRunning(kernel, at),
            OnRunQueue = kernel.ReadS32(at, "task_struct.on_rq"),
            Priority = kernel.ReadS32(at, "task_struct.prio"),
            Nice = unchecked(kernel.ReadS32(at, "task_struct.static_prio") - 120),
            RealtimePriority = kernel.ReadU32(at, "task_struct.rt_priority"),
            Policy = (SchedulingPolicy)unchecked((int)kernel.ReadU32(at, "task_struct.policy")),
            UserNs = kernel.Read(at, "task_struct.utime"),
            SystemNs = kernel.Read(at, "task_struct.stime"),
            RuntimeNs = kernel.Read(at, "task_struct.se.sum_exec_runtime"),

            // real_start_time until 5.5 (commit cf25e24db61c, "time: Rename tsk->real_start_time to ->start_boottime").
            StartNs = kernel.Read(at, Shapes.FirstOf(kernel, "task_struct.start_boottime", "task_struct.real_start_time")),
            VoluntarySwitches = kernel.Read(at, "task_struct.nvcsw"),
            InvoluntarySwitches = kernel.Read(at, "task_struct.nivcsw"),
            Threads = kernel.ReadS32(kernel.Read(at, "task_struct.signal"), "signal_struct.nr_threads"),
            Stack = kernel.Read(at, "task_struct.stack"),
            SavedStackPointer = kernel.Read(at, "task_struct.thread.sp"),
            RawState = RawStateOf(kernel, at),
            RcuNesting = kernel.HasMember("task_struct.rcu_read_lock_nesting") ? kernel.ReadS32(at, "task_struct.rcu_read_lock_nesting") : null,
            Memory = task.Memory == 0 ? null : ReadMemory(kernel, task.Memory),
        };
    }

    /// <summary>The CPU that a task runs on or last ran on. thread_info.cpu from 5.16 (commit bcf9033e5449, "sched: move CPU field back into thread_info if THREAD_INFO_IN_TASK=y").</summary>
    public static int CpuOf(LinuxKernel kernel, ulong task)
    {
        ulong cpu = Shapes.ReadIfAny(kernel, task, "task_struct.thread_info.cpu", "task_struct.cpu") ?? 0;
        return cpu <= int.MaxValue ? (int)cpu : throw new KernelShapeException($"the task at 0x{task:x} says it runs on CPU {cpu}");
    }

    /// <summary>True where a task is running on a CPU at this moment: then what its stack and task_struct.thread hold of it is stale. A kernel for one CPU keeps no on_cpu; there it is the current task.</summary>
    public static bool IsRunning(LinuxKernel kernel, ulong task) => kernel.HasMember("task_struct.on_cpu")
        ? kernel.Read(task, "task_struct.on_cpu") != 0
        : PerCpu.CurrentTask(kernel, 0) == task;

    /// <summary>task_struct.__state (state before 5.14, commit 2f064a59a11f).</summary>
    public static uint RawStateOf(LinuxKernel kernel, ulong task) => unchecked((uint)kernel.Read(task, Shapes.FirstOf(kernel, "task_struct.__state", "task_struct.state")));

    /// <summary>What a process holds in memory (mm_struct.rss_stat). Over a running guest it may be off by what moves meanwhile.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="mm">Guest-virtual address of its mm_struct.</param>
    /// <param name="tasks">Tasks of that mm_struct, all of them: what each has counted for itself and not yet handed in is added, which <c>/proc</c> does not do. Null for what <c>/proc</c> shows.</param>
    /// <exception cref="GuestMemoryException">It can't be read.</exception>
    /// <exception cref="KernelShapeException">The kernel keeps it in a way that is not known.</exception>
    public static ProcessMemory ReadMemory(LinuxKernel kernel, ulong mm, IEnumerable<ulong>? tasks = null)
    {
        // MM_FILEPAGES, MM_ANONPAGES, MM_SWAPENTS, MM_SHMEMPAGES (include/linux/mm_types_task.h).
        Span<long> counts = stackalloc long[4];
        if (kernel.HasMember("mm_rss_stat.count"))
        {
            ulong first = unchecked(mm + kernel.Offset("mm_struct.rss_stat") + kernel.Offset("mm_rss_stat.count"));
            for (int i = 0; i < counts.Length; i++)
                counts[i] = unchecked((long)kernel.ReadU64(first + ((ulong)i * 8), "mm_rss_stat.count"));
        }
        else
        {
            // percpu_counters since 6.2 (commit f1a7941243c1, "mm: convert mm's rss stats into percpu_counter").
            ulong first = unchecked(mm + kernel.Offset("mm_struct.rss_stat")), bytes = (ulong)kernel.Image.Types.SizeOf("percpu_counter");
            for (int i = 0; i < counts.Length; i++)
                counts[i] = Cpus.CounterSum(kernel, unchecked(first + ((ulong)i * bytes)));
        }

        foreach (ulong task in tasks ?? [])
            AddCached(kernel, task, counts);

        // A counter may be seen below zero for a moment; the kernel shows 0 then (get_mm_counter).
        foreach (ref long count in counts)
            count = Math.Max(0, count);
        return new ProcessMemory(counts[0], counts[1], counts[3], counts[2], kernel.Read(mm, "mm_struct.total_vm"));
    }
    /// <summary>Up to 6.1 a task counts its faults for itself and hands the counts in after 64 of them (SPLIT_RSS_COUNTING, mm/memory.c, sync_mm_rss); since 6.2 there is nothing to hand in (commit
    /// f1a7941243c1).</summary>
    private static void AddCached(LinuxKernel kernel, ulong task, Span<long> counts)
    {
        if (!kernel.HasMember("task_struct.rss_stat.count"))
            return;
        ulong first = unchecked(task + kernel.Offset("task_struct.rss_stat.count"));
        for (int i = 0; i < counts.Length; i++)
            counts[i] = unchecked(counts[i] + (int)(uint)kernel.ReadInteger(first + ((ulong)i * 4), 4, "task_struct.rss_stat"));
    }
}
