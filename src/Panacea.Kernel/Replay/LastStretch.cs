using Iced.Intel;
using Panacea.Kernel.Code;
using Panacea.Target;

namespace Panacea.Kernel.Replay;

/// <summary>The code of a function before an instruction that control can have come to over nothing but this code, back to the last call: executed again from its beginning, it computes again what it computes.</summary>
/// <param name="Start">Guest-virtual address of its first instruction.</param>
/// <param name="Written">Registers that it writes: what they held before is not known; all others hold what they held.</param>
public sealed record LastStretch(ulong Start, IReadOnlySet<Gpr> Written)
{
    /// <summary>Instructions of it.</summary>
    private const int MaxLength = 64;

    /// <summary>Finds it.</summary>
    /// <param name="code">Pristine text.</param>
    /// <param name="function">The function.</param>
    /// <param name="hints">What else is known of control flow, or null.</param>
    /// <param name="end">The instruction that it ends before.</param>
    /// <param name="stretch">The result, at least one instruction long.</param>
    /// <param name="after">It begins behind this instruction; 0 where it may begin anywhere.</param>
    public static bool TryFind(ICodeSource code, in FunctionParts function, IControlFlowHints? hints, ulong end, out LastStretch stretch, ulong after = 0)
    {
        stretch = null!;
        if (!FlowGraph.TryBuild(code, function, hints ?? NoHints.Instance, out FlowGraph graph, out _) || graph.HasUnknownTargets)
            return false;
        var factory = new InstructionInfoFactory();
        ulong start = end;
        for (int step = 0; step < MaxLength && graph.TryBefore(start, out Instruction instruction) && instruction.IP > after && IsWithin(factory, instruction); step++)
            start = instruction.IP;
        start = SingleEntry(graph, start, end);
        if (start == end)
            return false;
        var written = new HashSet<Gpr>();
        foreach (Instruction instruction in graph.Instructions.Values)
        {
            if (instruction.IP < start || instruction.IP >= end)
                continue;
            foreach (UsedRegister used in factory.GetInfo(instruction).GetUsedRegisters())
            {
                if (used.Register.IsGPR() && used.Access is OpAccess.Write or OpAccess.ReadWrite or OpAccess.CondWrite or OpAccess.ReadCondWrite)
                    written.Add((Gpr)(used.Register.GetFullRegister() - Register.RAX));
            }
        }

        stretch = new LastStretch(start, written);
        return true;
    }

    /// <summary>The first instruction of a stretch of code that control enters at no other place: behind the last one that a jump from outside leads to, or there.</summary>
    internal static ulong SingleEntry(FlowGraph graph, ulong start, ulong end)
    {
        var into = new List<(ulong From, ulong To)>();
        foreach ((ulong From, ulong To) edge in graph.Edges)
        {
            if (edge.To > start && edge.To <= end)
                into.Add(edge);
        }

        for (bool isWhole = false; !isWhole;)
        {
            isWhole = true;
            foreach ((ulong from, ulong to) in into)
            {
                if (to > start && (from < start || from >= end))
                    (start, isWhole) = (to, false);
            }
        }

        return start;
    }

    /// <summary>It calls nothing, and leaves the stack pointer and the system alone.</summary>
    private static bool IsWithin(InstructionInfoFactory factory, in Instruction instruction)
    {
        if (instruction.FlowControl is not (FlowControl.Next or FlowControl.ConditionalBranch or FlowControl.UnconditionalBranch) || instruction.IsPrivileged)
            return false;
        foreach (UsedRegister used in factory.GetInfo(instruction).GetUsedRegisters())
        {
            if (used.Register.GetFullRegister() == Register.RSP && used.Access is not (OpAccess.Read or OpAccess.CondRead))
                return false;
        }

        return true;
    }
}
