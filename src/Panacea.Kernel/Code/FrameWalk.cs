using Iced.Intel;
using Panacea.Formats.Orc;

namespace Panacea.Kernel.Code;

/// <summary>Runs <see cref="FrameTransfer"/> over a <see cref="FlowGraph"/> until nothing changes.</summary>
/// <remarks>
/// An edge behind a call is real only where the callee comes back. It is dropped where the unwind data contradicts it, and where a jump also leads to
/// the same place it is not needed to tell what is saved where: the jump's state holds there. So a call of panic() at the end of a block can't spoil the block that
/// happens to stand behind it. What registers and kept arguments hold has to hold by both ways: a loop that ends in a call may have changed them.
/// </remarks>
internal sealed class FrameWalk(FlowGraph graph, IOrcLookup orc, int maxSteps)
{
    private readonly FrameTransfer _transfer = new();
    private readonly Dictionary<ulong, FrameState> _atLeaders = [];
    private readonly Dictionary<ulong, ulong> _leaderOf = [];
    private readonly Queue<ulong> _pending = new();
    private readonly HashSet<ulong> _queued = [];
    private readonly Dictionary<ulong, FrameState> _afterCalls = [];
    private readonly HashSet<ulong> _reachedByCallOnly = [];
    private readonly List<FlowEdge> _edges = new(4);
    private int _steps;

    /// <summary>The first way behind a call that unwind data contradicted, where there was one.</summary>
    public Decline? Contradiction { get; private set; }

    /// <summary>Computes the state at every reachable leader.</summary>
    public bool TryRun(out Decline why)
    {
        why = default;
        Arrive(graph.Function.Main.Start, FrameState.AtEntry());
        do
        {
            while (_pending.TryDequeue(out ulong leader))
            {
                _queued.Remove(leader);
                if (!TryWalkBlock(leader))
                {
                    why = new Decline(DeclineReason.TooLarge, leader, $"more than {maxSteps} steps");
                    return false;
                }
            }
        }
        while (TakeOneAfterCall() || TakeRegistersAfterCalls());
        return true;
    }

    /// <summary>The state before the instruction at <paramref name="address"/>: its block is walked again from the leader.</summary>
    public bool TryStateBefore(ulong address, out FrameState state)
    {
        state = null!;
        if (!_leaderOf.TryGetValue(address, out ulong at))
            return false;
        state = _atLeaders[at].Clone();
        while (at != address)
        {
            if (!graph.Instructions.TryGetValue(at, out Instruction instruction) || !TryNextInBlock(instruction, state, out at))
                return false;
        }

        return true;
    }

    /// <summary>Applies an instruction and steps to the next one of the same block.</summary>
    private bool TryNextInBlock(in Instruction instruction, FrameState state, out ulong next)
    {
        next = instruction.NextIP;
        if (graph.IsLeader(next))
            return false;
        graph.EdgesOf(instruction, _edges);
        foreach (FlowEdge edge in _edges)
        {
            if (edge.To != next)
                continue;
            _transfer.Apply(instruction, state);
            return edge.Kind != FlowEdgeKind.AfterCall || IsBelievable(next, state);
        }

        return false;
    }

    private bool TryWalkBlock(ulong leader)
    {
        FrameState state = _atLeaders[leader].Clone();
        ulong at = leader;
        var edges = new List<FlowEdge>(4);
        while (graph.Instructions.TryGetValue(at, out Instruction instruction))
        {
            if (++_steps > maxSteps)
                return false;
            _leaderOf[at] = leader;
            graph.EdgesOf(instruction, edges);
            if (edges.Count == 0)
                return true;
            FrameState before = state;
            bool staysInBlock = edges.Count == 1 && edges[0].To == instruction.NextIP && !graph.IsLeader(instruction.NextIP);
            if (!staysInBlock)
                state = before.Clone();
            if (graph.IsLocalCall(instruction))
                state.ForgetAll();
            else
                _transfer.Apply(instruction, state);
            bool goesOn = false;
            foreach (FlowEdge edge in edges)
            {
                if (edge.Kind == FlowEdgeKind.AfterCall && !IsBelievable(edge.To, state))
                    continue;
                if (edge.To == instruction.NextIP && !graph.IsLeader(edge.To))
                    goesOn = true;
                else if (edge.Kind == FlowEdgeKind.AfterCall && !_reachedByCallOnly.Contains(edge.To))
                    _afterCalls[edge.To] = state.Clone();
                else
                    Arrive(edge.To, state.Clone());
            }

            if (!goesOn)
                return true;
            at = instruction.NextIP;
        }

        return true;
    }

    private bool IsBelievable(ulong at, FrameState state)
    {
        if (!orc.TryFind(at, out OrcEntry row))
            return false;
        bool agrees = OrcCheck.Agrees(row, state, at, out Decline why);
        if (!agrees)
            Contradiction ??= why;
        return agrees;
    }

    private void Arrive(ulong leader, FrameState state)
    {
        if (!_atLeaders.TryGetValue(leader, out FrameState? known))
            _atLeaders.Add(leader, state);
        else if (!known.Meet(state))
            return;
        if (_queued.Add(leader))
            _pending.Enqueue(leader);
    }

    /// <summary>Only when no jump is left to follow: a place that nothing else reaches is reached from the call before it.</summary>
    private bool TakeOneAfterCall()
    {
        foreach ((ulong to, FrameState state) in _afterCalls)
        {
            if (_atLeaders.ContainsKey(to))
                continue;
            _reachedByCallOnly.Add(to);
            Arrive(to, state.Clone());
            return true;
        }

        return false;
    }

    private bool TakeRegistersAfterCalls()
    {
        bool changed = false;
        foreach ((ulong to, FrameState state) in _afterCalls)
        {
            if (_reachedByCallOnly.Contains(to) || !_atLeaders[to].MeetRegisters(state))
                continue;
            changed = true;
            if (_queued.Add(to))
                _pending.Enqueue(to);
        }

        return changed;
    }
}
