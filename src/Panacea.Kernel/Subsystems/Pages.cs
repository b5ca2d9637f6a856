using Panacea.Kernel.Types;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>What a page frame is used for.</summary>
public enum PageUse
{
    /// <summary>Nothing that its struct page tells: as a rule memory that the kernel took for itself (vmalloc, stacks, buffers of drivers).</summary>
    Kernel,
    /// <summary>Free, in the buddy allocator.</summary>
    Free,
    /// <summary>Objects of a slab cache.</summary>
    Slab,
    /// <summary>A page table.</summary>
    PageTable,
    /// <summary>Anonymous memory of a process.</summary>
    Anonymous,
    /// <summary>Page cache, shared memory included.</summary>
    File,
    /// <summary>A hugetlb page.</summary>
    HugeTlb,
    /// <summary>Given back to the hypervisor (balloon) or not onlined.</summary>
    Offline,
    /// <summary>PG_reserved: the kernel's own image, firmware, never given to the allocator.</summary>
    Reserved,
}

/// <summary>A page frame by its struct page.</summary>
public sealed record PageInfo
{
    /// <summary>Page frame number.</summary>
    public required ulong Frame { get; init; }

    /// <summary>Guest-virtual address of its struct page.</summary>
    public required ulong Page { get; init; }

    /// <summary>Guest-virtual address of the struct page of the first page of its compound page or free block; its own where it is in none.</summary>
    public required ulong Head { get; init; }

    /// <summary>page.flags, as it is.</summary>
    public required ulong RawFlags { get; init; }

    /// <summary>Its set flags by the names of enum pageflags without PG_, lowest bit first.</summary>
    public required IReadOnlyList<string> Flags { get; init; }

    /// <summary>What it is used for, of a tail as of its head.</summary>
    public required PageUse Use { get; init; }

    /// <summary>log2 of the pages of its compound page or free block; 0 for a single one.</summary>
    public required int Order { get; init; }

    /// <summary>NUMA node.</summary>
    public required int Node { get; init; }

    /// <summary>Index of its zone in enum zone_type.</summary>
    public required int Zone { get; init; }

    /// <summary>page._refcount of the head.</summary>
    public required int References { get; init; }

    /// <summary>page._mapcount + 1 where that is a count (not of slabs and other typed pages), else 0.</summary>
    public required int Mapped { get; init; }

    /// <summary>page.mapping of the head without its low bits: an address_space or an anon_vma; 0 where there is none.</summary>
    public required ulong Mapping { get; init; }

    /// <summary>page.index of the head: for the page cache, pages into the file.</summary>
    public required ulong Index { get; init; }

    /// <summary>The frame is not the first of its compound page or free block.</summary>
    public bool IsTail => Page != Head;
}

/// <summary>Page frames (include/linux/mm_types.h, include/linux/page-flags.h): the array <c>vmemmap</c> of struct page, which every x86-64 kernel with SPARSEMEM_VMEMMAP has.</summary>
/// <param name="kernel">The kernel.</param>
/// <param name="layout">Its address space.</param>
public sealed class Pages(LinuxKernel kernel, AddressLayout layout)
{
    /// <summary>PAGE_MAPPING_ANON and PAGE_MAPPING_MOVABLE in the low bits of page.mapping.</summary>
    private const ulong MappingAnon = 1, MappingFlags = 3;

    /// <summary>Largest compound page: 1 GiB is order 18; and largest free block (MAX_PAGE_ORDER with room to spare).</summary>
    private const int MaxOrder = 20, MaxBuddyOrder = 12;

    private readonly PageFlagNames _names = PageFlagNames.Of(kernel);

    /// <summary>The page behind a guest-physical address.</summary>
    /// <returns>False where there is no struct page for it, or it can't be read.</returns>
    public bool TryOfPhysical(PhysicalAddress physical, out PageInfo page) => TryOfFrame(physical.Value / KernelReads.PageSize, out page);

