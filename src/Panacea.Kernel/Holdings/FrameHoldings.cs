using System.Collections.Concurrent;
using Iced.Intel;
using Panacea.Kernel.Code;

namespace Panacea.Kernel.Holdings;

/// <summary>One thing taken by a call that has come back.</summary>
/// <param name="Kind">What it is.</param>
/// <param name="Call">Guest-virtual address of the call instruction.</param>
/// <param name="Function">The function that was called.</param>
/// <param name="Argument">Which argument of the call names it, from 0.</param>
public readonly record struct Holding(HoldingKind Kind, ulong Call, string Function, int Argument)
{
    /// <summary>Of <see cref="HoldingKind.Other"/>: the functions that give it back begin so; null where none is known.</summary>
    public string? Pair { get; init; }

    /// <summary>Another call that may have taken it instead, on another way; 0 where there is none, <see cref="Several"/> where there is more than one.</summary>
    public ulong Else { get; init; }

    /// <summary>For <see cref="Else"/>: there are several.</summary>
    public const ulong Several = ulong.MaxValue;

    /// <summary>The calls that may have taken it; none where there are too many.</summary>
    public IEnumerable<ulong> Calls => Else switch { Several => [], 0 => [Call], _ => [Call, Else] };

    /// <summary>The other is one of those that this one stands for.</summary>
    public bool Covers(Holding other) => this == other || (Kind == other.Kind && Pair == other.Pair && (Else == Several || (other.Else == 0 && Else != 0 && other.Call == Else) || (other.Else == 0 && Else != 0 && other.Call == Call)));

    /// <summary>This one or the other.</summary>
    public Holding Or(Holding other) => Covers(other) ? this : other.Covers(this) ? other : this with
    {
        Call = Math.Min(Call, other.Call),
        Else = Else == 0 && other.Else == 0 ? Math.Max(Call, other.Call) : Several,
        Argument = Argument == other.Argument ? Argument : LockFunction.Inner,
    };
}

/// <summary>What one activation of a function has taken and not given back where it stands.</summary>
/// <param name="Held">On every way from the entry to there, in the order in which it was taken.</param>
/// <param name="MayHold">On some ways only, or taken by a call whose result decides.</param>
/// <param name="PreemptCount">What inlined code has added to the CPU's preempt count, less what it has taken off; null where that differs from way to way. What held locks add is not in it.</param>
/// <param name="Interrupts">What has become of the interrupt flag.</param>
/// <param name="Doubts">Instructions by which something may have been taken that can't be told; empty in the usual case.</param>
/// <param name="MayCountReference">An atomic count may have been raised: nothing waits for that, but an object may never be freed.</param>
public sealed record FrameHoldings(
    IReadOnlyList<Holding> Held, IReadOnlyList<Holding> MayHold, int? PreemptCount, InterruptChange Interrupts, IReadOnlyList<string> Doubts, bool MayCountReference)
{
    /// <summary>Locks that its caller had taken, and that it has given back, on some way at least: kinds.</summary>
    public IReadOnlyList<HoldingKind> GivenBack { get; init; } = [];

    /// <summary>Of <see cref="GivenBack"/>: on some ways only, and which one was taken is not known.</summary>
    public IReadOnlyList<HoldingKind> PerhapsGivenBack { get; init; } = [];

    /// <summary>Of <see cref="GivenBack"/>: those that it would take again before it returns, for its caller gives them back.</summary>
    public IReadOnlyList<HoldingKind> Owed { get; init; } = [];

    /// <summary>What is still held when functions that it has called have given some of it back.</summary>
    /// <param name="given">Kinds, as the functions further in have given them back.</param>
    /// <param name="left">Those of which it holds none: whoever is further out does.</param>
    public FrameHoldings Without(IReadOnlyList<HoldingKind> given, out IReadOnlyList<HoldingKind> left)
    {
        if (given.Count == 0)
        {
            left = given;
            return this;
        }

        List<Holding> held = [.. Held], may = [.. MayHold];
        var others = new List<HoldingKind>();
        foreach (HoldingKind kind in given)
        {
            if (held.FindLastIndex(h => h.Kind == kind) is >= 0 and var last)
                held.RemoveAt(last);
            else if (may.FindLastIndex(h => h.Kind == kind) is >= 0 and var perhaps)
                may.RemoveAt(perhaps);
            else
                others.Add(kind);
        }

        left = others;
        return this with { Held = held, MayHold = may };
    }

    /// <summary>A function that has done nothing yet.</summary>
    public static FrameHoldings Nothing { get; } = new([], [], 0, InterruptChange.None, [], false);

    /// <summary>No lock is held that the caller does not hold, and no other was given back.</summary>
    public bool IsBalanced => Held.Count == 0 && MayHold.Count == 0 && GivenBack.Count == 0;

    /// <summary>Nothing is held, and nothing may be.</summary>
    public bool IsNothing => Held.Count == 0 && MayHold.Count == 0 && GivenBack.Count == 0 && PreemptCount == 0 && Doubts.Count == 0;
}

