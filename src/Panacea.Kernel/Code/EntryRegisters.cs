using Panacea.Formats.Orc;
using Panacea.Target;

namespace Panacea.Kernel.Code;

/// <summary>Reads 64-bit values of a stack.</summary>
public interface IStackReader
{
    /// <summary>Reads eight bytes at a guest-virtual address.</summary>
    /// <returns>False where they can't be read or lie on no known stack.</returns>
    bool TryReadUInt64(ulong address, out ulong value);
}

/// <summary>What a function's caller will see when the function returns.</summary>
/// <param name="Cfa">The caller's stack pointer after the return.</param>
/// <param name="ReturnAddress">What stands at CFA - 8.</param>
/// <param name="Registers">RSP (= CFA) and those of RBX, RBP, R12–R15 that could be recovered; others are unknown.</param>
/// <param name="Locations">Where they were found.</param>
public sealed record EntryState(ulong Cfa, ulong ReturnAddress, KnownRegisters Registers, RegisterLocations Locations)
{
    /// <summary>Those of RDI, RSI, RDX, RCX, R8 and R9 as of entry that could be recovered.</summary>
    public KnownRegisters Arguments { get; init; }
}

/// <summary>Turns the places that <see cref="PrologueAnalysis"/> found into values of one activation.</summary>
public static class EntryRegisters
{
    /// <summary>Values of the callee-saved registers as of the entry of a function, from its registers and stack now.</summary>
    /// <param name="code">Pristine text.</param>
    /// <param name="function">The whole function.</param>
    /// <param name="point">Where this activation stands.</param>
    /// <param name="registers">Its registers there: as of the trap, or as they will be when the call returns. RSP must be known.</param>
    /// <param name="stack">The stack.</param>
    /// <param name="orc">The kernel's unwind data.</param>
    /// <param name="hints">What else is known of control flow, or null.</param>
    /// <param name="state">The result; single registers may be unknown in it.</param>
    /// <param name="why">Why there is none, where the result is false.</param>
    public static bool TryRestore(
        ICodeSource code, in FunctionParts function, CodePoint point, in KnownRegisters registers, IStackReader stack, IOrcLookup orc,
        IControlFlowHints? hints, out EntryState state, out Decline why)
    {
        state = null!;
        return PrologueAnalysis.TryLocate(code, function, point, orc, hints, out RegisterLocations locations, out why)
            && TryEvaluate(locations, registers, stack, out state, out why);
    }

    /// <summary>The same from places that are known already.</summary>
    public static bool TryEvaluate(
        RegisterLocations locations, in KnownRegisters registers, IStackReader stack, out EntryState state, out Decline why)
    {
        state = null!;
        if (!TryBase(locations.Cfa, registers, stack, locations.Instruction, out ulong cfa, out why))
            return false;
        ulong? aligned = null;
        if (locations.Aligned.Count > 0 && TryBase(locations.Aligned, registers, stack, locations.Instruction, out ulong found, out _))
            aligned = found;
        ulong returnAddressAt = unchecked(cfa - 8);
        if (!stack.TryReadUInt64(returnAddressAt, out ulong returnAddress))
        {
            why = new Decline(DeclineReason.StackUnreadable, returnAddressAt, "the return address");
            return false;
        }

        KnownRegisters entry = default;
        entry[Gpr.Rsp] = cfa;
        foreach (Gpr register in KnownRegisters.CalleeSaved)
        {
            RegisterLocation location = locations[register];
            if (location.Place == RegisterPlace.InRegister)
            {
                entry[register] = registers[location.Holder];
                continue;
            }

            if (location.Place != RegisterPlace.OnStack || (location.Base == FrameBase.Cfa ? cfa : aligned) is not { } from)
                continue;
            ulong at = unchecked(from + (ulong)(long)location.Offset);
            if (!stack.TryReadUInt64(at, out ulong value))
            {
                why = new Decline(DeclineReason.StackUnreadable, at, $"where {register} was saved");
                return false;
            }

            if (location.AlsoUnchanged && registers.TryGet(register, out ulong held) && held != value)
            {
                why = new Decline(DeclineReason.SlotDisagrees, at, $"{register} is 0x{held:x}, its save slot holds 0x{value:x}");
                return false;
            }

            entry[register] = value;
        }

        state = new EntryState(cfa, returnAddress, entry, locations) { Arguments = Arguments(locations, registers, stack, cfa, aligned) };
        return true;
    }

    private static KnownRegisters Arguments(RegisterLocations locations, in KnownRegisters registers, IStackReader stack, ulong cfa, ulong? aligned)
    {
        KnownRegisters found = default;
        for (int i = 0; i < locations.Arguments.Count; i++)
        {
            RegisterLocation location = locations.Arguments[i];
            ulong? value = null;
            if (location.Place == RegisterPlace.InRegister)
                value = registers[location.Holder];
            else if (location.Place == RegisterPlace.OnStack && (location.Base == FrameBase.Cfa ? cfa : location.Base == FrameBase.Aligned ? aligned : null) is { } from
                && stack.TryReadUInt64(unchecked(from + (ulong)(long)location.Offset), out ulong kept))
                value = kept;
            found[KnownRegisters.Arguments[i]] = location.IsLowerHalf ? value & uint.MaxValue : value;
        }

        return found;
    }

    /// <summary>A base's address. Every rule that can be evaluated must give the same; but a register that only happens to point into the frame is outvoted by the stack pointer: a mistake has changed it.</summary>
    private static bool TryBase(
        IReadOnlyList<BaseRule> rules, in KnownRegisters registers, IStackReader stack, ulong at, out ulong address, out Decline why)
    {
        ulong? agreed = null;
        bool isBySp = false;
        address = 0;
        for (int pass = 0; pass < 2; pass++)
        {
            foreach (BaseRule rule in rules)
            {
                if ((rule.Register == Gpr.Rsp) != (pass == 0) || !registers.TryGet(rule.Register, out ulong value))
                    continue;
                ulong candidate = unchecked(value + (ulong)(long)rule.Offset);
                if (rule.Indirect)
                {
                    if (!stack.TryReadUInt64(candidate, out ulong stored))
                        continue;
                    candidate = unchecked(stored + (ulong)(long)rule.Addend);
                }

                if (agreed is { } other && other != candidate)
                {
                    if (isBySp && rule.Register is not (Gpr.Rsp or Gpr.Rbp))
                        continue;
                    why = new Decline(DeclineReason.CfaMismatch, at, $"{rule.Register} says 0x{candidate:x}, another register 0x{other:x}");
                    return false;
                }

                (agreed, isBySp) = (candidate, isBySp || rule.Register == Gpr.Rsp);
            }
        }

        address = agreed.GetValueOrDefault();
        why = agreed is null ? new Decline(DeclineReason.RegisterUnknown, at, "no register that tells the CFA is known") : default;
        return agreed is not null;
    }
}
