using Panacea.Formats.Orc;
using Panacea.Kernel.Code;
using Panacea.Target;

namespace Panacea.Kernel.Unwind;

/// <summary>What the recovery of registers is built on.</summary>
/// <param name="Code">Pristine text.</param>
/// <param name="Functions">Finds functions.</param>
/// <param name="Orc">The kernel's unwind data.</param>
/// <param name="Stack">Reads stacks.</param>
/// <param name="Text">What is text; null where trampolines can't be told.</param>
/// <param name="Hints">What else is known of control flow, or null.</param>
public sealed record FrameAnalysis(
    ICodeSource Code, IFunctionLookup Functions, IOrcLookup Orc, IStackReader Stack, ITextMap? Text = null, IControlFlowHints? Hints = null)
{
    /// <summary>The state that the caller of one frame will see, from the frame's registers.</summary>
    /// <param name="frame">The frame.</param>
    /// <param name="registers">Its registers, as far as they are known.</param>
    /// <param name="state">The result; single registers may be unknown.</param>
    /// <param name="why">Why there is none.</param>
    /// <param name="known">Places that were found before, by where an activation stands: those of a recursion stand at the same place. Null keeps none.</param>
    public bool TryEntryState(StackFrame frame, in KnownRegisters registers, out EntryState state, out Decline why, Dictionary<CodePoint, RegisterLocations>? known = null)
    {
        state = null!;
        if (frame.Reliability != FrameReliability.Exact)
        {
            why = new Decline(DeclineReason.NotExact, frame.Ip);
            return false;
        }

        if (frame is not { Cfa: { } cfa, ReturnAddressAt: not null })
        {
            why = new Decline(DeclineReason.NoCaller, frame.Ip);
            return false;
        }

        if (Text is not null && frame.IsTrap && !Text.IsText(frame.Ip))
            return TryJustCalled(frame, registers, cfa, out state, out why);
        if (!Functions.TryFindFunction(frame.Point.LookupAddress, out FunctionParts function))
        {
            why = new Decline(DeclineReason.NoFunction, frame.Ip);
            return false;
        }

        if (known?.TryGetValue(frame.Point, out RegisterLocations? locations) != true)
        {
            if (!PrologueAnalysis.TryLocate(Code, function, frame.Point, Orc, Hints, out locations, out why))
                return false;
            known?.Add(frame.Point, locations);
        }

        if (!EntryRegisters.TryEvaluate(locations!, registers, Stack, out state, out why))
            return false;
        if (state.Cfa == cfa)
            return true;
        why = new Decline(DeclineReason.CfaMismatch, frame.Ip, $"unwound to 0x{cfa:x}, decoded to 0x{state.Cfa:x}");
        return false;
    }

    /// <summary>A call through a bad pointer: nothing of the callee has run, so its registers are its caller's.</summary>
    private bool TryJustCalled(StackFrame frame, in KnownRegisters registers, ulong cfa, out EntryState state, out Decline why)
    {
        state = null!;
        why = default;
        if (!Stack.TryReadUInt64(frame.Sp, out ulong back))
        {
            why = new Decline(DeclineReason.StackUnreadable, frame.Sp, "the return address");
            return false;
        }

        KnownRegisters entry = default;
        var places = new RegisterLocation[KnownRegisters.CalleeSaved.Length];
        for (int i = 0; i < places.Length; i++)
        {
            Gpr register = KnownRegisters.CalleeSaved[i];
            entry[register] = registers[register];
            places[i] = new RegisterLocation(RegisterPlace.InRegister, register, default, 0, AlsoUnchanged: true);
        }

        entry[Gpr.Rsp] = cfa;
        state = new EntryState(cfa, back, entry, new RegisterLocations
        {
            Function = frame.Ip,
            Instruction = frame.Ip,
            Cfa = [new BaseRule(Gpr.Rsp, 8)],
            Aligned = [],
            Depth = 8,
            CalleeSaved = places,
        });
        return true;
    }
}

/// <summary>Registers as of outer frames.</summary>
public static class FrameRegisters
{
    /// <summary>What can be said of the registers of frame <paramref name="index"/>, by undoing what each frame inside it saved.</summary>
    /// <param name="analysis">Text, functions, unwind data, stack.</param>
    /// <param name="frames">Frames as the unwinder gave them, innermost first.</param>
    /// <param name="index">The frame asked for.</param>
    /// <param name="registers">RSP always; those of RBX, RBP, R12–R15 that are proved; all sixteen where the frame was interrupted.</param>
    /// <param name="why">The innermost obstacle, where a callee-saved register is unknown; else <see cref="DeclineReason.None"/>.</param>
    /// <returns>True where all of RBX, RBP, R12–R15 are known.</returns>
    public static bool TryRecover(
        FrameAnalysis analysis, IReadOnlyList<StackFrame> frames, int index, out KnownRegisters registers, out Decline why)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(index);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(index, frames.Count);
        why = default;

        // A frame that was interrupted brings all its registers: nothing inside it matters.
        int from = index;
        while (from > 0 && frames[from].Regs is null)
            from--;
        registers = frames[from].Registers;
        var known = new Dictionary<CodePoint, RegisterLocations>();
        for (int i = from; i < index; i++)
        {
            KnownRegisters outer = frames[i + 1].Registers;
            if (frames[i + 1].Reliability != FrameReliability.Exact)
            {
                why = new Decline(DeclineReason.NotExact, frames[i + 1].Ip);
                registers = outer;
                continue;
            }

            if (analysis.TryEntryState(frames[i], registers, out EntryState state, out Decline obstacle, known))
            {
                foreach (Gpr register in KnownRegisters.CalleeSaved)
                    outer[register] = state.Registers[register] ?? outer[register];
            }
            else if (why.Reason == DeclineReason.None)
            {
                why = obstacle;
            }

            registers = outer;
        }

        if (registers.HasCalleeSaved)
        {
            why = default;
            return true;
        }

        if (why.Reason == DeclineReason.None)
            why = new Decline(DeclineReason.RegisterLost, frames[index].Ip);
        return false;
    }
}
