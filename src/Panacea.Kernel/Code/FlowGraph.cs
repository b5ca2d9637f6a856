using Iced.Intel;

namespace Panacea.Kernel.Code;

/// <summary>How control gets from one instruction to another.</summary>
internal enum FlowEdgeKind
{
    /// <summary>A jump, or falling through anything but a call.</summary>
    Plain,

    /// <summary>Falling through a call: real only where the callee comes back.</summary>
    AfterCall,
}

/// <summary>One way out of an instruction.</summary>
internal readonly record struct FlowEdge(ulong To, FlowEdgeKind Kind);

/// <summary>
/// The instructions that control can reach from a function's entry, and the ways between them. Direct jumps are followed into all parts given;
/// a jump out of them is a tail call and ends its path; an indirect jump ends it too and is remembered.
/// </summary>
/// <remarks>Immutable once it is built, but for what is made of it when it is asked for; safe for concurrent use. Padding, literal pools and dead code are never decoded. Bounded by <see cref="MaxInstructions"/>.</remarks>
internal sealed class FlowGraph
{
    /// <summary>Bound on instructions of one function; the largest of a distribution kernel have about 20 000.</summary>
    public const int MaxInstructions = 60_000;

    private readonly Dictionary<ulong, Instruction> _instructions = [];
    private readonly HashSet<ulong> _leaders = [];

    // Ways out of the instructions that do not just lead to the next one.
    private readonly Dictionary<ulong, FlowEdge[]> _branches = [];
    private readonly IControlFlowHints _hints;
    private readonly FunctionParts _function;

    // Made when it is asked for: at a crash the same few functions are asked again and again.
    private IReadOnlyList<(ulong From, ulong To)>? _edges;
    private Dictionary<ulong, List<ulong>>? _predecessors;
    private Dictionary<ulong, ulong>? _before;

    private FlowGraph(in FunctionParts function, IControlFlowHints hints)
    {
        _function = function;
        _hints = hints;
    }

    /// <summary>All instructions found, by address.</summary>
    public IReadOnlyDictionary<ulong, Instruction> Instructions => _instructions;

    /// <summary>The function.</summary>
    public FunctionParts Function => _function;

    /// <summary>A reachable indirect jump, or a path that could not be decoded: there may be code that no known path reaches.</summary>
    public bool HasUnknownTargets { get; private set; }

    /// <summary>True where a jump leads to <paramref name="address"/>.</summary>
    public bool IsLeader(ulong address) => _leaders.Contains(address);

    /// <summary>Everything reachable from the entry; decoded before, where the code keeps what it was asked.</summary>
    public static bool TryBuild(ICodeSource code, in FunctionParts function, IControlFlowHints hints, out FlowGraph graph, out Decline why) =>
        code is AnalysedCode kept ? kept.TryGraph(function, hints, out graph, out why) : TryDecode(code, function, hints, out graph, out why);

    /// <summary>Decodes everything reachable from the entry.</summary>
    internal static bool TryDecode(ICodeSource code, in FunctionParts function, IControlFlowHints hints, out FlowGraph graph, out Decline why)
    {
        graph = new FlowGraph(function, hints);
        why = default;
        var window = new CodeWindow(code, function);
        var pending = new Stack<ulong>();
        pending.Push(function.Main.Start);
        graph._leaders.Add(function.Main.Start);
        var edges = new List<FlowEdge>(4);
        while (pending.TryPop(out ulong at))
        {
            while (!graph._instructions.ContainsKey(at))
            {
                if (graph._instructions.Count >= MaxInstructions)
                {
                    why = new Decline(DeclineReason.TooLarge, at);
                    return false;
                }

                if (!window.TryDecode(at, out Instruction instruction, out DeclineReason reason))
                {
                    // Behind a call that never comes back there may be anything; the path simply ends. At the very entry there is nothing to end.
                    graph.HasUnknownTargets = true;
                    if (at != function.Main.Start)
                        break;
                    why = new Decline(reason, at);
                    return false;
                }

                graph._instructions.Add(at, instruction);
                ulong next = instruction.NextIP;
                graph.FindEdges(instruction, edges);
                if (edges is not [{ Kind: FlowEdgeKind.Plain } only] || only.To != next)
                    graph._branches.Add(at, [.. edges]);
                bool falls = false;
                foreach (FlowEdge edge in edges)
                {
                    if (edge.To == next)
                    {
                        falls = true;
                        continue;
                    }

                    graph._leaders.Add(edge.To);
                    pending.Push(edge.To);
                }

                graph.HasUnknownTargets |= instruction.FlowControl == FlowControl.IndirectBranch;
                if (!falls)
                    break;
                at = next;
            }
        }

        return true;
    }

