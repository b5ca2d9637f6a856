using Panacea.Target;
using Panacea.Target.Paging;

namespace Panacea.Kernel.Image;

/// <summary>What must be known of one vCPU to find the kernel: its paging and its trap table.</summary>
/// <param name="Cr0">CR0.</param>
/// <param name="Cr3">CR3.</param>
/// <param name="Cr4">CR4.</param>
/// <param name="Efer">EFER.</param>
/// <param name="IdtBase">Base of the trap table, 0 where unknown.</param>
public readonly record struct VcpuControlState(ulong Cr0, ulong Cr3, ulong Cr4, ulong Efer, ulong IdtBase)
{
    /// <summary>64-bit mode with paging.</summary>
    public bool IsLongMode => (Efer & 0x400) != 0 && (Cr0 & 0x8000_0000) != 0;

    /// <summary>Paging depth (CR4.LA57).</summary>
    public PagingMode Mode => (Cr4 & 0x1000) != 0 ? PagingMode.FiveLevel : PagingMode.FourLevel;
}

/// <summary>A guest in which no Linux kernel could be found or understood. The message says why and what to do.</summary>
public sealed class NotLinuxException(string message) : Exception(message);

/// <summary>The kernel's mapping, found.</summary>
/// <param name="Space">The address space it was found in.</param>
/// <param name="Extents">Its extents.</param>
/// <param name="IdtBase">Base of the trap table, 0 where unknown.</param>
internal sealed record BootstrapResult(AddressSpace Space, IReadOnlyList<KernelExtent> Extents, ulong IdtBase)
{
    /// <summary>Why this may not be the kernel that ran, in a sentence; null where it is.</summary>
    public string? Doubt { get; init; }
}

/// <summary>From the control registers of the vCPUs to the mapping of a Linux kernel, with nothing else known.</summary>
internal static class KernelBootstrap
{
    /// <exception cref="NotLinuxException">No vCPU maps a Linux kernel.</exception>
    public static BootstrapResult Find(IGuestMemory memory, IReadOnlyList<VcpuControlState> vcpus)
    {
        bool anyLongMode = false, anyMapped = false;
        foreach (VcpuControlState vcpu in vcpus)
        {
            if (!vcpu.IsLongMode)
                continue;
            anyLongMode = true;

            // In user mode under PTI, CR3 names the user's half-empty tables; the kernel's lie one page below (arch/x86/mm/pti.c).
            ulong root = vcpu.Cr3 & 0x000f_ffff_ffff_f000;
            foreach (ulong candidate in (ReadOnlySpan<ulong>)[root & ~KernelMapping.PtiUserRootBit, root])
            {
                if (!KernelMapping.TryEnumerate(memory, new PhysicalAddress(candidate), vcpu.Mode, 0, out IReadOnlyList<KernelExtent> extents, out _))
                    continue;
                anyMapped |= extents.Count > 0;

                if (IsWhole(extents))
                    return new BootstrapResult(new AddressSpace(memory, new PhysicalAddress(candidate), vcpu.Mode), extents, vcpu.IdtBase);
            }
        }

        throw new NotLinuxException(
            !anyLongMode ? "the guest is not in 64-bit mode: it is still in its firmware or boot loader, or is no x86-64 guest; try again when Linux has booted"
            : anyMapped ? "the guest has no whole kernel mapped where Linux maps itself: it is still booting, or is not Linux; try again when Linux has booted"
            : "the guest maps nothing where Linux maps its kernel: it is not x86-64 Linux, or is still booting");
    }

    /// <summary>A whole kernel has at least 4 MiB of text; PTI's user tables map only the entry text.</summary>
    public static bool IsWhole(IReadOnlyList<KernelExtent> extents) =>
        extents.Where(e => e.Executable).Aggregate(0UL, (sum, e) => sum + e.Length) >= 4UL << 20;
}
