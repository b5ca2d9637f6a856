namespace Panacea.Kernel.Code;

/// <summary>What a bad pointer looks like.</summary>
public enum AddressClass
{
    /// <summary>Nothing in particular: a kernel address that nothing is mapped at, or one that is perfectly fine.</summary>
    Wild,

    /// <summary>NULL or a small offset from it.</summary>
    Null,

    /// <summary>ERR_PTR(-1) to ERR_PTR(-4095), or a small offset from one.</summary>
    ErrPtr,

    /// <summary>LIST_POISON1: the next pointer of a list entry that was deleted.</summary>
    ListPoison1,

    /// <summary>LIST_POISON2: the prev pointer of a list entry that was deleted.</summary>
    ListPoison2,

    /// <summary>Another value from the poison range (POISON_POINTER_DELTA, 0xdead000000000000).</summary>
    Poison,

    /// <summary>0x6b6b…: read from a slab object after it was freed (POISON_FREE).</summary>
    FreedSlab,

    /// <summary>0x5a5a…: read from a slab object before it was initialised (POISON_INUSE).</summary>
    UninitialisedSlab,

    /// <summary>0xaaaa…: read from a page after it was freed (PAGE_POISON, CONFIG_PAGE_POISONING).</summary>
    FreedPage,

    /// <summary>Bits 63:47 (or 63:56) are not all equal: the CPU takes no such address.</summary>
    NonCanonical,

    /// <summary>In the user half.</summary>
    User,
}

