using Panacea.Kernel.Image;
using Panacea.Kernel.Structures;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>What stands at the end of a chain of waits.</summary>
public enum ChainEnd
{
    /// <summary>A task that holds the last lock and runs, or is ready to.</summary>
    Runs,

    /// <summary>A task that holds the last lock and sleeps over something else.</summary>
    Sleeps,

    /// <summary>The chain comes back to itself: a deadlock.</summary>
    Deadlock,

    /// <summary>The owner of the last lock has exited, or is no task (any more): nobody will let go of it.</summary>
    OwnerGone,

    /// <summary>Nobody is known to hold the last lock: readers, a semaphore, a completion.</summary>
    OwnerUnknown,
}

/// <summary>One wait with what is known of the lock.</summary>
/// <param name="Wait">Who waits for what.</param>
/// <param name="State">The lock; null where it can't be read.</param>
/// <param name="Symbol">The lock's name, where it is a variable of the kernel or a module.</param>
public sealed record LockEdge(LockWait Wait, LockState? State, SymbolLocation? Symbol);

/// <summary>A chain of waits: each task waits for a lock that the next one holds.</summary>
/// <param name="Links">The waits, from the one that nobody is behind. Of a deadlock that is a ring, every wait of the ring is there once.</param>
/// <param name="End">What it ends in.</param>
/// <param name="Last">The task that holds the last lock, 0 where none is known.</param>
public sealed record WaitChain(IReadOnlyList<LockEdge> Links, ChainEnd End, ulong Last);

/// <summary>Who waits for whom.</summary>
/// <param name="Edges">Every wait that could be told, in the order of the tasks.</param>
/// <param name="Chains">The chains that they make, deadlocks first, then the longest.</param>
/// <param name="Unexplained">Uninterruptible tasks of which it can't be told what they wait for, with the reason.</param>
public sealed record WaitGraph(IReadOnlyList<LockEdge> Edges, IReadOnlyList<WaitChain> Chains, IReadOnlyList<(ulong Task, string Why)> Unexplained)
{
    /// <summary>TASK_UNINTERRUPTIBLE and TASK_NOLOAD (include/linux/sched.h): a task that sleeps so without waiting for anything is idle, not stuck.</summary>
    private const uint Uninterruptible = 2, NoLoad = 0x400;

    /// <summary>The deadlocks.</summary>
    public IEnumerable<WaitChain> Deadlocks => Chains.Where(c => c.End == ChainEnd.Deadlock);

    /// <summary>Finds what tasks wait for.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="tasks">All tasks (<see cref="Tasks.Enumerate"/>): an owner that is not among them is gone.</param>
    /// <param name="backtraces">Their stacks.</param>
    /// <param name="limits">Ceilings.</param>
    /// <param name="interruptible">Also tasks that wait for a lock in interruptible sleep.</param>
    public static WaitGraph Build(LinuxKernel kernel, IReadOnlyList<LinuxTask> tasks, TaskBacktraces backtraces, TargetLimits limits, bool interruptible = false)
    {
        var waits = new LockWaits(kernel, backtraces, limits);
        var edges = new List<LockEdge>();
        var unexplained = new List<(ulong, string)>();
        var states = new Dictionary<(LockKind, ulong), LockState?>();
        foreach (LinuxTask task in tasks)
        {
            bool stuck = false;
            try
            {
                uint state = TaskDetails.RawStateOf(kernel, task.Address);
                stuck = (state & Uninterruptible) != 0 && (state & NoLoad) == 0;
                if ((!stuck && !(interruptible && (state & 1) != 0)) || TaskDetails.IsRunning(kernel, task.Address))
                    continue;
                TaskBacktrace trace = backtraces.Of(task.Address);
                if (waits.Find(trace) is { } wait)
                    edges.Add(new LockEdge(wait, StateOf(wait), kernel.Image.Symbolize(wait.Lock)));
                else if (stuck)
                    unexplained.Add((task.Address, waits.KindOf(trace) is { Function: { } function } ? $"it sleeps in {function}, and no waiter of it is on its stack" : "it sleeps in no lock function"));
            }
            catch (Exception e) when (e is GuestMemoryException or KernelShapeException)
            {
                if (stuck)
                    unexplained.Add((task.Address, e.Message));
            }
        }

        var live = tasks.ToDictionary(t => t.Address);
        return new WaitGraph(edges, Chain(kernel, edges, live), unexplained);

        // Many may wait for one lock: it is read once.
        LockState? StateOf(LockWait wait)
        {
            if (!states.TryGetValue((wait.Kind, wait.Lock), out LockState? state))
                states[(wait.Kind, wait.Lock)] = state = TryState(kernel, wait, limits);
            return state;
        }
    }