/// <summary>One place where a function returns, or jumps to another one in its place.</summary>
/// <param name="At">Guest-virtual address of that instruction.</param>
/// <param name="Holdings">What is held behind it.</param>
/// <param name="UsesLocks">The function takes or gives back something.</param>
/// <param name="JumpsTo">Where it jumps to; null where it returns.</param>
public readonly record struct FunctionEnd(ulong At, FrameHoldings Holdings, bool UsesLocks, ulong? JumpsTo);

/// <summary>Follows a function's code from its entry to where an activation stands, and keeps account of what its calls and inlined instructions take and give back.</summary>
/// <remarks>Forward over the flow graph until nothing changes. Where ways meet, what is held on all of them stays held and the rest may be held; where the result of a
/// trylock is looked at, each way has its own. Callees that are not among <see cref="LockFunctions"/> are taken to be balanced. Bounded by <see cref="FlowGraph.MaxInstructions"/> and <see cref="MaxVisits"/>. Answers are kept: each rung of a ladder asks about the same frames. Safe for concurrent use.</remarks>
/// <param name="code">Pristine text.</param>
/// <param name="nameOf">The symbol of a function, by its address; null where there is none.</param>
/// <param name="hints">What else is known of control flow.</param>
/// <param name="preemptCount">Guest-virtual address of the CPU's preempt count; null where it is not known.</param>
/// <param name="gsBase">The CPU's GS base.</param>
public sealed class HoldingsAnalysis(ICodeSource code, Func<ulong, string?> nameOf, IControlFlowHints? hints, ulong? preemptCount, ulong gsBase)
{
    /// <summary>Times a block may be looked at again.</summary>
    private const int MaxVisits = 64;

    /// <summary>Answers, functions and callees that are kept; a stack has fewer frames.</summary>
    private const int MaxAnswers = 1024, MaxCallees = 8192;

    private readonly ConcurrentDictionary<(ulong Entry, CodePoint At), (FrameHoldings? Holdings, Decline Why)> _answers = [];
    private readonly ConcurrentDictionary<ulong, (FlowGraph Graph, Dictionary<ulong, HoldingState> Blocks)> _followed = [];
    private readonly ConcurrentDictionary<ulong, (string Name, LockFunction Function)?> _callees = [];

    /// <summary>What an activation holds.</summary>
    /// <param name="function">The whole function.</param>
    /// <param name="at">Where it stands.</param>
    /// <param name="holdings">The result.</param>
    /// <param name="why">Why there is none.</param>
    public bool TryFind(in FunctionParts function, CodePoint at, out FrameHoldings holdings, out Decline why)
    {
        if (!_answers.TryGetValue((function.Main.Start, at), out (FrameHoldings? Holdings, Decline Why) answer))
        {
            answer = TryFollow(function, at, out FrameHoldings found, out Decline obstacle) ? (found, default) : (null, obstacle);
            if (_answers.Count < MaxAnswers)
                _answers[(function.Main.Start, at)] = answer;
        }

        holdings = answer.Holdings ?? FrameHoldings.Nothing;
        why = answer.Why;
        return answer.Holdings is not null;
    }