/// <summary>An address and what it looks like.</summary>
/// <param name="Class">What.</param>
/// <param name="Offset">Bytes from the value that gives it away: from NULL, from the poison, from the ERR_PTR.</param>
/// <param name="Errno">For <see cref="AddressClass.ErrPtr"/>: 1 to 4095; else 0.</param>
public readonly record struct ClassifiedAddress(AddressClass Class, long Offset = 0, int Errno = 0)
{
    /// <summary>Farthest member of a structure that is still told as "NULL + offset" from the address alone; the kernel's own report uses one page.</summary>
    private const ulong NearNull = 4096;

    private const long Farthest = 64 << 10;
    private const int MaxErrno = 4095;
    private const ulong PoisonDelta = 0xdead_0000_0000_0000;

    /// <summary>Says what an address is, from itself and from the pointer that it was computed from.</summary>
    /// <param name="address">The address accessed.</param>
    /// <param name="pointer">The base register's value; null where there is none or it is not known.</param>
    /// <param name="linearBits">48, or 57 with five-level paging.</param>
    /// <remarks>Constants: include/linux/poison.h, include/linux/err.h.</remarks>
    public static ClassifiedAddress Of(ulong address, ulong? pointer, int linearBits = 48)
    {
        // The pointer knows best: 0xfffffffffffffff4 + 0x18 wraps to a small address, and the cause is ERR_PTR(-ENOMEM), not NULL.
        if (pointer is { } p && TryOfPointer(p, unchecked((long)(address - p)), out ClassifiedAddress told))
            return told;
        if (TryOfPointer(address, 0, out told))
            return told;
        int shift = 64 - linearBits;
        if (unchecked((ulong)((long)(address << shift) >> shift)) != address)
            return new ClassifiedAddress(AddressClass.NonCanonical);
        return new ClassifiedAddress(address >> 63 == 0 ? AddressClass.User : AddressClass.Wild);
    }

    /// <inheritdoc/>
    public override string ToString() => Class switch
    {
        AddressClass.Null => Offset == 0 ? "NULL" : $"NULL + 0x{Offset:x}",
        AddressClass.ErrPtr => $"ERR_PTR(-{(object?)Errnos.Name(Errno) ?? Errno}){Plus(Offset)}",
        AddressClass.ListPoison1 => $"LIST_POISON1{Plus(Offset)}: entry already deleted from its list",
        AddressClass.ListPoison2 => $"LIST_POISON2{Plus(Offset)}: entry already deleted from its list",
        AddressClass.Poison => PoisonName(Offset) is { Length: > 0 } name ? name : $"pointer poison{Plus(Offset)}",
        AddressClass.FreedSlab => $"slab poison 0x6b{Plus(Offset)}: used after it was freed",
        AddressClass.UninitialisedSlab => $"slab poison 0x5a{Plus(Offset)}: used before it was initialised",
        AddressClass.FreedPage => $"page poison 0xaa{Plus(Offset)}: used after its page was freed",
        AddressClass.NonCanonical => "non-canonical address",
        AddressClass.User => "user-space address",
        _ => "wild kernel address",
    };

    /// <summary>Poison values by their distance from POISON_POINTER_DELTA (include/linux/poison.h; NET_PTR_POISON_VAL, TIMER_ENTRY_STATIC, MUTEX_POISON_WW_CTX).</summary>
    private static string PoisonName(long offset) => offset switch
    {
        0 => "POISON_POINTER_DELTA",
        0x40 => "PP_SIGNATURE (a page of a network page pool)",
        0x300 => "TIMER_ENTRY_STATIC (a timer that is not pending)",
        0x400 => "TAIL_MAPPING (page.mapping of a tail page)",
        0x500 => "MUTEX_POISON_WW_CTX",
        0xeb9f => "BPF_PTR_POISON",
        0x801 => "NET_PTR_POISON_VAL",
        _ => "",
    };

    private static string Plus(long offset) => offset == 0 ? "" : offset > 0 ? $" + 0x{offset:x}" : $" - 0x{unchecked((ulong)-offset):x}";

    private static bool TryOfPointer(ulong p, long offset, out ClassifiedAddress told)
    {
        told = default;
        if (offset is < -Farthest or > Farthest)
            return false;
        if (p == 0 && offset >= 0)
            told = new ClassifiedAddress(AddressClass.Null, offset);
        else if (p < NearNull)
            told = new ClassifiedAddress(AddressClass.Null, unchecked((long)p + offset));
        else if (p >= unchecked((ulong)-MaxErrno))
            told = new ClassifiedAddress(AddressClass.ErrPtr, offset, (int)unchecked(0 - p));
        else if (p >> 48 == PoisonDelta >> 48)
            told = OfPoison(p, offset);
        else if (IsFill(p, 0x6b))
            told = new ClassifiedAddress(AddressClass.FreedSlab, FillOffset(p, 0x6b) + offset);
        else if (IsFill(p, 0x5a))
            told = new ClassifiedAddress(AddressClass.UninitialisedSlab, FillOffset(p, 0x5a) + offset);
        else if (IsFill(p, 0xaa))
            told = new ClassifiedAddress(AddressClass.FreedPage, FillOffset(p, 0xaa) + offset);
        else
            return false;
        return true;
    }

    private static ClassifiedAddress OfPoison(ulong p, long offset) => (p & 0xffff_ffff_ffff) switch
    {
        0x100 => new ClassifiedAddress(AddressClass.ListPoison1, offset),
        0x122 => new ClassifiedAddress(AddressClass.ListPoison2, offset),
        >= 0xf0 and < 0x122 => new ClassifiedAddress(AddressClass.ListPoison1, unchecked((long)(p - PoisonDelta - 0x100)) + offset),
        > 0x122 and < 0x180 => new ClassifiedAddress(AddressClass.ListPoison2, unchecked((long)(p - PoisonDelta - 0x122)) + offset),
        _ => new ClassifiedAddress(AddressClass.Poison, unchecked((long)(p - PoisonDelta)) + offset),
    };

    /// <summary>The upper six bytes are the fill byte: a member's offset changes only the lower ones. 0xa5 ends a poisoned object (POISON_END).</summary>
    private static bool IsFill(ulong p, byte fill) => p >> 16 == (Fill(fill) >> 16) || (p & ~0xffUL) == (Fill(fill) & ~0xffUL);

    private static long FillOffset(ulong p, byte fill) => unchecked((long)(p - Fill(fill)));

    private static ulong Fill(byte fill) => fill * 0x0101_0101_0101_0101UL;
}
