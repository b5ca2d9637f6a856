using Panacea.Target;

namespace Panacea.Kernel.Code;

/// <summary>General registers of which some are known: what is not known has no value, rather than a zero.</summary>
public struct KnownRegisters
{
    private GprFile _values;
    private ushort _known;

    /// <summary>The registers that a called function gives back as it found them (System V ABI), without RSP.</summary>
    public static ReadOnlySpan<Gpr> CalleeSaved => [Gpr.Rbx, Gpr.Rbp, Gpr.R12, Gpr.R13, Gpr.R14, Gpr.R15];

    /// <summary>The registers that a function gets its arguments in (System V ABI).</summary>
    public static ReadOnlySpan<Gpr> Arguments => [Gpr.Rdi, Gpr.Rsi, Gpr.Rdx, Gpr.Rcx, Gpr.R8, Gpr.R9];

    /// <summary>All sixteen known.</summary>
    public static KnownRegisters All(in GprFile values) => new() { _values = values, _known = 0xffff };

    /// <summary>The value, or null where it is not known. Setting null forgets it.</summary>
    public ulong? this[Gpr register]
    {
        readonly get => Knows(register) ? _values[register] : null;
        set
        {
            _values[register] = value.GetValueOrDefault();
            _known = value.HasValue ? (ushort)(_known | Bit(register)) : (ushort)(_known & ~Bit(register));
        }
    }

    /// <summary>True where the register's value is known.</summary>
    public readonly bool Knows(Gpr register) => (_known & Bit(register)) != 0;

    /// <summary>True where all sixteen are known.</summary>
    public readonly bool IsComplete => _known == 0xffff;

    /// <summary>True where RBX, RBP and R12 to R15 are known.</summary>
    public readonly bool HasCalleeSaved
    {
        get
        {
            foreach (Gpr register in CalleeSaved)
            {
                if (!Knows(register))
                    return false;
            }

            return true;
        }
    }

    /// <summary>The value, where it is known.</summary>
    public readonly bool TryGet(Gpr register, out ulong value)
    {
        value = Knows(register) ? _values[register] : 0;
        return Knows(register);
    }

    private static ushort Bit(Gpr register) => (ushort)(1 << (int)register);
}
