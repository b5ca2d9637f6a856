using Iced.Intel;

namespace Panacea.Kernel.Code;

/// <summary>One call instruction.</summary>
/// <param name="Address">Guest-virtual address of the instruction.</param>
/// <param name="ReturnAddress">Address behind it.</param>
/// <param name="Target">The function called; null for an indirect call.</param>
public readonly record struct CallSite(ulong Address, ulong ReturnAddress, ulong? Target);

/// <summary>What may have been done on the way from one place of a function to another.</summary>
/// <param name="Calls">By address. A call that lies on some possible path; whether it was really made is not known.</param>
/// <param name="Instructions">By address. Every instruction of those paths that may have been executed, calls among them.</param>
/// <param name="IsComplete">False where jumps with unknown targets may lead over further code.</param>
public sealed record CallsOnPaths(IReadOnlyList<CallSite> Calls, IReadOnlyList<Instruction> Instructions, bool IsComplete);

/// <summary>Finds calls in machine code.</summary>
public static class CallSites
{
    /// <summary>Longest call instruction looked for before a return address: prefixes and all.</summary>
    private const int LongestCall = 8;

    /// <summary>Calls on any path from <paramref name="from"/> to <paramref name="to"/>; one that has not come back at <paramref name="to"/> (it returns there) is not among them.</summary>
    /// <param name="code">Pristine text.</param>
    /// <param name="function">The whole function.</param>
    /// <param name="from">An instruction of it; as a rule the entry.</param>
    /// <param name="to">Where an activation stands.</param>
    /// <param name="hints">What else is known of control flow, or null.</param>
    /// <param name="result">The calls.</param>
    /// <param name="why">Why there is no result.</param>
    /// <param name="without">Address of an instruction that paths do not come by; null where they may come by all.</param>
    public static bool TryFind(
        ICodeSource code, in FunctionParts function, ulong from, CodePoint to, IControlFlowHints? hints, out CallsOnPaths result, out Decline why, ulong? without = null)
    {
        result = null!;
        if (!FlowGraph.TryBuild(code, function, hints ?? NoHints.Instance, out FlowGraph graph, out why))
            return false;
        if (!graph.Instructions.ContainsKey(from))
        {
            why = new Decline(DeclineReason.Unreached, from);
            return false;
        }

        if (GoalOf(graph, to) is not { } target)
        {
            why = new Decline(DeclineReason.Unreached, to.Address);
            return false;
        }

        HashSet<ulong> after = After(graph, from, without), before = Before(graph, target, without);
        if (!after.Contains(target))
        {
            why = new Decline(DeclineReason.Unreached, to.Address);
            return false;
        }

        // The goal itself has been executed only where it lies on a loop.
        bool goalRepeats = false;
        if (graph.Predecessors.TryGetValue(target, out List<ulong>? into) && into.Exists(p => p != without && after.Contains(p)))
        {
            HashSet<ulong> again = After(graph, target, without);
            goalRepeats = into.Exists(p => p != without && after.Contains(p) && again.Contains(p));
        }

        var calls = new List<CallSite>();
        var instructions = new List<Instruction>();
        foreach (ulong at in after)
        {
            if (!before.Contains(at) || (at == target && !goalRepeats))
                continue;
            Instruction instruction = graph.Instructions[at];
            instructions.Add(instruction);
            if (instruction.Mnemonic == Mnemonic.Call)
                calls.Add(new CallSite(at, instruction.NextIP, DirectTarget(instruction)));
        }

        calls.Sort((a, b) => a.Address.CompareTo(b.Address));
        instructions.Sort((a, b) => a.IP.CompareTo(b.IP));
        result = new CallsOnPaths(calls, instructions, !graph.HasUnknownTargets);
        return true;
    }

    /// <summary>The instruction of a function that begins at an address; none where control can't come to one.</summary>
    /// <param name="code">Text.</param>
    /// <param name="function">The function.</param>
    /// <param name="address">Guest-virtual address.</param>
    /// <param name="hints">What else is known of control flow, or null.</param>
    /// <param name="instruction">The instruction.</param>
    public static bool TryInstruction(ICodeSource code, in FunctionParts function, ulong address, IControlFlowHints? hints, out Instruction instruction)
    {
        instruction = default;
        return FlowGraph.TryBuild(code, function, hints ?? NoHints.Instance, out FlowGraph graph, out _) && graph.Instructions.TryGetValue(address, out instruction);
    }

