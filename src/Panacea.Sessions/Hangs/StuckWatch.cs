using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Sessions.Hangs;

/// <summary>A task that sleeps for what it will never get, or for what is there already.</summary>
/// <param name="Wait">What it waits for.</param>
/// <param name="Task">The task.</param>
/// <param name="Switches">How often it had been switched to and from.</param>
/// <param name="IsOwnerGone">The owner is no task any more; else it waits, over others or not, for itself.</param>
/// <param name="Told">The chain, in words.</param>
internal sealed record StuckTask(LockWait Wait, LinuxTask Task, ulong Switches, bool IsOwnerGone, IReadOnlyList<string> Told)
{
    /// <summary>What it waits for has come, and nobody has woken it.</summary>
    public bool HasCome { get; init; }
}

/// <summary>
/// Sees from outside that tasks wait for each other, or for somebody who is gone. In the usual case only the run queues' counts of uninterruptible tasks are read; where there are some, as on every server that
/// writes to its disks, the state of each task; where some sleep so for long, the tasks, their stacks and what they wait for. Long waits alone are no proof of anything: only a ring of waits, an owner that
/// no longer exists, or a wait whose end has come is. A server may have tens of thousands of tasks: what a look costs sets how often there is one, and it is left off where the guest stops meanwhile.
/// </summary>
/// <remarks>Time is that in which the guest got on: while its QEMU is suspended every task sleeps on, and every wait that is just ending is over and not told.</remarks>
/// <param name="after">How long a task has to have slept.</param>
/// <param name="cpus">Number of CPUs.</param>
/// <param name="elapsed">How long ago a moment of the session's clock was.</param>
/// <param name="now">The session's clock.</param>
/// <param name="limits">Ceilings.</param>
internal sealed class StuckWatch(TimeSpan after, int cpus, Func<long, TimeSpan> elapsed, Func<long> now, TargetLimits limits)
{
    private static readonly TimeSpan Step = TimeSpan.FromMilliseconds(500);

    /// <summary>A look takes at most such a part of the time, and no look counts for more than so many steps.</summary>
    private const int Rest = 100, MostSteps = 2;

    /// <summary>Looks in a row, with all CPUs getting on between them, at which a wait has to have been over.</summary>
    private const int LeastLooks = 3;

    /// <summary>After so many tasks it is asked whether the guest has stopped.</summary>
    private const int Stride = 32;

    /// <summary>Pages that are kept during a look: above all those by which addresses are translated.</summary>
    private const int KeptPages = 20;

    /// <summary>TASK_UNINTERRUPTIBLE and TASK_NOLOAD (include/linux/sched.h).</summary>
    private const uint Uninterruptible = 2, NoLoad = 0x400;

    private readonly Dictionary<ulong, (ulong Switches, TimeSpan Since)> _sleepers = [];
    private readonly GuestWork _work = new(cpus);
    private readonly LookMemory _memory = new(KeptPages);
    private readonly HashSet<(ulong Task, ulong Lock, ulong Switches)> _told = [];

    /// <summary>Waits that were over at the last look, and at how many before it.</summary>
    private Dictionary<(ulong Task, ulong Lock, ulong Switches), int> _come = [];
    private long _lookedAt;
    private TimeSpan _pause = Step;

    // For how long the guest has been seen to get on, all together.
    private TimeSpan _atWork;

    /// <summary>Looks, where it is time to.</summary>
    /// <param name="kernel">The kernel over the guest, which runs.</param>
    /// <param name="code">Its code.</param>
    /// <param name="isWanted">The guest has stopped: whoever looks is needed elsewhere.</param>
    /// <returns>A task that is stuck and was not told of before; null in the usual case.</returns>
    public StuckTask? Look(LinuxKernel kernel, CodeMap code, Func<bool> isWanted)
    {
        TimeSpan since = elapsed(_lookedAt);
        if (since < _pause)
            return null;
        _lookedAt = now();
        try
        {
            _work.Look(kernel);
            if (!_work.Any)
                return null;
            _atWork += since < _pause * MostSteps ? since : _pause * MostSteps;
            if (PanicState.IsEnding(kernel) || RunQueues.Uninterruptible(kernel, kernel.Image.Meta.PerCpuBases.Count) <= 0)
            {
                _sleepers.Clear();
                _told.Clear();
                return null;
            }

            bool isLong = Follow(_memory.Over(kernel), isWanted);
            return isLong ? Find(kernel, Tasks.Enumerate(kernel, limits), new TaskBacktraces(kernel, limits, code)) : null;
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException or OverflowException)
        {
            // The guest runs meanwhile: what did not fit together now may at the next look.
            return null;
        }
        finally
        {
            TimeSpan took = elapsed(_lookedAt) * Rest;
            _pause = took > Step ? took : Step;
        }
    }

    /// <summary>It was told of: not again until it has got on.</summary>
    public void Tell(StuckTask task) => _told.Add((task.Wait.Task, task.Wait.Lock, task.Switches));

    /// <summary>How often a task has been switched to and from.</summary>
    public static ulong SwitchesOf(LinuxKernel kernel, ulong task) => unchecked(kernel.Read(task, "task_struct.nvcsw") + kernel.Read(task, "task_struct.nivcsw"));

