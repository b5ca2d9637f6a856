using Panacea.Kernel.Structures;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>How far a time can be believed.</summary>
public enum SleepTimeSource
{
    /// <summary>From the moment the scheduler last accounted the task (sched_entity.exec_start): exact but for what the clocks of two CPUs differ, and the time that its CPU spent in interrupts
    /// since.</summary>
    LastRun,

    /// <summary>From the moment the task last got a CPU (sched_info.last_arrival): it may have run for a while, so it has slept less. So it is of a task that was moved to
    /// another CPU's queue after it went to sleep: since 6.12 sleepers stay queued for a while (commit 152e11f6df29, "sched/fair: Implement delayed dequeue"), the load balancer may take them, and
    /// queueing a task that was moved clears exec_start (enqueue_entity; commit a53ce18cacb4, "sched/fair: Sanitize vruntime of entity being migrated").</summary>
    LastArrival,

    /// <summary>From the moment the hung-task detector first saw it not switching (task_struct.last_switch_time): it has slept longer.</summary>
    HungTaskCheck,
}

/// <summary>How long a task has been off the CPU.</summary>
/// <param name="Ns">Nanoseconds.</param>
/// <param name="Source">Where the number is from, and so how sure it is.</param>
/// <param name="AtLeastNs">It has slept longer than this for sure; 0 where nothing says so.</param>
/// <param name="AtMostNs">It has slept no longer than this; null where nothing says so.</param>
public sealed record SleepTime(ulong Ns, SleepTimeSource Source, ulong AtLeastNs, ulong? AtMostNs);

/// <summary>Tells how long tasks have slept, from what the scheduler keeps. The scheduler's clocks of all CPUs are read once: the newest of them stands for now, because that of an idle CPU
/// stands still.</summary>
public sealed class SleepTimes
{
    private readonly LinuxKernel _kernel;
    private readonly KernelClock _clock;
    private readonly Dictionary<int, ulong> _behind = [];
    private readonly ulong _now;

    /// <summary>Reads the clocks.</summary>
    /// <exception cref="KernelShapeException">The kernel has no run queues of the known shape.</exception>
    /// <exception cref="GuestMemoryException">They can't be read.</exception>
    public SleepTimes(LinuxKernel kernel)
    {
        _kernel = kernel;
        _clock = KernelClock.Read(kernel);
        foreach (int cpu in Cpus.Possible(kernel))
        {
            ulong rq = PerCpu.Address(kernel, "runqueues", cpu), clock = kernel.Read(rq, "rq.clock"), task = kernel.Read(rq, "rq.clock_task");
            _now = Math.Max(_now, clock);
            _behind[cpu] = clock >= task ? clock - task : 0;
        }
    }

    /// <summary>How long a task has slept.</summary>
    /// <returns>Null where the task runs, or never ran.</returns>
    /// <exception cref="GuestMemoryException">The task can't be read.</exception>
    public SleepTime? Of(ulong task)
    {
        if (TaskDetails.IsRunning(_kernel, task))
            return null;
        ulong? atMost = _kernel.HasMember("task_struct.sched_info.last_arrival") && _kernel.Read(task, "task_struct.sched_info.last_arrival") is var arrival and not 0
            ? Since(arrival) : null;
        ulong atLeast = 0;

        // khungtaskd notes the switch count and the time when it sees a new one, and leaves both while it stays (check_hung_task, kernel/hung_task.c).
        if (_kernel.HasMember("task_struct.last_switch_time") && _kernel.Read(task, "task_struct.last_switch_time") is var seen and not 0
            && _kernel.Read(task, "task_struct.last_switch_count") == unchecked(_kernel.Read(task, "task_struct.nvcsw") + _kernel.Read(task, "task_struct.nivcsw")))
        {
            atLeast = _clock.Jiffies >= seen ? _clock.ToNs(_clock.Jiffies - seen).GetValueOrDefault() : 0;
        }

        ulong executed = _kernel.Read(task, "task_struct.se.exec_start");
        if (executed != 0)
        {
            // exec_start counts the task clock of its CPU, which lags the clock by interrupts and stolen time.
            ulong behind = _behind.GetValueOrDefault(TaskDetails.CpuOf(_kernel, task));
            ulong since = Since(executed);
            return new SleepTime(Math.Max(atLeast, since > behind ? since - behind : 0), SleepTimeSource.LastRun, atLeast, atMost);
        }

        if (atMost is { } most)
            return new SleepTime(most, SleepTimeSource.LastArrival, atLeast, atMost);
        return atLeast > 0 ? new SleepTime(atLeast, SleepTimeSource.HungTaskCheck, atLeast, null) : null;
    }

    private ulong Since(ulong then) => _now >= then ? _now - then : 0;
}
