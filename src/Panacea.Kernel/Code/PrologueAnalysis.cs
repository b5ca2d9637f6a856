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
    /// <summary>Bound on instructions stepped through, revisits included.</summary>
    private const int MaxSteps = 400_000;

    /// <summary>Finds where the values lie: symbolic, needs no guest state.</summary>
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

        if (!orc.TryFind(point.LookupAddress, out OrcEntry row))
        {
            why = new Decline(DeclineReason.NoUnwindRow, point.Address);
            return false;
        }

        if (!FlowGraph.TryBuild(code, function, hints ?? NoHints.Instance, out FlowGraph graph, out why))
            return false;
        if (!TryFindState(graph, point, orc, out ulong instruction, out FrameState state, out why)
            || !OrcCheck.Agrees(row, state, instruction, out why))
        {
            return false;
        }

        List<BaseRule> cfa = BaseRules(state, FrameBase.Cfa);
        if (cfa.Count == 0)
        {
            why = new Decline(DeclineReason.DepthMismatch, instruction, "no register tells the CFA");
            return false;
        }

        Symbol sp = state[Gpr.Rsp];
        locations = new RegisterLocations
        {
            Function = function.Main.Start,
            Instruction = instruction,
            Cfa = cfa,
            Aligned = BaseRules(state, FrameBase.Aligned),
            Depth = sp.IsFrame && sp.Base == FrameBase.Cfa ? -sp.Offset : null,
            CalleeSaved = Locate(state),
        };
        return true;
    }

    private static bool TryFindState(
        FlowGraph graph, CodePoint point, IOrcLookup orc, out ulong instruction, out FrameState state, out Decline why)
    {
        var walk = new FrameWalk(graph, orc, MaxSteps);
        instruction = 0;
        state = null!;
        if (!walk.TryRun(out why))
            return false;
        FrameState? found = null;
        foreach ((ulong at, Instruction candidate) in graph.Instructions)
        {
            bool isIt = point.IsReturnAddress
                ? candidate.NextIP == point.Address && candidate.Mnemonic == Mnemonic.Call
                : at == point.Address;
            if (!isIt || !walk.TryStateBefore(at, out FrameState before))
                continue;
            instruction = at;
            if (found is null)
                found = before;
            else
                found.Meet(before);
        }

        if (found is null)
        {
            string because = graph.HasUnknownTargets ? "the function has jumps whose targets are not known" : "no path from the entry leads there";
            why = new Decline(DeclineReason.Unreached, point.Address, because);
            return false;
        }

        // While a call is out, the callee owns the caller-saved registers; where it stands below our stack pointer is its own business.
        if (point.IsReturnAddress)
            found.ForgetCallerSaved();
        state = found;
        return true;
    }

    private static RegisterLocation[] Locate(FrameState state)
    {
        var result = new RegisterLocation[KnownRegisters.CalleeSaved.Length];
        for (int i = 0; i < result.Length; i++)
        {
            Gpr register = KnownRegisters.CalleeSaved[i];
            Symbol wanted = Symbol.Entry(register);
            bool unchanged = state[register] == wanted;
            if (state.TryFindSaved(register, out Slot slot))
            {
                // The slot before the register: on another path to the same instruction the register may have been used already.
                result[i] = new RegisterLocation(RegisterPlace.OnStack, register, slot.Base, slot.Offset, unchanged);
                continue;
            }

            if (unchanged)
            {
                result[i] = new RegisterLocation(RegisterPlace.InRegister, register, default, 0, AlsoUnchanged: true);
                continue;
            }

            for (int other = 0; other < 16 && result[i].Place == RegisterPlace.Lost; other++)
            {
                if (state[(Gpr)other] == wanted)
                    result[i] = new RegisterLocation(RegisterPlace.InRegister, (Gpr)other, default, 0, AlsoUnchanged: false);
            }
        }

        return result;
    }

    private static List<BaseRule> BaseRules(FrameState state, FrameBase wanted)
    {
        var rules = new List<BaseRule>(2);
        foreach (Gpr register in (ReadOnlySpan<Gpr>)[Gpr.Rsp, Gpr.Rbp, Gpr.R10, Gpr.R13, Gpr.Rbx, Gpr.R12, Gpr.R14, Gpr.R15])
        {
            Symbol value = state[register];
            if (value.IsFrame && value.Base == wanted)
                rules.Add(new BaseRule(register, -value.Offset));
        }

        // A pointer to the CFA that was spilled into a frame of the other base (the compiler's dynamic realignment argument pointer).
        foreach (Slot slot in state.Slots)
        {
            if (!slot.Value.IsFrame || slot.Value.Base != wanted || slot.Base == wanted)
                continue;
            foreach (Gpr register in (ReadOnlySpan<Gpr>)[Gpr.Rsp, Gpr.Rbp])
            {
                Symbol value = state[register];
                if (value.IsFrame && value.Base == slot.Base)
                    rules.Add(new BaseRule(register, slot.Offset - value.Offset, Indirect: true, Addend: -slot.Value.Offset));
            }
        }

        return rules;
    }
}