    /// <summary>What a function that has come to its end has taken and not given back: a lock that it hands to its caller, one that it gives back for its caller. One for each of its ends.</summary>
    /// <param name="function">The whole function.</param>
    /// <param name="ends">The result: where the function returns, or what it jumps to in its place, and what is held then.</param>
    /// <param name="why">Why there is none.</param>
    public bool TryFindEnds(in FunctionParts function, out IReadOnlyList<FunctionEnd> ends, out Decline why)
    {
        ends = [];
        if (!FlowGraph.TryBuild(code, function, hints ?? NoHints.Instance, out FlowGraph graph, out why) || !TryBlocks(graph, out Dictionary<ulong, HoldingState> blocks, out why))
            return false;
        var found = new List<FunctionEnd>();
        bool usesLocks = graph.Instructions.Values.Any(i => i.FlowControl is FlowControl.Call or FlowControl.UnconditionalBranch && CalleeOf(i.NearBranchTarget) is not null);
        var edges = new List<FlowEdge>(4);
        foreach ((ulong start, HoldingState before) in blocks)
        {
            HoldingState state = before;
            foreach (Instruction instruction in BlockFrom(graph, start))
            {
                state = Step(state, instruction, graph);
                graph.EdgesOf(instruction, edges);
                bool isTailCall = instruction.FlowControl == FlowControl.UnconditionalBranch && edges.Count == 0;
                if (isTailCall && CalleeOf(instruction.NearBranchTarget) is var (name, callee))
                    state = state.Call(instruction.IP, name, callee, (one, other) => ResultTest.IsSameArgument(graph, one, other));
                if (isTailCall || instruction.FlowControl == FlowControl.Return)
                    found.Add(new FunctionEnd(instruction.IP, state.ToHoldings(), usesLocks, isTailCall ? instruction.NearBranchTarget : null));
            }
        }

        ends = found;
        return true;
    }

    private bool TryFollow(in FunctionParts function, CodePoint at, out FrameHoldings holdings, out Decline why)
    {
        holdings = FrameHoldings.Nothing;
        if (!FlowGraph.TryBuild(code, function, hints ?? NoHints.Instance, out FlowGraph graph, out why))
            return false;
        if (GoalOf(graph, at) is not { } goal)
        {
            why = new Decline(DeclineReason.Unreached, at.Address);
            return false;
        }

        if (!TryBlocks(graph, out Dictionary<ulong, HoldingState> blocks, out why))
            return false;
        if (StateAt(graph, blocks, goal) is not { } found)
        {
            why = new Decline(DeclineReason.Unreached, goal);
            return false;
        }

        // An indirect jump may lead over any code of the function, and the account of that is missing.
        IReadOnlyList<string> doubts = graph.HasUnknownTargets ? [.. found.Doubts, "an indirect jump may lead over any of its code"] : found.Doubts;

        // What it gives back for its caller for good, it has given back; what it takes again before it returns, its caller will give back a second time.
        holdings = found.ToHoldings() with { Doubts = doubts, Owed = [.. found.GivenBack.Select(g => g.Kind).Distinct().Where(kind => TakesAgain(graph, goal, kind))] };
        return true;
    }

    /// <summary>What is held where each block of a function begins: places between which nothing leads in or out.</summary>
    private bool TryBlocks(FlowGraph graph, out Dictionary<ulong, HoldingState> blocks, out Decline why)
    {
        why = default;
        ulong entry = graph.Function.Main.Start;
        if (_followed.TryGetValue(entry, out (FlowGraph Graph, Dictionary<ulong, HoldingState> Blocks) known) && ReferenceEquals(known.Graph, graph))
        {
            blocks = known.Blocks;
            return true;
        }

        blocks = new Dictionary<ulong, HoldingState> { [entry] = HoldingState.Entry };
        var visits = new Dictionary<ulong, int>();
        var ends = new Dictionary<ulong, HoldingState>();
        var pending = new Queue<ulong>([entry]);
        var waiting = new HashSet<ulong> { entry };
        var edges = new List<FlowEdge>(4);
        while (pending.TryDequeue(out ulong start))
        {
            waiting.Remove(start);
            if ((visits[start] = visits.GetValueOrDefault(start) + 1) > MaxVisits)
            {
                why = new Decline(DeclineReason.TooLarge, start);
                return false;
            }

            HoldingState after = blocks[start];
            foreach (Instruction instruction in BlockFrom(graph, start))
            {
                after = Step(after, instruction, graph);
                graph.EdgesOf(instruction, edges);
            }

            // What has not changed is not told again: what meets a second time counts as another way.
            if (ends.TryGetValue(start, out HoldingState? last) && last.IsSame(after))
                edges.Clear();
            ends[start] = after;
            (ulong Call, ulong To, TakenWhen Result)? decision = edges.Count == 2 && after.May.Count > 0 ? ResultTest.Find(graph, start) : null;
            (ulong To, ulong Target, Register Tested)? given = edges.Count == 2 && after.Held.Count + after.May.Count > 0 ? ResultTest.FindGuard(graph, start) : null;
            foreach (FlowEdge edge in edges)
            {
                HoldingState there = decision is { } test ? Decided(graph, after, test.Call, edge.To == test.To ? test.Result : ResultTest.Opposite(test.Result)) : after;
                if (given is { } guard && edge.To == guard.To && CalleeOf(guard.Target) is (_, { Takes: false } release))
                    there = there.Without(h => h.Kind == release.Kind && h.Else == 0 && ResultTest.IsArgument(graph, h.Call, guard.Tested));
                if (!blocks.TryGetValue(edge.To, out HoldingState? before))
                    blocks[edge.To] = there;
                else if (before.Merge(there) is { } merged)
                    blocks[edge.To] = merged;
                else
                    continue;
                if (waiting.Add(edge.To))
                    pending.Enqueue(edge.To);
            }

            edges.Clear();
        }

        if (_followed.Count < MaxAnswers)
            _followed[entry] = (graph, blocks);
        return true;
    }