    /// <summary>The function that the direct call before a return address calls (E8 and 32 bits).</summary>
    public static bool TryDirectTarget(ICodeSource code, ulong returnAddress, out ulong target)
    {
        Span<byte> call = stackalloc byte[5];
        target = 0;
        if (!code.TryReadCode(unchecked(returnAddress - 5), call) || call[0] != 0xe8)
            return false;
        target = unchecked(returnAddress + (ulong)(long)BitConverter.ToInt32(call[1..]));
        return true;
    }

    /// <summary>Whether a call instruction ends exactly at <paramref name="address"/>: a return address stands behind one.</summary>
    /// <remarks>Backwards decoding can be fooled by a suffix that also reads as a call; that only ever says yes too often.</remarks>
    public static bool IsPrecededByCall(ICodeSource code, ulong address)
    {
        byte[] bytes = new byte[LongestCall];
        for (int length = LongestCall; length >= 2; length--)
        {
            if (address < LongestCall)
                return false;
            Span<byte> piece = bytes.AsSpan(0, length);
            if (!code.TryReadCode(unchecked(address - (ulong)length), piece))
                continue;
            var decoder = Decoder.Create(64, new ByteArrayCodeReader(bytes, 0, length));
            decoder.IP = unchecked(address - (ulong)length);
            decoder.Decode(out Instruction instruction);
            if (!instruction.IsInvalid && instruction.Length == length && instruction.Mnemonic == Mnemonic.Call)
                return true;
        }

        return false;
    }

    /// <summary>The call instruction that ends at <paramref name="returnAddress"/>, found by decoding the caller from its start.</summary>
    public static bool TryFindCallBefore(ICodeSource code, in FunctionParts caller, ulong returnAddress, out CallSite call)
    {
        call = default;
        if (!FlowGraph.TryBuild(code, caller, NoHints.Instance, out FlowGraph graph, out _))
            return false;
        foreach ((ulong at, Instruction instruction) in graph.Instructions)
        {
            if (instruction.NextIP != returnAddress || instruction.Mnemonic != Mnemonic.Call)
                continue;
            call = new CallSite(at, returnAddress, DirectTarget(instruction));
            return true;
        }

        return false;
    }

    private static ulong? DirectTarget(in Instruction instruction) =>
        instruction.FlowControl == FlowControl.Call ? instruction.NearBranchTarget : null;

    private static ulong? GoalOf(FlowGraph graph, CodePoint to)
    {
        if (!to.IsReturnAddress)
            return graph.Instructions.ContainsKey(to.Address) ? to.Address : null;
        return graph.TryBefore(to.Address, out Instruction call) && call.Mnemonic == Mnemonic.Call ? call.IP : null;
    }

    /// <summary>What can be come to from an instruction, that one with it.</summary>
    private static HashSet<ulong> After(FlowGraph graph, ulong start, ulong? without)
    {
        var seen = new HashSet<ulong> { start };
        var pending = new Stack<ulong>([start]);
        var edges = new List<FlowEdge>(4);
        while (pending.TryPop(out ulong at))
        {
            if (at == without || !graph.Instructions.TryGetValue(at, out Instruction instruction))
                continue;
            graph.EdgesOf(instruction, edges);
            foreach (FlowEdge edge in edges)
            {
                if (graph.Instructions.ContainsKey(edge.To) && seen.Add(edge.To))
                    pending.Push(edge.To);
            }
        }

        return seen;
    }

    /// <summary>What leads to an instruction, that one with it.</summary>
    private static HashSet<ulong> Before(FlowGraph graph, ulong end, ulong? without)
    {
        var seen = new HashSet<ulong> { end };
        var pending = new Stack<ulong>([end]);
        while (pending.TryPop(out ulong at))
        {
            foreach (ulong from in graph.Predecessors.TryGetValue(at, out List<ulong>? all) ? all : [])
            {
                if (from != without && seen.Add(from))
                    pending.Push(from);
            }
        }

        return seen;
    }
}