    /// <summary>Chains from every wait that nobody is behind, and the rings that no such wait leads to.</summary>
    private static List<WaitChain> Chain(LinuxKernel kernel, List<LockEdge> edges, Dictionary<ulong, LinuxTask> live)
    {
        var byTask = edges.ToDictionary(e => e.Wait.Task);
        HashSet<ulong> blockers = [.. edges.Select(OwnerOf).Where(o => o != 0)];
        var covered = new HashSet<ulong>();
        var chains = new List<WaitChain>();
        var rings = new HashSet<ulong>();
        foreach (LockEdge start in edges.Where(e => !blockers.Contains(e.Wait.Task)).Concat(edges))
        {
            if (!covered.Add(start.Wait.Task))
                continue;
            var links = new List<LockEdge>();
            var seen = new Dictionary<ulong, int>();
            LockEdge at = start;
            while (true)
            {
                seen.Add(at.Wait.Task, links.Count);
                links.Add(at);
                covered.Add(at.Wait.Task);
                ulong owner = OwnerOf(at);
                if (seen.TryGetValue(owner, out int from))
                {
                    // What leads into the ring is a chain of its own; the ring itself is told once.
                    if (rings.Add(links.Skip(from).Min(l => l.Wait.Task)))
                        chains.Add(new WaitChain(links[from..], ChainEnd.Deadlock, owner));
                    if (from > 0)
                        chains.Add(new WaitChain(links[..from], ChainEnd.Deadlock, owner));
                    break;
                }

                if (owner != 0 && byTask.TryGetValue(owner, out LockEdge? next))
                {
                    at = next;
                    continue;
                }

                chains.Add(new WaitChain(links, EndOf(kernel, owner, live), owner));
                break;
            }
        }

        return [.. chains.OrderByDescending(c => c.End == ChainEnd.Deadlock).ThenByDescending(c => c.Links.Count)];
    }

    private static ChainEnd EndOf(LinuxKernel kernel, ulong owner, Dictionary<ulong, LinuxTask> live)
    {
        if (owner == 0)
            return ChainEnd.OwnerUnknown;

        // A zombie is still on the list; one that is exiting may yet let go.
        if (!live.TryGetValue(owner, out LinuxTask? task))
            return IsIdleTask(kernel, owner) ? ChainEnd.Runs : ChainEnd.OwnerGone;
        return task.State switch
        {
            'Z' or 'X' => ChainEnd.OwnerGone,
            'R' => ChainEnd.Runs,
            _ => ChainEnd.Sleeps,
        };
    }

    /// <summary>The idle tasks of CPUs but the first are on no list.</summary>
    private static bool IsIdleTask(LinuxKernel kernel, ulong task)
    {
        try
        {
            return Cpus.Possible(kernel).Any(cpu => kernel.Read(PerCpu.Address(kernel, "runqueues", cpu), "rq.idle") == task);
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException)
        {
            return false;
        }
    }

    /// <summary>Who has to let go before a wait ends; a hint is no owner to build on.</summary>
    private static ulong OwnerOf(LockEdge edge) => edge.State is { OwnerIsHint: false, Owner: var owner } ? owner : 0;

    private static LockState? TryState(LinuxKernel kernel, LockWait wait, TargetLimits limits)
    {
        try
        {
            return Locks.Read(kernel, wait.Kind, wait.Lock, limits);
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException)
        {
            return null;
        }
    }
}
