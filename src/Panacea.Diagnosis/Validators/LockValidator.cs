using Panacea.Kernel;
using Panacea.Kernel.Subsystems;

namespace Panacea.Diagnosis.Validators;

/// <summary>Sleeping locks that somebody waits for: found by the waiters' stacks (<see cref="WaitGraph"/>), because a lock that nobody waits for is nowhere listed.</summary>
public sealed class LockValidator : IValidator
{
    /// <inheritdoc/>
    public string Name => "locks";

    /// <inheritdoc/>
    public string Description => "mutexes and rwsems that tasks wait for: the owner is a task that lives, the waiters' list is whole";

    /// <inheritdoc/>
    public ValidatorResult Check(CheckContext context)
    {
        LinuxKernel kernel = context.Kernel;
        var notes = new CheckNotes(context, "locks");
        var known = context.Tasks.GroupBy(t => t.Address).ToDictionary(g => g.Key, g => g.First());
        WaitGraph graph = WaitGraph.Build(kernel, [.. known.Values], new TaskBacktraces(kernel, context.Limits), context.Limits);
        notes.Count("tasks", known.Count);
        foreach (IGrouping<ulong, LockEdge> edges in graph.Edges.GroupBy(e => e.Wait.Lock))
        {
            LockEdge edge = edges.First();
            if (edge.Wait.Kind is not (LockKind.Mutex or LockKind.RwSemaphore or LockKind.RtMutex))
                continue;
            notes.Count("locks");
            string name = edge.Symbol is { Offset: 0 } symbol ? symbol.Name : $"0x{edge.Wait.Lock:x}", what = $"the {Rendering.MarkdownReport.Kebab(edge.Wait.Kind)} {name}";
            string[] waiters = [.. edges.Select(e => $"waited for by 0x{e.Wait.Task:x} ({(known.TryGetValue(e.Wait.Task, out LinuxTask? w) ? $"pid {w.Pid}" : "?")})")];
            if (edge.State is not { } state)
            {
                notes.Missing($"{what} could not be read");
                continue;
            }

            if (state.Waiters.Broken is { } broken)
                notes.Structure($"the waiters of {what} do not hold together", broken, waiters);
            foreach (ulong waiter in state.Waiters.Items.Where(w => context.HasAllTasks && !known.ContainsKey(w)))
                notes.Found("waiter", Confidence.High, $"{what} is waited for by 0x{waiter:x}, which is no task", waiters);
            if (state.Owner == 0 || state.OwnerIsHint || context.IdleTasks.Contains(state.Owner))
                continue;
            if (!known.TryGetValue(state.Owner, out LinuxTask? owner))
            {
                if (context.HasAllTasks)
                    notes.Found("owner-gone", Confidence.High, $"{what} belongs to 0x{state.Owner:x}, which is no task (any more): nobody will let go of it", waiters);
            }
            else if (owner.State is 'Z' or 'X')
                notes.Found("owner-gone", Confidence.High, $"{what} belongs to pid {owner.Pid}, which has exited: nobody will let go of it", waiters);
        }

        return notes.Done();
    }
}