    /// <summary>What is held on the way that is taken with such a result of a call.</summary>
    private HoldingState Decided(FlowGraph graph, HoldingState state, ulong call, TakenWhen result) =>
        graph.Instructions.TryGetValue(call, out Instruction instruction) && CalleeOf(instruction.NearBranchTarget) is (_, { Takes: true } function) ? state.Decide(call, result, function) : state;

    /// <summary>The instructions of the block that begins there; none where none does.</summary>
    internal static IEnumerable<Instruction> BlockFrom(FlowGraph graph, ulong start)
    {
        for (ulong ip = start; graph.Instructions.TryGetValue(ip, out Instruction instruction); ip = instruction.NextIP)
        {
            yield return instruction;
            if (!graph.IsStraight(instruction) || graph.IsLeader(instruction.NextIP))
                yield break;
        }
    }

    private HoldingState? StateAt(FlowGraph graph, Dictionary<ulong, HoldingState> blocks, ulong goal)
    {
        foreach ((ulong start, HoldingState before) in blocks)
        {
            HoldingState state = before;
            if (!BlockFrom(graph, start).Any(i => i.IP == goal))
                continue;
            foreach (Instruction instruction in BlockFrom(graph, start))
            {
                if (instruction.IP == goal)
                    return state;
                state = Step(state, instruction, graph);
            }
        }

        return null;
    }

    /// <summary>On some way from there to its end it takes a lock of a kind.</summary>
    private bool TakesAgain(FlowGraph graph, ulong from, HoldingKind kind)
    {
        var pending = new Stack<ulong>([from]);
        var seen = new HashSet<ulong>();
        var edges = new List<FlowEdge>(4);
        while (pending.TryPop(out ulong at))
        {
            if (!seen.Add(at) || !graph.Instructions.TryGetValue(at, out Instruction instruction))
                continue;
            if (instruction.FlowControl == FlowControl.Call && !graph.IsLocalCall(instruction) && CalleeOf(instruction.NearBranchTarget) is (_, { Takes: true } function) && function.Kind == kind)
                return true;
            edges.Clear();
            graph.EdgesOf(instruction, edges);
            foreach (FlowEdge edge in edges)
                pending.Push(edge.To);
        }

        return false;
    }

    private static ulong? GoalOf(FlowGraph graph, CodePoint at)
    {
        if (!at.IsReturnAddress)
            return graph.Instructions.ContainsKey(at.Address) ? at.Address : null;
        return graph.TryBefore(at.Address, out Instruction call) && call.Mnemonic == Mnemonic.Call ? call.IP : null;
    }

