namespace Panacea.Target.Paging;

/// <summary>x86-64 long-mode paging depth (Intel SDM vol. 3A, 4.5).</summary>
public enum PagingMode
{
    /// <summary>48-bit linear addresses, root is the PML4.</summary>
    FourLevel = 4,

    /// <summary>57-bit linear addresses (CR4.LA57), root is the PML5.</summary>
    FiveLevel = 5,
}

/// <summary>Where a guest-virtual address lies in guest-physical memory.</summary>
/// <param name="Physical">The guest-physical address of the byte asked for.</param>
/// <param name="PageSize">4096, 2 MiB or 1 GiB.</param>
/// <param name="Writable">R/W set in every level.</param>
/// <param name="User">U/S set in every level.</param>
/// <param name="NoExecute">NX set in any level.</param>
public readonly record struct Translation(PhysicalAddress Physical, ulong PageSize, bool Writable, bool User, bool NoExecute);
