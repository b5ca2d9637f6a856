using Panacea.Target;

namespace Panacea.Kernel.Code;

/// <summary>Where the value lies that a callee-saved register held when the function was entered.</summary>
public enum RegisterPlace
{
    /// <summary>Nowhere that could be shown.</summary>
    Lost,

    /// <summary>In a register: as a rule still in its own.</summary>
    InRegister,

    /// <summary>On the stack.</summary>
    OnStack,
}

/// <summary>Where one callee-saved register's value as of entry lies.</summary>
/// <param name="Place">Kind of place.</param>
/// <param name="Holder">For <see cref="RegisterPlace.InRegister"/>: the register that holds it.</param>
/// <param name="Base">For <see cref="RegisterPlace.OnStack"/>: what <paramref name="Offset"/> is counted from.</param>
/// <param name="Offset">For <see cref="RegisterPlace.OnStack"/>: bytes from the base, as a rule negative.</param>
/// <param name="AlsoUnchanged">On the stack, and its own register still holds it too.</param>
public readonly record struct RegisterLocation(RegisterPlace Place, Gpr Holder, FrameBase Base, int Offset, bool AlsoUnchanged)
{
    /// <summary>Of an argument: only its lower half lies there. Of one of 32 bits that is all there is to it.</summary>
    public bool IsLowerHalf { get; init; }

    /// <inheritdoc/>
    public override string ToString() => Place switch
    {
        RegisterPlace.InRegister => $"in {Holder}",
        RegisterPlace.OnStack => $"at [{Base}{Offset:+0;-0;+0}]",
        _ => "lost",
    };
}

/// <summary>A register or a pointer in memory that tells a frame base's address.</summary>
/// <param name="Register">The register it is computed from.</param>
/// <param name="Offset">Bytes to add to the register for the base's address, or, where <paramref name="Indirect"/>, for the address of a slot that holds it.</param>
/// <param name="Indirect">The address is in memory, at register + offset; <paramref name="Addend"/> is added to what stands there.</param>
/// <param name="Addend">Bytes to add to what a slot holds.</param>
public readonly record struct BaseRule(Gpr Register, int Offset, bool Indirect = false, int Addend = 0);

/// <summary>
/// What decoding found about one instruction of a function: how deep the stack is there and where the callee-saved registers' values as of entry lie. Symbolic:
/// it holds for every activation of the function that stands at this instruction, and can be computed ahead of any crash.
/// </summary>
public sealed record RegisterLocations
{
    /// <summary>The function's first instruction.</summary>
    public required ulong Function { get; init; }

    /// <summary>The instruction: where the trap happened, or the call whose return address was given.</summary>
    public required ulong Instruction { get; init; }

    /// <summary>Ways to find the CFA, best first; never empty.</summary>
    public required IReadOnlyList<BaseRule> Cfa { get; init; }

    /// <summary>Ways to find <see cref="FrameBase.Aligned"/>; empty where the function does not realign its stack.</summary>
    public required IReadOnlyList<BaseRule> Aligned { get; init; }

    /// <summary>Bytes from the stack pointer up to the CFA; null where the depth is not constant.</summary>
    public required int? Depth { get; init; }

    /// <summary>In the order of <see cref="KnownRegisters.CalleeSaved"/>: RBX, RBP, R12, R13, R14, R15.</summary>
    public required IReadOnlyList<RegisterLocation> CalleeSaved { get; init; }

    /// <summary>In the order of <see cref="KnownRegisters.Arguments"/>: where the arguments lie that the function got in RDI, RSI, RDX, RCX, R8 and R9.</summary>
    public IReadOnlyList<RegisterLocation> Arguments { get; init; } = [];

    /// <summary>One callee-saved register's place.</summary>
    /// <exception cref="ArgumentOutOfRangeException">Not one of the six.</exception>
    public RegisterLocation this[Gpr register]
    {
        get
        {
            int index = KnownRegisters.CalleeSaved.IndexOf(register);
            ArgumentOutOfRangeException.ThrowIfNegative(index, nameof(register));
            return CalleeSaved[index];
        }
    }
}