    private HoldingState Step(HoldingState state, in Instruction instruction, FlowGraph graph)
    {
        if (instruction.Mnemonic == Mnemonic.Call)
        {
            if (instruction.FlowControl != FlowControl.Call || graph.IsLocalCall(instruction) || CalleeOf(instruction.NearBranchTarget) is not var (name, function))
                return state;
            return state.Call(instruction.IP, name, function, (one, other) => ResultTest.IsSameArgument(graph, one, other));
        }

        switch (instruction.Mnemonic)
        {
            case Mnemonic.Cli:
                return state with { Interrupts = InterruptChange.Off };
            case Mnemonic.Sti:
                return state with { Interrupts = InterruptChange.On };
            case Mnemonic.Popfq:
                return state with { Interrupts = InterruptChange.Restored };
            case Mnemonic.Bts or Mnemonic.Cmpxchg or Mnemonic.Cmpxchg8b or Mnemonic.Cmpxchg16b when instruction.HasLockPrefix:
            case Mnemonic.Xchg when instruction.Op0Kind == OpKind.Memory:
                // What inlined locks are taken by: bit locks, trylocks, lock-free counts. Most such instructions are no locks; which are can't be told from the code.
                return state.Doubt($"'{NameOf(instruction.Mnemonic)}' at 0x{instruction.IP:x}");
            case Mnemonic.Inc or Mnemonic.Dec or Mnemonic.Add or Mnemonic.Sub when IsPreemptCount(graph, instruction):
                return instruction.Mnemonic switch
                {
                    Mnemonic.Inc => state with { Preempt = state.Preempt + 1 },
                    Mnemonic.Dec => state with { Preempt = state.Preempt - 1 },
                    Mnemonic.Add when IsSmall(instruction) => state with { Preempt = state.Preempt + unchecked((int)instruction.GetImmediate(1)) },
                    Mnemonic.Sub when IsSmall(instruction) => state with { Preempt = state.Preempt - unchecked((int)instruction.GetImmediate(1)) },
                    _ => state with { IsPreemptKnown = false },
                };
            default:
                return instruction is { HasLockPrefix: true, Mnemonic: Mnemonic.Inc or Mnemonic.Add or Mnemonic.Xadd } ? state with { Reference = true } : state;
        }
    }

    /// <summary>The names of an enumeration are looked for in the program's own description, which takes as long as following a function.</summary>
    private static string NameOf(Mnemonic mnemonic) => mnemonic switch
    {
        Mnemonic.Bts => "bts",
        Mnemonic.Cmpxchg => "cmpxchg",
        Mnemonic.Cmpxchg8b => "cmpxchg8b",
        Mnemonic.Cmpxchg16b => "cmpxchg16b",
        _ => "xchg",
    };

    /// <summary>What a callee takes or gives back; null where it is no lock function.</summary>
    private (string Name, LockFunction Function)? CalleeOf(ulong target)
    {
        if (_callees.TryGetValue(target, out (string, LockFunction)? known))
            return known;
        known = nameOf(target) is { } name && LockFunctions.Find(name) is { } function ? (name, function) : null;
        if (_callees.Count < MaxCallees)
            _callees[target] = known;
        return known;
    }

    private static bool IsSmall(in Instruction instruction) => instruction.Op1Kind is OpKind.Immediate8to32 or OpKind.Immediate32 && unchecked((int)instruction.GetImmediate(1)) is > -0x10_0000 and < 0x10_0000;

    /// <summary>Instructions looked at before one whose address lies in a register.</summary>
    private const int MaxBack = 64;

    /// <summary>preempt_disable() and local_bh_disable() are inlined as additions to the per-CPU count (arch/x86/include/asm/preempt.h, __preempt_count_add).</summary>
    private bool IsPreemptCount(FlowGraph graph, in Instruction instruction)
    {
        if (preemptCount is not { } address || instruction is not { Op0Kind: OpKind.Memory, MemorySegment: Register.GS, MemoryIndex: Register.None })
            return false;
        ulong offset = unchecked(address - gsBase);
        if (instruction.MemoryBase is Register.None or Register.RIP)
            return instruction.MemoryDisplacement64 == offset;

        // Its offset may have been loaded into a register: the compiler does so where several ways lead to one such instruction.
        if (instruction.MemoryDisplacement64 != 0)
            return false;
        Register wanted = instruction.MemoryBase.GetFullRegister();
        ulong ip = instruction.IP;
        for (int step = 0; step < MaxBack && graph.TryBefore(ip, out Instruction before); step++, ip = before.IP)
        {
            if (before is { Mnemonic: Mnemonic.Mov, Op0Kind: OpKind.Register, Op1Kind: OpKind.Immediate32 or OpKind.Immediate32to64 or OpKind.Immediate64 } && before.Op0Register.GetFullRegister() == wanted)
                return before.GetImmediate(1) == offset;
        }

        return false;
    }
}
