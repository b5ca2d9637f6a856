using Panacea.Kernel;
using Panacea.Kernel.Structures;
using Panacea.Kernel.Subsystems;

namespace Panacea.Diagnosis.Validators;

/// <summary>Run queues against what tasks say of themselves (kernel/sched/core.c, sched.h). Whether a queued task is TASK_RUNNING says nothing: it may be about to sleep.</summary>
public sealed class RunQueueValidator : IValidator
{
    /// <summary>TASK_ON_RQ_QUEUED and TASK_ON_RQ_MIGRATING.</summary>
    private const int Queued = 1, Migrating = 2;

    /// <inheritdoc/>
    public string Name => "runqueues";

    /// <inheritdoc/>
    public string Description => "run queues against on_rq, CPU and class of their tasks, and nr_running against the tasks that are there";

    /// <inheritdoc/>
    public ValidatorResult Check(CheckContext context)
    {
        LinuxKernel kernel = context.Kernel;
        var notes = new CheckNotes(context, "runqueues");
        var there = new HashSet<ulong>();
        bool whole = true;
        List<RunQueue> queues = RunQueues.ReadAll(kernel, context.Limits);
        foreach (RunQueue queue in queues)
        {
            notes.Count("run queues");
            if (queue.Tasks.Broken is { } broken)
            {
                notes.Structure($"the run queue of CPU {queue.Cpu} does not hold together", broken, $"struct rq 0x{queue.Address:x}");
                whole = false;
            }

            foreach (QueuedTask task in queue.Tasks.Items)
            {
                there.Add(task.Task);
                notes.Count("queued tasks");
                notes.Guard($"the task at 0x{task.Task:x} in the queue of CPU {queue.Cpu}", () =>
                {
                    int state = kernel.ReadS32(task.Task, "task_struct.on_rq"), cpu = TaskDetails.CpuOf(kernel, task.Task);
                    if (state is not (Queued or Migrating))
                        notes.Found("on-rq", Confidence.High, $"the task at 0x{task.Task:x} is in the queue of CPU {queue.Cpu} and says on_rq = {state}");
                    if (cpu != queue.Cpu)
                        notes.Found("cpu", Confidence.High, $"the task at 0x{task.Task:x} is in the queue of CPU {queue.Cpu} and says that it belongs to CPU {cpu}");
                });
            }

            notes.Guard($"the run queue of CPU {queue.Cpu}", () => Current(context, notes, queue));
            if (queue.Tasks.IsWhole)
                notes.Guard($"the run queue of CPU {queue.Cpu}", () => Number(kernel, notes, queue));
        }

        if (whole)
            Lost(context, notes, queues, there);
        return notes.Done();
    }

    private static void Current(CheckContext context, CheckNotes notes, RunQueue queue)
    {
        if (queue.Current == 0)
            notes.Found("current", Confidence.High, $"CPU {queue.Cpu} has no current task", $"struct rq 0x{queue.Address:x}");
        else if (TaskDetails.CpuOf(context.Kernel, queue.Current) is var cpu && cpu != queue.Cpu)
            notes.Found("cpu", Confidence.High, $"the task at 0x{queue.Current:x} runs on CPU {queue.Cpu} and says that it belongs to CPU {cpu}");
    }

    /// <summary>The stop task counts and is in no queue (kernel/sched/stop_task.c); throttled real-time tasks stay queued and do not count; whether those whose dequeue is delayed count is up to
    /// the line.</summary>
    private static void Number(LinuxKernel kernel, CheckNotes notes, RunQueue queue)
    {
        long most = queue.Tasks.Items.Count, least = queue.Tasks.Items.Count(t => !t.IsDelayed);
        ulong stop = Shapes.ReadIfAny(kernel, queue.Address, "rq.stop") ?? 0;
        if (stop != 0 && kernel.ReadS32(stop, "task_struct.on_rq") == Queued)
            (most, least) = (most + 1, least + 1);
        if ((Shapes.ReadIfAny(kernel, queue.Address, "rq.rt.rt_throttled") ?? 0) != 0)
            least -= queue.Tasks.Items.Count(t => t.Class == SchedulingClass.RealTime);
        if (queue.Running < least || queue.Running > most)
            notes.Found("count", Confidence.Medium, $"the run queue of CPU {queue.Cpu} says nr_running = {queue.Running}, and {most} tasks are there", $"struct rq 0x{queue.Address:x}");
    }

    /// <summary>A task that thinks it is queued and is in no queue never runs again. Tasks of a throttled group are out of their queue on purpose.</summary>
    private static void Lost(CheckContext context, CheckNotes notes, List<RunQueue> queues, HashSet<ulong> there)
    {
        LinuxKernel kernel = context.Kernel;
        foreach (LinuxTask task in context.Tasks)
        {
            notes.Guard($"the task at 0x{task.Address:x}", () =>
            {
                notes.Count("tasks");
                if (there.Contains(task.Address) || kernel.ReadS32(task.Address, "task_struct.on_rq") != Queued || context.IdleTasks.Contains(task.Address))
                    return;
                int cpu = TaskDetails.CpuOf(kernel, task.Address);
                if (queues.Find(q => q.Cpu == cpu) is not { } queue || (Shapes.ReadIfAny(kernel, queue.Address, "rq.stop") ?? 0) == task.Address)
                    return;
                if (kernel.HasMember("task_struct.se.cfs_rq") && kernel.HasMember("cfs_rq.throttle_count") && kernel.Read(task.Address, "task_struct.se.cfs_rq") is var cfs && cfs != 0
                    && kernel.Read(cfs, "cfs_rq.throttle_count") != 0)
                    return;
                notes.Found("lost", Confidence.Medium, $"the task at 0x{task.Address:x} (pid {task.Pid}) says that it is queued on CPU {cpu} and is not in that queue");
            });
        }
    }
}
