using System.Buffers.Binary;
using Panacea.Target;
using Panacea.Target.Paging;

namespace Panacea.Kernel.Image;

/// <summary>One run of equally protected pages of the kernel's own mapping.</summary>
/// <param name="Start">First guest-virtual address.</param>
/// <param name="Length">Bytes.</param>
/// <param name="Writable">The kernel may write there: data, bss.</param>
/// <param name="Executable">Text.</param>
public readonly record struct KernelExtent(ulong Start, ulong Length, bool Writable, bool Executable)
{
    /// <summary>First address past the extent.</summary>
    public ulong End => Start + Length;
}

/// <summary>Finds where a running Linux kernel is mapped, from a page-table root alone.</summary>
/// <remarks>Linux maps its image between __START_KERNEL_map and MODULES_VADDR wherever KASLR put it
/// (Documentation/arch/x86/x86_64/mm.rst); nothing else is mapped there.</remarks>
public static class KernelMapping
{
    /// <summary>__START_KERNEL_map.</summary>
    public const ulong KernelMapStart = 0xffff_ffff_8000_0000;

    /// <summary>End of the kernel image area: MODULES_VADDR with KASLR (KERNEL_IMAGE_SIZE is 1 GiB).</summary>
    public const ulong KernelMapEnd = 0xffff_ffff_c000_0000;

    /// <summary>PTI keeps the user's page-table root in the page after the kernel's (PTI_USER_PGTABLE_BIT, arch/x86/include/asm/pgtable.h).</summary>
    public const ulong PtiUserRootBit = 1 << 12;

    /// <summary>All extents of the kernel image under <paramref name="root"/>, ascending; empty where no kernel is mapped there.</summary>
    /// <returns>False where the tables themselves cannot be read.</returns>
    public static bool TryEnumerate(
        IGuestMemory memory, PhysicalAddress root, PagingMode mode, ulong encryptionMask, out IReadOnlyList<KernelExtent> extents, out MemoryFault fault)
    {
        var found = new List<KernelExtent>();
        extents = found;
        ulong at = KernelMapStart;
        var table = new byte[4096];

        // One top-level walk to the two page-directory tables that cover the area, then plain table scans: cheap, and bounded by construction.
        while (at < KernelMapEnd)
        {
            if (!TryDirectory(memory, root, mode, encryptionMask, at, out ulong directory, out fault))
                return false;
            if (directory == 0)
            {
                at += 1UL << 30;
                continue;
            }

            if (!memory.TryRead(new PhysicalAddress(directory), table, out fault))
                return false;
            for (int i = 0; i < 512 && at < KernelMapEnd; i++, at += 1UL << 21)
            {
                ulong entry = BinaryPrimitives.ReadUInt64LittleEndian(table.AsSpan(i * 8));
                if ((entry & 1) == 0)
                    continue;
                if ((entry & 0x80) != 0)
                    Add(found, at, 1UL << 21, (entry & 2) != 0, entry >> 63 == 0);
                else if (!TryAddSmallPages(memory, entry & FrameMask & ~encryptionMask, at, (entry & 2) != 0, entry >> 63 == 0, found, out fault))
                    return false;
            }
        }

        fault = default;
        return true;
    }

    private const ulong FrameMask = 0x000f_ffff_ffff_f000;

    private static bool TryDirectory(
        IGuestMemory memory, PhysicalAddress root, PagingMode mode, ulong encryptionMask, ulong address, out ulong directory, out MemoryFault fault)
    {
        ulong table = root.Value & FrameMask & ~encryptionMask;
        Span<byte> raw = stackalloc byte[8];
        directory = 0;
        for (int level = (int)mode; level >= 3; level--)
        {
            int shift = 12 + (9 * (level - 1));
            if (!memory.TryRead(new PhysicalAddress(table + (((address >> shift) & 0x1ff) * 8)), raw, out fault))
                return false;
            ulong entry = BinaryPrimitives.ReadUInt64LittleEndian(raw);

            // Linux maps itself with 2 MiB and 4 KiB pages only, so a 1 GiB page here is not Linux.
            if ((entry & 1) == 0 || (entry & 0x80) != 0)
                return true;
            table = entry & FrameMask & ~encryptionMask;
        }

        fault = default;
        directory = table;
        return true;
    }

    private static bool TryAddSmallPages(
        IGuestMemory memory, ulong table, ulong start, bool writable, bool executable, List<KernelExtent> found, out MemoryFault fault)
    {
        var raw = new byte[4096];
        if (!memory.TryRead(new PhysicalAddress(table), raw, out fault))
            return false;
        for (int i = 0; i < 512; i++)
        {
            ulong entry = BinaryPrimitives.ReadUInt64LittleEndian(raw.AsSpan(i * 8));
            if ((entry & 1) != 0)
                Add(found, start + ((ulong)i << 12), 1UL << 12, writable && (entry & 2) != 0, executable && entry >> 63 == 0);
        }

        return true;
    }

    private static void Add(List<KernelExtent> found, ulong start, ulong length, bool writable, bool executable)
    {
        if (found.Count > 0)
        {
            KernelExtent last = found[^1];
            if (last.End == start && last.Writable == writable && last.Executable == executable)
            {
                found[^1] = last with { Length = last.Length + length };
                return;
            }
        }

        found.Add(new KernelExtent(start, length, writable, executable));
    }
}
