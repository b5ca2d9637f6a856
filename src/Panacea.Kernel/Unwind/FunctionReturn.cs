using Panacea.Kernel.Code;
using Panacea.Target;

namespace Panacea.Kernel.Unwind;

/// <summary>The state in which a function has just returned to its caller, but for its result.</summary>
/// <param name="Rip">The return address.</param>
/// <param name="Rsp">The caller's stack pointer behind the return.</param>
/// <param name="CalleeSaved">RSP, RBX, RBP, R12–R15, all known. Every other register may hold anything: the ABI lets a callee leave them so; RAX is the result.</param>
/// <param name="Function">The function that is made to return.</param>
/// <param name="Caller">The frame it returns into.</param>
public sealed record ReturnState(ulong Rip, ulong Rsp, KnownRegisters CalleeSaved, FunctionRange? Function, StackFrame Caller)
{
    /// <summary>Those of the function's arguments that it has kept, by the registers that it got them in.</summary>
    public KnownRegisters Arguments { get; init; }

    /// <summary>Flags without what belongs to the abandoned code: the arithmetic ones, direction, single stepping, resume, and user access (AC, set by STAC); IF is kept.</summary>
    public static ulong CleanFlags(ulong flags)
    {
        // CF, PF, AF, ZF, SF, TF, DF, OF, RF (it would let the next instruction escape a breakpoint), AC.
        const ulong Cleared = 0x1 | 0x4 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 0x800 | 0x10000 | 0x40000;
        return flags & ~Cleared;
    }

    /// <summary><paramref name="from"/> changed to this state with <paramref name="result"/> in RAX, and with <see cref="CleanFlags"/>.</summary>
    public PtRegs Apply(in PtRegs from, ulong result)
    {
        PtRegs regs = from.With(Gpr.Rax, result);
        foreach (Gpr register in KnownRegisters.CalleeSaved)
        {
            if (CalleeSaved.TryGet(register, out ulong value))
                regs = regs.With(register, value);
        }

        return regs.With(Gpr.Rsp, Rsp) with { Ip = Rip, Flags = CleanFlags(from.Flags) };
    }
}

/// <summary>Computes what the registers are once a function has returned: the heart of the repair "error return".</summary>
public static class FunctionReturn
{
    /// <summary>The state behind the return of frame <paramref name="index"/>'s function into frame <paramref name="index"/> + 1.</summary>
    /// <param name="analysis">Text, functions, unwind data, stack.</param>
    /// <param name="frames">Frames as the unwinder gave them, innermost first.</param>
    /// <param name="index">The frame whose function is to return. Frames inside it are abandoned.</param>
    /// <param name="state">The result.</param>
    /// <param name="why">Why there is none: then this repair does not apply.</param>
    public static bool TryCompute(FrameAnalysis analysis, IReadOnlyList<StackFrame> frames, int index, out ReturnState state, out Decline why)
    {
        state = null!;
        ArgumentOutOfRangeException.ThrowIfNegative(index);
        if (index + 1 >= frames.Count)
        {
            why = new Decline(DeclineReason.NoCaller, index < frames.Count ? frames[index].Ip : 0);
            return false;
        }

        StackFrame frame = frames[index], caller = frames[index + 1];
        if (caller.Reliability != FrameReliability.Exact)
        {
            why = new Decline(DeclineReason.NotExact, caller.Ip, "the caller was found by scanning");
            return false;
        }

        FrameRegisters.TryRecover(analysis, frames, index, out KnownRegisters registers, out Decline obstacle);
        if (!analysis.TryEntryState(frame, registers, out EntryState entry, out why))
            return false;
        if (!entry.Registers.HasCalleeSaved)
        {
            why = obstacle.Reason != DeclineReason.None ? obstacle : new Decline(DeclineReason.RegisterLost, frame.Ip);
            return false;
        }

        if (entry.ReturnAddress != caller.Ip || entry.Cfa != caller.Sp)
        {
            why = new Decline(DeclineReason.CfaMismatch, frame.Ip, "the caller's frame is another one");
            return false;
        }

        if (analysis.Text?.TrampolineName(entry.ReturnAddress) is { } trampoline)
        {
            why = new Decline(DeclineReason.Trampoline, entry.ReturnAddress, trampoline);
            return false;
        }

        if (!CallSites.IsPrecededByCall(analysis.Code, entry.ReturnAddress))
        {
            why = new Decline(DeclineReason.NotAReturnAddress, entry.ReturnAddress);
            return false;
        }

        FunctionRange? function = analysis.Functions.TryFindFunction(frame.Point.LookupAddress, out FunctionParts parts) ? parts.Main : null;
        state = new ReturnState(entry.ReturnAddress, entry.Cfa, entry.Registers, function, caller) { Arguments = entry.Arguments };
        why = default;
        return true;
    }
}
