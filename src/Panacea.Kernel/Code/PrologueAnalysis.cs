using Iced.Intel;
using Panacea.Formats.Orc;
using Panacea.Target;

namespace Panacea.Kernel.Code;

/// <summary>Where in a function an activation of it stands.</summary>
/// <param name="Address">The instruction that trapped (not executed yet), or the address a call in the function returns to.</param>
/// <param name="IsReturnAddress">Which of the two.</param>
public readonly record struct CodePoint(ulong Address, bool IsReturnAddress)
{
    /// <summary>The instruction at <paramref name="address"/> trapped, or was interrupted before it ran.</summary>
    public static CodePoint Trap(ulong address) => new(address, IsReturnAddress: false);

    /// <summary>The call before <paramref name="address"/> has not come back yet.</summary>
    public static CodePoint Return(ulong address) => new(address, IsReturnAddress: true);

    /// <summary>An address that surely belongs to the instruction itself: a call may be a function's last instruction.</summary>
    public ulong LookupAddress => IsReturnAddress ? unchecked(Address - 1) : Address;
}

/// <summary>
/// Recovers the callee-saved registers (RBX, RBP, R12–R15) as they were when a function was entered, from its machine code. Unwind data (ORC) says where the
/// stack pointer, RBP and the return address are, and nothing of the other registers.
/// </summary>
/// <remarks>
/// A must-analysis over all paths from the entry: a place counts only where every path that can reach the instruction agrees on it. Its
/// result is used only where the depth and RBP's place equal what the kernel's unwind data says of that instruction, a second opinion
/// that objtool formed at build time. The compiler's own unwind tables demand one state per instruction, which is why paths not known here
/// (jump tables, exception fixups) can't contradict one that is known.
/// </remarks>
public static class PrologueAnalysis
{
    /// <summary>Finds where the values lie at one instruction: symbolic, needs no guest state.</summary>
    /// <param name="code">Pristine text.</param>
    /// <param name="function">The whole function.</param>
    /// <param name="point">The instruction.</param>
    /// <param name="orc">The kernel's unwind data.</param>
    /// <param name="hints">What else is known of control flow, or null.</param>
    /// <param name="locations">The result; single registers may be <see cref="RegisterPlace.Lost"/>.</param>
    /// <param name="why">Why there is none, where the result is false.</param>
    public static bool TryLocate(
        ICodeSource code, in FunctionParts function, CodePoint point, IOrcLookup orc, IControlFlowHints? hints,
        out RegisterLocations locations, out Decline why)
    {
        locations = null!;
        if (!function.Contains(point.LookupAddress))
        {
            why = new Decline(DeclineReason.OutsideFunction, point.Address);
            return false;
        }

        if (code is AnalysedCode kept)
            return kept.TryLocate(function, point, orc, hints ?? NoHints.Instance, out locations, out why);
        return TryAnalyse(code, function, orc, hints, out FunctionFrames frames, out why) && frames.TryLocate(point, out locations, out why);
    }

    /// <summary>Walks a function once, for questions about many of its instructions.</summary>
    /// <param name="code">Pristine text.</param>
    /// <param name="function">The whole function.</param>
    /// <param name="orc">The kernel's unwind data.</param>
    /// <param name="hints">What else is known of control flow, or null.</param>
    /// <param name="frames">The result.</param>
    /// <param name="why">Why there is none, where the result is false.</param>
    public static bool TryAnalyse(
        ICodeSource code, in FunctionParts function, IOrcLookup orc, IControlFlowHints? hints, out FunctionFrames frames, out Decline why)
    {
        frames = null!;
        if (!FlowGraph.TryBuild(code, function, hints ?? NoHints.Instance, out FlowGraph graph, out why))
            return false;
        var walk = new FrameWalk(graph, orc, MaxSteps);
        if (!walk.TryRun(out why))
            return false;
        frames = new FunctionFrames(graph, walk, orc);
        return true;
    }

    /// <summary>Bound on instructions stepped through, revisits included.</summary>
    private const int MaxSteps = 400_000;
}
