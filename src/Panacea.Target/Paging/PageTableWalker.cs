using System.Buffers.Binary;

namespace Panacea.Target.Paging;

/// <summary>Walks x86-64 page tables in guest-physical memory (Intel SDM vol. 3A, 4.5: 4-level and 5-level paging).</summary>
/// <remarks>Stateless over the memory it is given: a walk is at most five reads, whatever the guest wrote into its tables.</remarks>
public static class PageTableWalker
{
    private const ulong Present = 1 << 0;
    private const ulong WritableBit = 1 << 1;
    private const ulong UserBit = 1 << 2;
    private const ulong LargePage = 1 << 7;
    private const ulong NoExecuteBit = 1UL << 63;

    /// <summary>Bits 51:12, where an entry holds the next table's or page's frame (without any memory-encryption bit).</summary>
    private const ulong FrameMask = 0x000f_ffff_ffff_f000;

    /// <summary>True where the unused upper bits repeat the top address bit, as the CPU demands.</summary>
    public static bool IsCanonical(ulong address, PagingMode mode)
    {
        int shift = mode == PagingMode.FiveLevel ? 64 - 57 : 64 - 48;
        return unchecked((long)(address << shift) >> shift == (long)address);
    }

    /// <summary>Translates one guest-virtual address.</summary>
    /// <param name="memory">Guest-physical memory.</param>
    /// <param name="root">Guest-physical address of the top table; low twelve bits (PCID) are ignored.</param>
    /// <param name="mode">Paging depth.</param>
    /// <param name="encryptionMask">The guest's memory-encryption bit (VMCOREINFO's sme_mask), zero where there is none.</param>
    /// <param name="address">The address to translate.</param>
    /// <param name="translation">The result, where the call returns true.</param>
    /// <param name="fault">Why not, where it returns false.</param>
    public static bool TryTranslate(
        IGuestMemory memory, PhysicalAddress root, PagingMode mode, ulong encryptionMask, VirtualAddress address,
        out Translation translation, out MemoryFault fault)
    {
        translation = default;
        if (!IsCanonical(address.Value, mode))
        {
            fault = new MemoryFault(MemoryFaultKind.NonCanonical, address.Value, IsPhysical: false);
            return false;
        }

        ulong table = root.Value & FrameMask & ~encryptionMask;
        bool writable = true, user = true, noExecute = false;
        Span<byte> raw = stackalloc byte[8];
        for (int level = (int)mode; level >= 1; level--)
        {
            int shift = 12 + (9 * (level - 1));
            ulong index = (address.Value >> shift) & 0x1ff;
            if (!memory.TryRead(new PhysicalAddress(table + (index * 8)), raw, out fault))
                return false;
            ulong entry = BinaryPrimitives.ReadUInt64LittleEndian(raw);
            if ((entry & Present) == 0)
            {
                fault = new MemoryFault(MemoryFaultKind.NotPresent, address.Value, IsPhysical: false);
                return false;
            }

            writable &= (entry & WritableBit) != 0;
            user &= (entry & UserBit) != 0;
            noExecute |= (entry & NoExecuteBit) != 0;
            bool leaf = level == 1 || (entry & LargePage) != 0;
            if (!leaf)
            {
                table = entry & FrameMask & ~encryptionMask;
                continue;
            }

            ulong pageSize = 1UL << shift;
            ulong offsetMask = pageSize - 1;

            // Bit 12 of a large page's entry is PAT, bits above it up to the page size are reserved (must be zero).
            ulong reserved = level == 1 ? 0 : offsetMask & FrameMask & ~(1UL << 12);
            if (level > 3 || (entry & reserved & ~encryptionMask) != 0)
            {
                fault = new MemoryFault(MemoryFaultKind.MalformedPageTable, address.Value, IsPhysical: false);
                return false;
            }

            ulong frame = entry & FrameMask & ~offsetMask & ~encryptionMask;
            translation = new Translation(new PhysicalAddress(frame | (address.Value & offsetMask)), pageSize, writable, user, noExecute);
            fault = default;
            return true;
        }

        fault = new MemoryFault(MemoryFaultKind.MalformedPageTable, address.Value, IsPhysical: false);
        return false;
    }
}