    /// <summary>The page that a kernel address is mapped to, by the direct map where it lies there, else by the page tables.</summary>
    public bool TryOfVirtual(ulong address, out PageInfo page)
    {
        if (layout.TryDirectToPhysical(address, out PhysicalAddress physical))
            return TryOfPhysical(physical, out page);
        page = null!;
        return kernel.Space.TryTranslate(new VirtualAddress(address), out Target.Paging.Translation t, out _) && TryOfPhysical(t.Physical, out page);
    }

    /// <summary>The page of a frame number.</summary>
    public bool TryOfFrame(ulong frame, out PageInfo page)
    {
        page = null!;
        if (layout.PageStructBytes == 0 || frame >= layout.MaxFrame)
            return false;
        try
        {
            page = Read(frame);
            return true;
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException)
        {
            return false;
        }
    }

    /// <summary>The page of a frame number.</summary>
    /// <exception cref="GuestMemoryException">Its struct page is not mapped (a hole of the memory map) or can't be read.</exception>
    /// <exception cref="KernelShapeException">The kernel's types have no struct page as it is known.</exception>
    public PageInfo Read(ulong frame)
    {
        ulong page = layout.PageOf(frame);

        ulong head = layout.TryHeadOf(page, kernel.ReadFirst(page, "page.compound_head", "page.compound_info"), out ulong first) ? first : page;
        ulong flags = Flags(page), headFlags = head == page ? flags : Flags(head);
        uint type = (uint)kernel.Read(head, "page.page_type");
        ulong mapping = kernel.Read(head, "page.mapping");
        int order = _names.IsHead(headFlags) ? Order(head) : 0;
        if (order > 0 && frame - ((head - layout.VmemmapStart) / layout.PageStructBytes) >= 1UL << order)
            throw new KernelShapeException($"frame 0x{frame:x} names a head whose compound page ends before it");
        PageUse use = UseOf(headFlags, type, mapping);
        bool typed = _names.IsTyped(type) || use == PageUse.Slab;
        int references = unchecked((int)kernel.Read(head, "page._refcount.counter"));

        // The pages of a free block but its first say nothing of it.
        if (use == PageUse.Kernel && references == 0 && TryFindFreeBlock(frame, out ulong block, out int blockOrder))
            (use, head, order) = (PageUse.Free, block, blockOrder);
        else if (use == PageUse.Free)
            order = (int)Math.Min(kernel.Read(page, "page.private"), MaxOrder);
        return new PageInfo
        {
            Frame = frame,
            Page = page,
            Head = head,
            RawFlags = flags,
            Flags = _names.Decode(flags),
            Use = use,
            Order = order,
            Node = _names.NodeOf(headFlags),
            Zone = _names.ZoneOf(headFlags),
            References = references,
            Mapped = typed ? 0 : unchecked((int)kernel.Read(page, "page._mapcount.counter") + 1),
            Mapping = typed ? 0 : mapping & ~MappingFlags,

            // page.__folio_index since 6.16 (commit acc53a0b4c15, "mm: rename page->index to page->__folio_index").
            Index = kernel.ReadFirst(head, "page.index", "page.__folio_index"),
        };
    }

    private bool TryFindFreeBlock(ulong frame, out ulong head, out int order)
    {
        for (int size = 1; size <= MaxBuddyOrder; size++)
        {
            ulong first = frame >> size << size;
            head = layout.PageOf(first);
            if (_names.TypeName((uint)kernel.Read(head, "page.page_type")) != "buddy")
                continue;

            // A free block keeps its order in page.private (set_buddy_order, mm/internal.h).
            ulong says = kernel.Read(head, "page.private");
            order = (int)Math.Min(says, MaxOrder);
            return says <= MaxBuddyOrder && frame - first < 1UL << order;
        }

        (head, order) = (0, 0);
        return false;
    }

    private ulong Flags(ulong page) => kernel.ReadFirst(page, "page.flags.f", "page.flags");

