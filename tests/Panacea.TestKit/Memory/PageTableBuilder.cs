using Panacea.Target;
using Panacea.Target.Paging;

namespace Panacea.TestKit.Memory;

/// <summary>What a mapping allows.</summary>
[Flags]
public enum PageAccess
{
    /// <summary>Kernel, read-only, executable.</summary>
    None = 0,

    /// <summary>R/W.</summary>
    Writable = 1,

    /// <summary>U/S.</summary>
    User = 2,

    /// <summary>NX.</summary>
    NoExecute = 4,
}

/// <summary>Builds x86-64 page tables, 4 or 5 levels, with 4 KiB, 2 MiB and 1 GiB pages, in a <see cref="SparsePhysicalMemory"/>
/// (Intel SDM vol. 3A, 4.5). Inner tables allow everything; the last entry says what a page allows.</summary>
public sealed class PageTableBuilder
{
    /// <summary>Page size of the lowest level.</summary>
    public const ulong Size4K = 1UL << 12;

    /// <summary>Page size of a large page in level 2.</summary>
    public const ulong Size2M = 1UL << 21;

    /// <summary>Page size of a large page in level 3.</summary>
    public const ulong Size1G = 1UL << 30;

    private readonly SparsePhysicalMemory _memory;
    private readonly ulong _encryptionMask;
    private ulong _nextTable;

    /// <summary>Tables are laid out one page after another from <paramref name="tables"/>; the first is the root.</summary>
    public PageTableBuilder(SparsePhysicalMemory memory, PagingMode mode, ulong tables, ulong encryptionMask = 0)
    {
        _memory = memory;
        Mode = mode;
        Root = new PhysicalAddress(tables);
        _encryptionMask = encryptionMask;
        _nextTable = tables + Size4K;
    }

    /// <summary>Guest-physical address of the top table.</summary>
    public PhysicalAddress Root { get; }

    /// <summary>Paging depth.</summary>
    public PagingMode Mode { get; }

    /// <summary>First guest-physical address past the tables so far.</summary>
    public ulong TablesEnd => _nextTable;

    /// <summary>The address space that these tables make.</summary>
    public AddressSpace Space => new(_memory, Root, Mode, _encryptionMask);

    /// <summary>Maps one page. Both addresses must be aligned to <paramref name="pageSize"/>.</summary>
    public PageTableBuilder Map(ulong address, ulong physical, ulong pageSize = Size4K, PageAccess access = PageAccess.Writable)
    {
        int leaf = pageSize switch
        {
            Size4K => 1,
            Size2M => 2,
            Size1G => 3,
            _ => throw new ArgumentOutOfRangeException(nameof(pageSize)),
        };
        if (address % pageSize != 0 || physical % pageSize != 0)
            throw new ArgumentException($"0x{address:x} -> 0x{physical:x} is not aligned to 0x{pageSize:x}");
        ulong entry = physical | 1 | _encryptionMask | (leaf > 1 ? 0x80UL : 0)
            | (access.HasFlag(PageAccess.Writable) ? 2UL : 0) | (access.HasFlag(PageAccess.User) ? 4UL : 0) | (access.HasFlag(PageAccess.NoExecute) ? 1UL << 63 : 0);
        _memory.WriteUInt64(EntryAddress(address, leaf), entry);
        return this;
    }

    /// <summary>Maps [address, address + length) to consecutive guest-physical memory in pages of one size.</summary>
    public PageTableBuilder MapRange(ulong address, ulong physical, ulong length, ulong pageSize = Size4K, PageAccess access = PageAccess.Writable)
    {
        for (ulong done = 0; done < length; done += pageSize)
            Map(unchecked(address + done), physical + done, pageSize, access);
        return this;
    }

    /// <summary>Where the entry of <paramref name="address"/> in the table of <paramref name="level"/> (1: lowest) lies; makes the tables above it.</summary>
    public ulong EntryAddress(ulong address, int level)
    {
        ulong table = Root.Value;
        for (int at = (int)Mode; ; at--)
        {
            ulong slot = table + (((address >> (12 + (9 * (at - 1)))) & 511) * 8);
            if (at == level)
                return slot;
            ulong entry = _memory.ReadUInt64(slot);
            if ((entry & 1) == 0)
            {
                entry = _nextTable | 7 | _encryptionMask;
                _nextTable += Size4K;
                _memory.WriteUInt64(slot, entry);
            }
            else if ((entry & 0x80) != 0)
            {
                throw new InvalidOperationException($"0x{address:x} lies in a large page already");
            }

            table = entry & 0x000f_ffff_ffff_f000 & ~_encryptionMask;
        }
    }
}
