using Panacea.Kernel;
using Panacea.Kernel.Subsystems;

namespace Panacea.Diagnosis.Validators;

/// <summary>Workqueues (kernel/workqueue.c).</summary>
public sealed class WorkqueueValidator : IValidator
{
    /// <summary>WORKER_DIE: it is counted no more, and leaves the list by itself.</summary>
    private const uint Dies = 2;

    /// <inheritdoc/>
    public string Name => "workqueues";

    /// <inheritdoc/>
    public string Description => "pools against their workers, workers against tasks, workqueues against their pools, functions of pending work";

    /// <inheritdoc/>
    public ValidatorResult Check(CheckContext context)
    {
        LinuxKernel kernel = context.Kernel;
        var notes = new CheckNotes(context, "workqueues");
        var pools = new HashSet<ulong>();
        HashSet<ulong> tasks = [.. context.Tasks.Select(t => t.Address)];
        bool all = false;
        notes.Guard("pools of workers", () =>
        {
            foreach (WorkerPool pool in context.Settled(() => Workqueues.Pools(kernel, context.Limits)))
            {
                notes.Count("pools");
                pools.Add(pool.Address);
                notes.Guard($"pool {pool.Id}", () => Pool(context, notes, pool, tasks));
            }

            all = true;
        });
        notes.Guard("workqueues", () =>
        {
            foreach (Workqueue queue in context.Settled(() => Workqueues.Enumerate(kernel, context.Limits)))
            {
                notes.Count("workqueues");
                string who = $"the workqueue at 0x{queue.Address:x} ({queue.Name})";
                if (queue.Pools.Broken is { } broken)
                    notes.Structure($"the pools of {who} do not hold together", broken);
                if (queue.Rescuer != 0 && context.HasAllTasks && !tasks.Contains(queue.Rescuer))
                    notes.Found("rescuer", Confidence.High, $"the rescuer of {who}, 0x{queue.Rescuer:x}, is on no list of tasks");
                foreach (PoolWorkqueue share in queue.Pools.Items)
                {
                    notes.Count("shares of pools");
                    if (all && !pools.Contains(share.Pool))
                        notes.Found("pool", Confidence.Medium, $"{who} has a share at 0x{share.Address:x} of 0x{share.Pool:x}, which is no pool");
                    if (share.Active < 0)
                        notes.Found("active", Confidence.High, $"{who} has {share.Active} active works in the pool at 0x{share.Pool:x}");
                    if (share.Inactive.Broken is { } inactive)
                        notes.Structure($"the inactive works of {who} do not hold together", inactive);
                }
            }
        });
        return notes.Done();
    }

    private static void Pool(CheckContext context, CheckNotes notes, WorkerPool pool, HashSet<ulong> tasks)
    {
        LinuxKernel kernel = context.Kernel;
        string who = $"pool {pool.Id} at 0x{pool.Address:x}";
        if (pool.Pending.Broken is { } pending)
            notes.Structure($"the pending works of {who} do not hold together", pending);
        foreach (WorkItem work in pool.Pending.Items)
        {
            notes.Count("pending works");

            // wq_barrier_func and the like are ordinary functions; a barrier has one too.
            if (!context.Text.Contains(work.Function))
                notes.Found("function", Confidence.High, $"the work at 0x{work.Address:x} in {who} calls 0x{work.Function:x}, which is no code");
        }

        if (pool.Workers.Broken is { } workers)
        {
            notes.Structure($"the workers of {who} do not hold together", workers);
            return;
        }

        foreach (Worker worker in pool.Workers.Items)
        {
            notes.Count("workers");
            if (worker.Task != 0 && context.HasAllTasks && !tasks.Contains(worker.Task))
                notes.Found("worker", Confidence.High, $"the worker at 0x{worker.Address:x} of {who} has the task 0x{worker.Task:x}, which is on no list of tasks");
            if (kernel.HasMember("worker.pool") && kernel.Read(worker.Address, "worker.pool") is var back && back != pool.Address && (worker.Flags & Dies) == 0)
                notes.Found("back-pointer", Confidence.High, $"the worker at 0x{worker.Address:x} of {who} belongs to the pool at 0x{back:x}");
        }

        // A rescuer helps a pool without being counted.
        List<Worker> own = [.. pool.Workers.Items.Where(w => !w.IsRescuer && (w.Flags & Dies) == 0)];
        if (own.Count != pool.WorkerCount)
            notes.Found("count", Confidence.Medium, $"{who} says that it has {pool.WorkerCount} workers, and {own.Count} are there");
        if (own.Count(w => w.IsIdle) is var idle && idle != pool.IdleCount)
            notes.Found("count", Confidence.Medium, $"{who} says that {pool.IdleCount} of its workers are idle, and {idle} are");
    }
}
