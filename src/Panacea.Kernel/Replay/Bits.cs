namespace Panacea.Kernel.Replay;

/// <summary>A value of up to 64 bits, of which some may not be known.</summary>
/// <param name="Value">The bits; those that are not known mean nothing.</param>
/// <param name="Known">Which are known.</param>
internal readonly record struct Bits(ulong Value, ulong Known)
{
    /// <summary>All known.</summary>
    public static Bits Of(ulong value) => new(value, ulong.MaxValue);

    /// <summary>Nothing is known.</summary>
    public static Bits None => default;

    /// <summary>The bits that so many bytes have.</summary>
    public static ulong Mask(int bytes) => bytes >= 8 ? ulong.MaxValue : (1UL << (bytes * 8)) - 1;

    /// <summary>All bits of the lowest <paramref name="bytes"/> bytes are known.</summary>
    public bool Knows(int bytes) => (Known & Mask(bytes)) == Mask(bytes);

    /// <summary>The lowest bytes; the others are zero, and known to be.</summary>
    public Bits ZeroExtended(int bytes) => new(Value & Mask(bytes), Known | ~Mask(bytes));

    /// <summary>The lowest bytes with their sign in all others.</summary>
    public Bits SignExtended(int bytes)
    {
        if (!Knows(bytes))
            return None;
        int shift = 64 - (bytes * 8);
        return Of(unchecked((ulong)((long)(Value << shift) >> shift)));
    }

    /// <summary>This value with other lowest bytes.</summary>
    public Bits With(Bits low, int bytes)
    {
        ulong mask = Mask(bytes);
        return new((Value & ~mask) | (low.Value & mask), (Known & ~mask) | (low.Known & mask));
    }
}
