using Iced.Intel;
using Panacea.Kernel.Unwind;

namespace Panacea.Kernel.Code;

/// <summary>
/// A CPU that executes bytes which are no instructions of the function that it is in: one of its instructions was read as another, longer or shorter, one (a flipped bit, a store into code), and the CPU went on behind
/// it until it trapped. What the function keeps on its stack and where is known of its instructions only, so of the one at which the CPU left them.
/// </summary>
public static class Derailment
{
    /// <summary>Bytes before the trap within which the CPU has left the function's instructions: three of the longest.</summary>
    private const int Reach = 45;

    /// <summary>The instructions at which it may have left the function's code.</summary>
    /// <param name="analysis">Text and functions.</param>
    /// <param name="frame">The frame that trapped.</param>
    /// <returns>Guest-virtual addresses, the nearest one first; empty where it stands at one of the function's instructions, or where that can't be told.</returns>
    public static IReadOnlyList<ulong> Left(FrameAnalysis analysis, StackFrame frame)
    {
        if (!frame.IsTrap || !analysis.Functions.TryFindFunction(frame.Ip, out FunctionParts function)
            || !FlowGraph.TryBuild(analysis.Code, function, analysis.Hints ?? NoHints.Instance, out FlowGraph graph, out _) || graph.Instructions.ContainsKey(frame.Ip))
            return [];

        // Code that no known way leads to is code all the same: there the CPU may be where it belongs.
        var before = graph.Instructions.Values.Where(i => i.IP < frame.Ip && frame.Ip - i.IP <= Reach).OrderByDescending(i => i.IP).ToList();
        if (before.Count == 0)
            return [];
        bool isWithin = before[0].NextIP > frame.Ip, isBehind = before[0].FlowControl is FlowControl.Return or FlowControl.UnconditionalBranch or FlowControl.IndirectBranch or FlowControl.Call;
        if (!isWithin && !(isBehind && IsPadding(analysis.Code, before[0].NextIP, frame.Ip)))
            return [];

        // It went straight on: an instruction that leads elsewhere was not among those that were read wrongly, but for the first.
        var left = new List<ulong>();
        foreach (Instruction instruction in before)
        {
            if (left.Count > 0 && instruction.FlowControl is not (FlowControl.Next or FlowControl.ConditionalBranch))
                break;
            left.Add(instruction.IP);
        }

        return left;
    }

    /// <summary>What stands between functions: INT3, and NOPs of one byte.</summary>
    private static bool IsPadding(ICodeSource code, ulong start, ulong end)
    {
        byte[] bytes = new byte[end - start + 1];
        return code.TryReadCode(start, bytes) && Array.TrueForAll(bytes, b => b is 0xcc or 0x90);
    }
}