    private int Order(ulong head)
    {
        // The second page holds the order: page.compound_order up to 6.2 (gone with commit 1c5509be58f6), folio._folio_order up to 6.5 (commit ebc1baf5c9b4), then the low byte of folio._flags_1 (include/linux/mm.h, folio_order).
        ulong order = kernel.HasMember("page.compound_order")
            ? kernel.Read(unchecked(head + layout.PageStructBytes), "page.compound_order")
            : kernel.ReadFirst(head, "folio._folio_order", "folio._flags_1.f", "folio._flags_1") & 0xff;
        return order <= MaxOrder ? (int)order : throw new KernelShapeException($"a compound page of order {order}");
    }

    private PageUse UseOf(ulong flags, uint type, ulong mapping)
    {
        if (_names.IsSlab(flags, type))
            return PageUse.Slab;
        if (_names.TypeName(type) is { } name)
        {
            return name switch
            {
                "buddy" => PageUse.Free,
                "table" => PageUse.PageTable,
                "hugetlb" => PageUse.HugeTlb,
                "offline" => PageUse.Offline,
                _ => PageUse.Kernel,
            };
        }

        if (_names.IsReserved(flags))
            return PageUse.Reserved;
        return (mapping & MappingAnon) != 0 ? PageUse.Anonymous : mapping >> 47 != 0 && (mapping & MappingFlags) == 0 ? PageUse.File : PageUse.Kernel;
    }
}

/// <summary>Names of the bits of page.flags and of the values of page.page_type in one kernel.</summary>
public sealed class PageFlagNames
{
    /// <summary>Types before 6.12 are bits that are cleared below PAGE_TYPE_BASE (include/linux/page-flags.h). Up to 6.10 they are macros: these, of which each kernel has some.</summary>
    private static readonly (string Name, long Value)[] Macros =
        [("PG_buddy", 0x80), ("PG_offline", 0x100), ("PG_table", 0x200), ("PG_guard", 0x400), ("PG_hugetlb", 0x800), ("PG_slab", 0x1000), ("PAGE_TYPE_BASE", 0xf000_0000)];

    private readonly string[] _bits = new string[64];
    private readonly Dictionary<uint, string> _types = [];
    private readonly bool _typeIsByte;
    private readonly uint _typeBase;
    private readonly int _slab, _reserved, _head, _nodeShift, _zoneShift;
    private readonly uint _nodeMask, _zoneMask;

    /// <param name="flags">enum pageflags.</param>
    /// <param name="types">enum pagetype; empty where the kernel has none.</param>
    /// <param name="nodes">NUMA nodes that the kernel is built for.</param>
    /// <param name="zones">Zones of a node.</param>
    internal PageFlagNames(IEnumerable<KeyValuePair<string, long>> flags, IEnumerable<KeyValuePair<string, long>> types, int nodes, int zones)
    {
        foreach ((string name, long bit) in flags)
        {
            // Later names of a bit are aliases for pages of one use (PG_swapcache is PG_owner_priv_1).
            if (bit is >= 0 and < 64 && name.StartsWith("PG_", StringComparison.Ordinal))
                _bits[bit] ??= name[3..];
        }

        // PG_slab went to page_type in 6.10 (commit 46df8e73a4a3, "mm: free up PG_slab"); one type a page, in the top byte, in 6.12 (commit 4ffca5a96678, "mm: support only one page_type per page").
        _slab = Array.IndexOf(_bits, "slab");
        _reserved = Array.IndexOf(_bits, "reserved");
        _head = Array.IndexOf(_bits, "head");
        Dictionary<string, long> known = types.DistinctBy(t => t.Key).ToDictionary(t => t.Key, t => t.Value);
        foreach ((string name, long value) in known)
        {
            if (name.StartsWith("PGTY_", StringComparison.Ordinal) && (value & 0xff) != 0xff)
                _types[(uint)(value & 0xff)] = name[5..];
        }

        _typeIsByte = _types.Count > 0;
        if (!_typeIsByte)
        {
            // An enum since 6.10 or 6.11 (commit ff202303c398, "mm: convert page type macros to enum"), with other values since 6.11 (commit 8db00ad56461).
            if (!known.ContainsKey("PAGE_TYPE_BASE"))
                known = Macros.ToDictionary(m => m.Name, m => m.Value);
            _typeBase = unchecked((uint)known["PAGE_TYPE_BASE"]);
            foreach ((string name, long value) in known.Where(t => t.Key.StartsWith("PG_", StringComparison.Ordinal) && unchecked((uint)t.Value) != 0))
                _types[unchecked((uint)value)] = name[3..];
        }

        // Node and zone are the topmost bits where the array is virtually mapped: SECTIONS_WIDTH is 0 then (include/linux/page-flags-layout.h).
        int nodeBits = nodes > 1 ? int.Log2(nodes - 1) + 1 : 0, zoneBits = zones > 1 ? int.Log2(zones - 1) + 1 : 0;
        (_nodeShift, _zoneShift) = (64 - nodeBits, 64 - nodeBits - zoneBits);
        (_nodeMask, _zoneMask) = ((1u << nodeBits) - 1, (1u << zoneBits) - 1);
    }

