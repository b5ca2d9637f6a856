using System.Collections.Concurrent;
using Iced.Intel;
using Panacea.Kernel.Code;

namespace Panacea.Kernel.Holdings;

/// <summary>One thing taken by a call that has come back.</summary>
/// <param name="Kind">What it is.</param>
/// <param name="Call">Guest-virtual address of the call instruction.</param>
/// <param name="Function">The function that was called.</param>
/// <param name="Argument">Which argument of the call names it, from 0.</param>
public readonly record struct Holding(HoldingKind Kind, ulong Call, string Function, int Argument);

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
    /// <summary>A function that has done nothing yet.</summary>
    public static FrameHoldings Nothing { get; } = new([], [], 0, InterruptChange.None, [], false);

    /// <summary>Nothing is held, and nothing may be.</summary>
    public bool IsNothing => Held.Count == 0 && MayHold.Count == 0 && PreemptCount == 0 && Doubts.Count == 0;
}

/// <summary>Follows a function's code from its entry to where an activation stands, and keeps account of what its calls and inlined instructions take and give back.</summary>
/// <remarks>Forward over the flow graph until nothing changes. Where ways meet, what is held on all of them stays held and the rest may be held. Callees that are no lock functions are taken to
/// be balanced. Bounded by <see cref="FlowGraph.MaxInstructions"/> and <see cref="MaxVisits"/>. Answers are kept: each rung of a ladder asks about the same frames. Safe for concurrent use.</remarks>
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
    private readonly ConcurrentDictionary<ulong, (FlowGraph Graph, Dictionary<ulong, State> Blocks)> _followed = [];
    private readonly ConcurrentDictionary<ulong, (string Name, LockFunction Function)?> _callees = [];

    /// <summary>Things held at once; more is a loop that takes without giving back.</summary>
    private const int MaxHeld = 32;

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

        if (!TryBlocks(graph, out Dictionary<ulong, State> blocks, out why))
            return false;
        if (StateAt(graph, blocks, goal) is not { } found)
        {
            why = new Decline(DeclineReason.Unreached, goal);
            return false;
        }

        // An indirect jump may lead over any code of the function, and the account of that is missing.
        IReadOnlyList<string> doubts = graph.HasUnknownTargets ? [.. found.Doubts, "an indirect jump may lead over any of its code"] : found.Doubts;
        holdings = new FrameHoldings(found.Held, found.May, found.IsPreemptKnown ? found.Preempt : null, found.Interrupts, doubts, found.Reference);
        return true;
    }

    /// <summary>What is held where each block of a function begins: places between which nothing leads in or out.</summary>
    private bool TryBlocks(FlowGraph graph, out Dictionary<ulong, State> blocks, out Decline why)
    {
        why = default;
        ulong entry = graph.Function.Main.Start;
        if (_followed.TryGetValue(entry, out (FlowGraph Graph, Dictionary<ulong, State> Blocks) known) && ReferenceEquals(known.Graph, graph))
        {
            blocks = known.Blocks;
            return true;
        }

        blocks = new Dictionary<ulong, State> { [entry] = State.Entry };
        var visits = new Dictionary<ulong, int>();
        var ends = new Dictionary<ulong, State>();
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

            State after = blocks[start];
            foreach (Instruction instruction in BlockFrom(graph, start))
            {
                after = Step(after, instruction, graph);
                graph.EdgesOf(instruction, edges);
            }

            // What has not changed is not told again: what meets a second time counts as another way.
            if (ends.TryGetValue(start, out State? last) && last.IsSame(after))
                edges.Clear();
            ends[start] = after;
            foreach (FlowEdge edge in edges)
            {
                if (!blocks.TryGetValue(edge.To, out State? before))
                    blocks[edge.To] = after;
                else if (before.Merge(after) is { } merged)
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

    /// <summary>The instructions of the block that begins there; none where none does.</summary>
    private static IEnumerable<Instruction> BlockFrom(FlowGraph graph, ulong start)
    {
        for (ulong ip = start; graph.Instructions.TryGetValue(ip, out Instruction instruction); ip = instruction.NextIP)
        {
            yield return instruction;
            if (!graph.IsStraight(instruction) || graph.IsLeader(instruction.NextIP))
                yield break;
        }
    }

    private State? StateAt(FlowGraph graph, Dictionary<ulong, State> blocks, ulong goal)
    {
        foreach ((ulong start, State before) in blocks)
        {
            State state = before;
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

    private static ulong? GoalOf(FlowGraph graph, CodePoint at)
    {
        if (!at.IsReturnAddress)
            return graph.Instructions.ContainsKey(at.Address) ? at.Address : null;
        return graph.TryBefore(at.Address, out Instruction call) && call.Mnemonic == Mnemonic.Call ? call.IP : null;
    }

    private State Step(State state, in Instruction instruction, FlowGraph graph)
    {
        if (instruction.Mnemonic == Mnemonic.Call)
        {
            if (instruction.FlowControl != FlowControl.Call || graph.IsLocalCall(instruction) || CalleeOf(instruction.NearBranchTarget) is not var (name, function))
                return state;
            return function.Takes ? state.Take(new Holding(function.Kind, instruction.IP, name, function.Argument), function) : state.Give(function);
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
            case Mnemonic.Inc or Mnemonic.Dec or Mnemonic.Add or Mnemonic.Sub when IsPreemptCount(instruction):
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

    /// <summary>preempt_disable() and local_bh_disable() are inlined as additions to the per-CPU count (arch/x86/include/asm/preempt.h, __preempt_count_add).</summary>
    private bool IsPreemptCount(in Instruction instruction) =>
        preemptCount is { } address && instruction is { Op0Kind: OpKind.Memory, MemorySegment: Register.GS, MemoryIndex: Register.None }
        && instruction.MemoryBase is Register.None or Register.RIP && unchecked(gsBase + instruction.MemoryDisplacement64) == address;

    /// <summary>What is held before an instruction.</summary>
    private sealed record State(IReadOnlyList<Holding> Held, IReadOnlyList<Holding> May, int Preempt, bool IsPreemptKnown, InterruptChange Interrupts, IReadOnlyList<string> Doubts, bool Reference)
    {
        private const int MaxDoubts = 8;

        public static State Entry { get; } = new([], [], 0, true, InterruptChange.None, [], false);

        public State Take(Holding holding, LockFunction function)
        {
            State state = function.Interrupts == InterruptChange.None ? this : this with { Interrupts = function.Interrupts };
            if (Held.Contains(holding) || May.Contains(holding) || Held.Count + May.Count >= MaxHeld)
                return state;
            return function.When == TakenWhen.Always ? state with { Held = [.. Held, holding] } : state with { May = [.. May, holding] };
        }

        /// <summary>Gives back what of that kind was taken last.</summary>
        public State Give(LockFunction function)
        {
            State state = function.Interrupts == InterruptChange.None ? this : this with { Interrupts = function.Interrupts };
            int at = Last(Held, function.Kind);
            if (at >= 0)
                return state with { Held = [.. Held.Where((_, i) => i != at)] };
            at = Last(May, function.Kind);
            return at >= 0 ? state with { May = [.. May.Where((_, i) => i != at)] } : state;
        }

        public State Doubt(string what) => Doubts.Count >= MaxDoubts || Doubts.Contains(what) ? this : this with { Doubts = [.. Doubts, what] };

        /// <summary>It says the same.</summary>
        public bool IsSame(State other) => Preempt == other.Preempt && IsPreemptKnown == other.IsPreemptKnown && Interrupts == other.Interrupts && Reference == other.Reference
            && Held.SequenceEqual(other.Held) && May.SequenceEqual(other.May) && Doubts.SequenceEqual(other.Doubts);

        /// <summary>What holds where two ways meet; null where nothing changes for this one.</summary>
        public State? Merge(State other)
        {
            State merged = this;
            List<Holding>? lost = null;
            foreach (Holding held in Held)
            {
                if (!other.Held.Contains(held))
                    (lost ??= []).Add(held);
            }

            if (lost is not null)
                merged = merged with { Held = [.. Held.Where(h => !lost.Contains(h))], May = [.. May, .. lost] };
            foreach (Holding held in other.Held.Concat(other.May))
            {
                if (!merged.Held.Contains(held) && !merged.May.Contains(held) && merged.May.Count < MaxHeld)
                    merged = merged with { May = [.. merged.May, held] };
            }

            if (merged.IsPreemptKnown && (!other.IsPreemptKnown || other.Preempt != Preempt))
                merged = merged with { IsPreemptKnown = false };
            if (merged.Interrupts != other.Interrupts && merged.Interrupts != InterruptChange.Unknown)
                merged = merged with { Interrupts = Restores(merged.Interrupts, other.Interrupts) };
            foreach (string doubt in other.Doubts)
                merged = merged.Doubt(doubt);
            if (other.Reference && !merged.Reference)
                merged = merged with { Reference = true };
            return ReferenceEquals(merged, this) ? null : merged;
        }

        /// <summary>local_irq_restore is a conditional STI: on one way it is on again, on the other it stays off, as it was.</summary>
        private static InterruptChange Restores(InterruptChange a, InterruptChange b) =>
            (a, b) is (InterruptChange.None, InterruptChange.Restored) or (InterruptChange.Restored, InterruptChange.None) or (InterruptChange.Off, InterruptChange.On) or (InterruptChange.On, InterruptChange.Off)
                ? InterruptChange.Restored : InterruptChange.Unknown;

        private static int Last(IReadOnlyList<Holding> list, HoldingKind kind)
        {
            for (int i = list.Count - 1; i >= 0; i--)
            {
                if (list[i].Kind == kind)
                    return i;
            }

            return -1;
        }
    }
}
