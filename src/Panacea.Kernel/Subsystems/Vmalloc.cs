using Panacea.Kernel.Structures;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>A run of kernel addresses that vmalloc(), vmap() or ioremap() handed out; module memory too.</summary>
/// <param name="Start">First address.</param>
/// <param name="End">First address past it, its guard page included.</param>
/// <param name="HasGuard">Its last page is never mapped (no VM_NO_GUARD).</param>
/// <param name="Flags">vm_struct.flags (VM_*); 0 for vm_map_ram, which has no vm_struct.</param>
/// <param name="Pages">Pages mapped; 0 where it is not made of pages.</param>
/// <param name="Physical">First guest-physical address of an ioremap, else 0.</param>
/// <param name="Caller">Address in the function that asked for it, 0 where unknown.</param>
public sealed record VmallocArea(ulong Start, ulong End, bool HasGuard, ulong Flags, uint Pages, PhysicalAddress Physical, ulong Caller)
{
    /// <summary>VM_IOREMAP, VM_ALLOC, VM_MAP (include/linux/vmalloc.h).</summary>
    public string Kind => (Flags & 1) != 0 ? "ioremap" : (Flags & 2) != 0 ? "vmalloc" : (Flags & 4) != 0 ? "vmap" : Flags == 0 ? "vm_map_ram" : "other";

    /// <summary>True where the address lies in it, its guard page included.</summary>
    public bool Contains(ulong address) => address >= Start && address < End;

    /// <summary>True where the address lies in its guard page.</summary>
    public bool IsGuard(ulong address) => HasGuard && address < End && address >= End - KernelReads.PageSize;
}

/// <summary>The areas of vmalloc (mm/vmalloc.c): one list <c>vmap_area_list</c> up to 6.8, since then a tree for each of <c>vmap_nodes</c> (commit d093602919ad,
/// "mm: vmalloc: remove global vmap_area_root rb-tree").</summary>
public static class Vmalloc
{
    /// <summary>VM_NO_GUARD.</summary>
    private const ulong NoGuard = 0x40;

    /// <summary>All areas in use, by address.</summary>
    /// <exception cref="GuestMemoryException">A link points to memory that can't be read.</exception>
    /// <exception cref="KernelShapeException">The list or a tree does not hold together, or the kernel has neither.</exception>
    public static List<VmallocArea> Areas(LinuxKernel kernel, TargetLimits limits)
    {
        var areas = new List<VmallocArea>();
        foreach (ulong area in Nodes(kernel, limits))
        {
            ulong start = kernel.Read(area, "vmap_area.va_start"), end = kernel.Read(area, "vmap_area.va_end"), vm = kernel.Read(area, "vmap_area.vm");
            if (end <= start)
                throw new KernelShapeException($"the vmap area at 0x{area:x} ends before it begins");

            // The union holds subtree_max_size while an area is free; those are in other trees. vm_map_ram has no vm_struct.
            areas.Add(vm == 0
                ? new VmallocArea(start, end, false, 0, 0, default, 0)
                : new VmallocArea(
                    start, end, (kernel.Read(vm, "vm_struct.flags") & NoGuard) == 0, kernel.Read(vm, "vm_struct.flags"), kernel.ReadU32(vm, "vm_struct.nr_pages"),
                    new PhysicalAddress(kernel.Read(vm, "vm_struct.phys_addr")), kernel.Read(vm, "vm_struct.caller")));
            if (areas.Count > limits.MaxChain)
                throw new KernelShapeException($"more than {limits.MaxChain} vmap areas");
        }

        areas.Sort((a, b) => a.Start.CompareTo(b.Start));
        return areas;
    }

    /// <summary>The area that an address lies in.</summary>
    /// <param name="areas">As <see cref="Areas"/> gives them.</param>
    /// <param name="address">The address.</param>
    public static VmallocArea? Find(IReadOnlyList<VmallocArea> areas, ulong address)
    {
        int low = 0, high = areas.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (areas[middle].Start <= address)
                low = middle + 1;
            else
                high = middle;
        }

        return low > 0 && areas[low - 1].Contains(address) ? areas[low - 1] : null;
    }

    private static IEnumerable<ulong> Nodes(LinuxKernel kernel, TargetLimits limits)
    {
        if (kernel.Image.TryFindSymbol("vmap_area_list", out ulong list))
            return Lists.Entries(kernel, list, "vmap_area.list", limits);
        ulong nodes = kernel.ReadSymbolU64("vmap_nodes");
        ulong count = kernel.TryReadVariable("nr_vmap_nodes", 4) ?? 1, bytes = (ulong)kernel.Image.Types.SizeOf("vmap_node"), root = kernel.Offset("vmap_node.busy.root");
        if (count > (ulong)limits.MaxCpus)
            throw new KernelShapeException($"the kernel says that it has {count} vmap nodes");
        return Enumerable.Range(0, (int)count).SelectMany(i => RedBlackTrees.Entries(kernel, unchecked(nodes + ((ulong)i * bytes) + root), "vmap_area.rb_node", limits));
    }
}