    /// <summary>Those of a kernel.</summary>
    public static PageFlagNames Of(LinuxKernel kernel)
    {
        return new PageFlagNames(kernel.Image.Types.Enumerators("pageflags"), kernel.Image.Types.Enumerators("pagetype"), Length("kmem_cache.node", 8), Zones(kernel));

        int Length(string path, int element) => kernel.Image.Types.TryMember(path, out MemberInfo member) ? Math.Min(member.BitSize / 8 / element, 1 << 16) : 1;
    }

    /// <summary>A page with a type has no map count: the field is not a small number then.</summary>
    public bool IsTyped(uint type) => _typeIsByte ? type >> 24 is >= 0x80 and < 0xff : TypeName(type) is not null;

    /// <summary>The page is the first of a compound page.</summary>
    public bool IsHead(ulong flags) => Bit(flags, _head);

    /// <summary>The page was never given to the allocator.</summary>
    public bool IsReserved(ulong flags) => Bit(flags, _reserved);

    /// <summary>The page is a slab's.</summary>
    public bool IsSlab(ulong flags, uint type) => _slab >= 0 ? Bit(flags, _slab) : TypeName(type) == "slab";

    /// <summary>A flag by its name without PG_; false where this kernel has none of that name.</summary>
    public bool Has(ulong flags, string name) => Bit(flags, Array.IndexOf(_bits, name));

    /// <summary>The bit of a flag by its name without PG_; 0 where this kernel has none of that name.</summary>
    public ulong MaskOf(string name) => Array.IndexOf(_bits, name) is >= 0 and var bit ? 1UL << bit : 0;

    /// <summary>The NUMA node that a page's flags name.</summary>
    public int NodeOf(ulong flags) => _nodeMask == 0 ? 0 : (int)(flags >> _nodeShift & _nodeMask);

    /// <summary>The zone (enum zone_type) that a page's flags name.</summary>
    public int ZoneOf(ulong flags) => _zoneMask == 0 ? 0 : (int)(flags >> _zoneShift & _zoneMask);

    /// <summary>Name of the type in page.page_type, lower case; null where it is none.</summary>
    public string? TypeName(uint type)
    {
        if (_typeIsByte)
            return _types.GetValueOrDefault(type >> 24);
        return (type & _typeBase) == _typeBase && type != uint.MaxValue && _types.FirstOrDefault(t => (type & t.Key) == 0).Value is { } name ? name : null;
    }

    /// <summary>Names of all set flags, lowest bit first.</summary>
    public IReadOnlyList<string> Decode(ulong flags)
    {
        var names = new List<string>();
        for (int bit = 0; bit < Math.Min(64, _zoneShift); bit++)
        {
            if ((flags >> bit & 1) != 0 && _bits[bit] is { } name)
                names.Add(name);
        }

        return names;
    }

    private static int Zones(LinuxKernel kernel) => kernel.Image.Types.TryEnumerator("zone_type", "__MAX_NR_ZONES", out long zones) && zones is > 0 and <= 16 ? (int)zones : 1;

    private static bool Bit(ulong flags, int bit) => bit >= 0 && (flags >> bit & 1) != 0;
}
