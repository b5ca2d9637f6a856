using System.Buffers.Binary;
using Panacea.Target;

namespace Panacea.Kernel.Image;

/// <summary>Which of several kernels that lie in memory booted last: memory keeps earlier ones over a reset, whole enough to be taken for the one that runs.</summary>
/// <remarks>Every kernel puts the code that starts its CPUs below 1 MiB, with page tables whose last entry is that of its own (trampoline_pgd, setup_real_mode() in arch/x86/realmode/init.c); one
/// boot lays it over that of the boot before. Accessed bits and the like may differ, where the next table lies can't.</remarks>
internal static class RealModeTrampoline
{
    private const int PageSize = 4096, LowMemory = 1 << 20, LastEntry = 511 * 8;

    /// <summary>Some page below 1 MiB has the last entry of these page tables.</summary>
    /// <param name="memory">Guest-physical memory.</param>
    /// <param name="kernel">The kernel.</param>
    public static bool IsOf(IGuestMemory memory, BootstrapResult kernel)
    {
        ulong mask = 0x000f_ffff_ffff_f001 & ~kernel.Space.EncryptionMask;
        if (!TryEntry(memory, kernel.Space.Root, out ulong own) || (own & 1) == 0)
            return false;
        for (ulong page = 0; page < LowMemory; page += PageSize)
        {
            if (page != kernel.Space.Root.Value && TryEntry(memory, new PhysicalAddress(page), out ulong entry) && (entry & mask) == (own & mask))
                return true;
        }

        return false;
    }

    private static bool TryEntry(IGuestMemory memory, PhysicalAddress table, out ulong entry)
    {
        Span<byte> raw = stackalloc byte[8];
        bool isRead = memory.TryRead(table.Plus(LastEntry), raw, out _);
        entry = isRead ? BinaryPrimitives.ReadUInt64LittleEndian(raw) : 0;
        return isRead;
    }
}
