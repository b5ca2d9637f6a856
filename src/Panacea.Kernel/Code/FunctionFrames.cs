using Iced.Intel;
using Panacea.Formats.Orc;
using Panacea.Target;

namespace Panacea.Kernel.Code;

/// <summary>One function, walked: answers for each of its instructions how deep the stack is and where the callee-saved registers' values are.</summary>
/// <remarks>Not thread-safe.</remarks>
public sealed class FunctionFrames
{
    private readonly FlowGraph _graph;
    private readonly FrameWalk _walk;
    private readonly IOrcLookup _orc;
    private Dictionary<ulong, List<ulong>>? _callsByReturn;

    internal FunctionFrames(FlowGraph graph, FrameWalk walk, IOrcLookup orc) => (_graph, _walk, _orc) = (graph, walk, orc);

    /// <summary>The function.</summary>
    public FunctionParts Function => _graph.Function;

    /// <summary>Instructions reached from the entry.</summary>
    public int Instructions => _graph.Instructions.Count;

    /// <summary>Finds where the values lie at one instruction.</summary>
    /// <param name="point">The instruction.</param>
    /// <param name="locations">The result; single registers may be <see cref="RegisterPlace.Lost"/>.</param>
    /// <param name="why">Why there is none, where the result is false.</param>
    public bool TryLocate(CodePoint point, out RegisterLocations locations, out Decline why)
    {
        locations = null!;
        if (!_orc.TryFind(point.LookupAddress, out OrcEntry row))
        {
            why = new Decline(DeclineReason.NoUnwindRow, point.Address);
            return false;
        }

        if (!TryFindState(point, out ulong instruction, out FrameState state, out why) || !OrcCheck.Agrees(row, state, instruction, out why))
            return false;
        List<BaseRule> cfa = BaseRules(state, FrameBase.Cfa);
        if (cfa.Count == 0)
        {
            why = new Decline(DeclineReason.DepthMismatch, instruction, "no register tells the CFA");
            return false;
        }

        Symbol sp = state[Gpr.Rsp];
        locations = new RegisterLocations
        {
            Function = Function.Main.Start,
            Instruction = instruction,
            Cfa = cfa,
            Aligned = BaseRules(state, FrameBase.Aligned),
            Depth = sp.IsFrame && sp.Base == FrameBase.Cfa ? -sp.Offset : null,
            CalleeSaved = Locate(state),
            Arguments = LocateArguments(state),
        };
        return true;
    }

    private bool TryFindState(CodePoint point, out ulong instruction, out FrameState state, out Decline why)
    {
        instruction = 0;
        state = null!;
        why = default;
        FrameState? found = null;
        bool exists = false;
        foreach (ulong at in Candidates(point))
        {
            exists = true;
            if (!_walk.TryStateBefore(at, out FrameState before))
                continue;
            instruction = at;
            if (found is null)
                found = before;
            else
                found.Meet(before);
        }

        if (found is null)
        {
            // Decoded but not walked to: unwind data cut the only way there.
            string because = _graph.HasUnknownTargets ? "the function has jumps whose targets are not known" : "no path from the entry leads there";
            why = exists && _walk.Contradiction is { } contradiction
                ? contradiction
                : new Decline(DeclineReason.Unreached, point.Address, because);
            return false;
        }

        // While a call is out, the callee owns the caller-saved registers.
        if (point.IsReturnAddress)
            found.ForgetCallerSaved();
        state = found;
        return true;
    }

    /// <summary>The instruction at a trap; the calls that end at a return address (more than one only where decodings overlap).</summary>
    private IReadOnlyList<ulong> Candidates(CodePoint point)
    {
        if (!point.IsReturnAddress)
            return _graph.Instructions.ContainsKey(point.Address) ? [point.Address] : [];
        if (_callsByReturn is null)
        {
            _callsByReturn = [];
            foreach ((ulong at, Instruction candidate) in _graph.Instructions)
            {
                if (candidate.Mnemonic != Mnemonic.Call)
                    continue;
                if (!_callsByReturn.TryGetValue(candidate.NextIP, out List<ulong>? list))
                    _callsByReturn.Add(candidate.NextIP, list = new List<ulong>(1));
                list.Add(at);
            }
        }

        return _callsByReturn.TryGetValue(point.Address, out List<ulong>? calls) ? calls : [];
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

    /// <summary>An argument is wherever it has been kept: in a register, its own first, or on the stack.</summary>
    private static RegisterLocation[] LocateArguments(FrameState state)
    {
        var result = new RegisterLocation[KnownRegisters.Arguments.Length];
        for (int i = 0; i < result.Length; i++)
        {
            Gpr register = KnownRegisters.Arguments[i];
            for (int other = 0; other < 16 && result[i].Place == RegisterPlace.Lost; other++)
            {
                // Its own, then the others.
                var holder = (Gpr)((other + (int)register) % 16);
                if (state[holder] == Symbol.Entry(register))
                    result[i] = new RegisterLocation(RegisterPlace.InRegister, holder, default, 0, AlsoUnchanged: false);
            }

            if (result[i].Place == RegisterPlace.Lost && state.TryFindSaved(register, out Slot slot))
                result[i] = new RegisterLocation(RegisterPlace.OnStack, register, slot.Base, slot.Offset, AlsoUnchanged: false);
            for (int other = 0; other < 16 && result[i].Place == RegisterPlace.Lost; other++)
            {
                if (state[(Gpr)other] == Symbol.EntryLow(register))
                    result[i] = new RegisterLocation(RegisterPlace.InRegister, (Gpr)other, default, 0, AlsoUnchanged: false) { IsLowerHalf = true };
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