    /// <returns>True where some have slept for long enough; false also where it was left off.</returns>
    private bool Follow(LinuxKernel kernel, Func<bool> isWanted)
    {
        bool any = false;
        int read = 0;
        var seen = new HashSet<ulong>();
        foreach (ulong task in Tasks.Addresses(kernel, limits))
        {
            if (++read % Stride == 0 && isWanted())
                return false;
            uint state = TaskDetails.RawStateOf(kernel, task);
            if ((state & Uninterruptible) == 0 || (state & NoLoad) != 0 || TaskDetails.IsRunning(kernel, task))
                continue;
            seen.Add(task);
            ulong switches = SwitchesOf(kernel, task);
            if (!_sleepers.TryGetValue(task, out (ulong Switches, TimeSpan Since) known) || known.Switches != switches)
                _sleepers[task] = known = (switches, _atWork);
            any |= IsLong(known.Since);
        }

        foreach (ulong gone in _sleepers.Keys.Where(t => !seen.Contains(t)).ToList())
            _sleepers.Remove(gone);
        return any;
    }

    private bool IsLong(TimeSpan since) => _atWork - since >= after * 0.7;

    private StuckTask? Find(LinuxKernel kernel, List<LinuxTask> tasks, TaskBacktraces backtraces)
    {
        var byAddress = tasks.ToDictionary(t => t.Address);
        WaitGraph graph = WaitGraph.Build(kernel, tasks, backtraces, limits);
        if (FindUnwoken(kernel, graph, byAddress) is { } unwoken)
            return unwoken;
        foreach (WaitChain chain in graph.Chains)
        {
            bool isRing = chain.End == ChainEnd.Deadlock && chain.Links.Any(l => l.Wait.Task == chain.Last);
            if ((!isRing && chain.End != ChainEnd.OwnerGone) || chain.Links.Any(l => !_sleepers.TryGetValue(l.Wait.Task, out var sleeper) || !IsLong(sleeper.Since)))
                continue;

            // Of a ring, a process rather than a kernel thread gives way; what an owner that is gone held goes to who waits for it.
            IEnumerable<LockEdge> candidates = isRing ? chain.Links.OrderBy(l => byAddress[l.Wait.Task].IsKernelThread ? 1 : 0) : [chain.Links[^1]];
            foreach (LockEdge edge in candidates.Where(e => e.Wait.Kind == LockKind.Mutex))
            {
                (ulong switches, _) = _sleepers[edge.Wait.Task];
                if (!_told.Contains((edge.Wait.Task, edge.Wait.Lock, switches)))
                    return new StuckTask(edge.Wait, byAddress[edge.Wait.Task], switches, !isRing, [.. chain.Links.Select(l => Words(l, byAddress))]);
            }
        }

        return null;
    }

    /// <summary>A task whose wait is over, and was at the looks before: in between whoever has ended it would have woken it, unless the host keeps his CPU from it.</summary>
    private StuckTask? FindUnwoken(LinuxKernel kernel, WaitGraph graph, Dictionary<ulong, LinuxTask> tasks)
    {
        if (!_work.All)
            return null;
        Dictionary<(ulong, ulong, ulong), int> before = _come;
        _come = [];
        foreach (LockEdge edge in graph.Edges)
        {
            if (!_sleepers.TryGetValue(edge.Wait.Task, out var sleeper) || !IsLong(sleeper.Since) || !HasCome(kernel, edge.Wait))
                continue;
            (ulong, ulong, ulong) key = (edge.Wait.Task, edge.Wait.Lock, sleeper.Switches);
            _come[key] = before.GetValueOrDefault(key) + 1;
            if (_come[key] >= LeastLooks && !_told.Contains(key))
                return new StuckTask(edge.Wait, tasks[edge.Wait.Task], sleeper.Switches, false, [$"{Waits(edge, tasks)}, which {Come(edge.Wait.Kind)}"]) { HasCome = true };
        }

        return null;
    }

    private bool HasCome(LinuxKernel kernel, LockWait wait)
    {
        try
        {
            return LostWakes.HasCome(kernel, wait, limits);
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException or OverflowException)
        {
            return false;
        }
    }

    private static string Words(LockEdge edge, Dictionary<ulong, LinuxTask> tasks) => $"{Waits(edge, tasks)}, held by {Name(edge.State?.Owner ?? 0, tasks)}";

    private static string Waits(LockEdge edge, Dictionary<ulong, LinuxTask> tasks) =>
        $"{Name(edge.Wait.Task, tasks)} waits for {edge.Wait.Kind.ToString().ToLowerInvariant()} {edge.Symbol?.ToString() ?? $"0x{edge.Wait.Lock:x}"}";

    private static string Name(ulong task, Dictionary<ulong, LinuxTask> tasks) => tasks.TryGetValue(task, out LinuxTask? t) ? $"task {t.Pid} ({t.Comm})" : $"0x{task:x}, which is no task any more";

    private static string Come(LockKind kind) => kind switch
    {
        LockKind.Completion => "is complete",
        LockKind.WaitQueue => "is for a bit that is clear",
        _ => "nobody holds",
    };
}