    /// <summary>All ways from one instruction to another.</summary>
    public IReadOnlyList<(ulong From, ulong To)> Edges
    {
        get
        {
            if (_edges is { } known)
                return known;
            var all = new List<(ulong, ulong)>(_instructions.Count + 16);
            var edges = new List<FlowEdge>(4);
            foreach (Instruction instruction in _instructions.Values)
            {
                EdgesOf(instruction, edges);
                foreach (FlowEdge edge in edges)
                    all.Add((instruction.IP, edge.To));
            }

            return _edges = all;
        }
    }

    /// <summary>For each instruction that can be come to, those that lead to it.</summary>
    public IReadOnlyDictionary<ulong, List<ulong>> Predecessors
    {
        get
        {
            if (_predecessors is { } known)
                return known;
            var all = new Dictionary<ulong, List<ulong>>(_instructions.Count);
            foreach ((ulong from, ulong to) in Edges)
            {
                if (!all.TryGetValue(to, out List<ulong>? list))
                    all.Add(to, list = new List<ulong>(1));
                list.Add(from);
            }

            return _predecessors = all;
        }
    }

    /// <summary>The instruction that ends where another begins.</summary>
    public bool TryBefore(ulong address, out Instruction instruction)
    {
        if (_before is not { } before)
        {
            before = new Dictionary<ulong, ulong>(_instructions.Count);
            foreach (Instruction each in _instructions.Values)
                before.TryAdd(each.NextIP, each.IP);
            _before = before;
        }

        instruction = default;
        return before.TryGetValue(address, out ulong at) && _instructions.TryGetValue(at, out instruction);
    }

    /// <summary>Every way out of one of the instructions that stays inside the function.</summary>
    public void EdgesOf(in Instruction instruction, List<FlowEdge> edges)
    {
        edges.Clear();
        if (_branches.TryGetValue(instruction.IP, out FlowEdge[]? known))
            edges.AddRange(known);
        else
            edges.Add(new FlowEdge(instruction.NextIP, FlowEdgeKind.Plain));
    }

    /// <summary>Nothing but the next instruction follows.</summary>
    public bool IsStraight(in Instruction instruction) => !_branches.ContainsKey(instruction.IP);

    private void FindEdges(in Instruction instruction, List<FlowEdge> edges)
    {
        edges.Clear();
        ulong next = instruction.NextIP;
        switch (instruction.FlowControl)
        {
            case FlowControl.UnconditionalBranch:
                AddIfInside(edges, instruction.NearBranchTarget, FlowEdgeKind.Plain);
                break;
            case FlowControl.ConditionalBranch or FlowControl.XbeginXabortXend:
                AddIfInside(edges, next, FlowEdgeKind.Plain);
                if (instruction.Op0Kind is OpKind.NearBranch64 or OpKind.NearBranch32 or OpKind.NearBranch16)
                    AddIfInside(edges, instruction.NearBranchTarget, FlowEdgeKind.Plain);
                break;
            case FlowControl.Call when instruction.Mnemonic == Mnemonic.Call:
                if (IsLocalCall(instruction))
                    AddIfInside(edges, instruction.NearBranchTarget, FlowEdgeKind.Plain);
                else if (!_hints.IsNoReturn(instruction.NearBranchTarget))
                    AddIfInside(edges, next, FlowEdgeKind.AfterCall);
                break;
            case FlowControl.IndirectCall:
                AddIfInside(edges, next, FlowEdgeKind.AfterCall);
                break;
            case FlowControl.Return or FlowControl.IndirectBranch:
                break;
            case FlowControl.Exception or FlowControl.Interrupt:
                if (_hints.ContinuesAfterTrap(instruction.IP))
                    AddIfInside(edges, next, FlowEdgeKind.Plain);
                break;
            default:
                AddIfInside(edges, next, FlowEdgeKind.Plain);
                break;
        }

        foreach (ulong target in _hints.ExtraTargets(instruction.IP))
        {
            // A jump label that is switched on: the jump that stands there now may be a NOP at another time.
            bool isSwitchedOn = instruction.FlowControl == FlowControl.UnconditionalBranch && instruction.NearBranchTarget == target;
            AddIfInside(edges, isSwitchedOn ? next : target, FlowEdgeKind.Plain);
        }
    }

    /// <summary>A call into the middle of the same function: not a call but a trick (return stack filling), whose stack effect is followed as a jump.</summary>
    public bool IsLocalCall(in Instruction instruction)
    {
        if (instruction.FlowControl != FlowControl.Call || instruction.Mnemonic != Mnemonic.Call)
            return false;
        ulong target = instruction.NearBranchTarget;
        return target != _function.Main.Start && _function.Contains(target);
    }

    private void AddIfInside(List<FlowEdge> edges, ulong to, FlowEdgeKind kind)
    {
        if (_function.Contains(to))
            edges.Add(new FlowEdge(to, kind));
    }
}
