using Panacea.Kernel;
using Panacea.Kernel.Structures;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Types;
using Panacea.Target;

namespace Panacea.Diagnosis.Validators;

/// <summary>Page frames: free lists of the buddy allocator (mm/page_alloc.c), LRU lists of every node and memory cgroup (include/linux/mm_inline.h, mm/vmscan.c), and struct pages all over
/// memory. Of each a sample, because there are millions.</summary>
public sealed class PageValidator : IValidator
{
    /// <summary>Pages of one list, and pages of all memory.</summary>
    private const int OfList = 512, OfMemory = 4096;

    /// <summary>Memory cgroups.</summary>
    private const int MaxGroups = 500;

    /// <summary>Over a running guest a list may move under the walk: so often it is begun again.</summary>
    private const int Attempts = 8;

    /// <inheritdoc/>
    public string Name => "pages";

    /// <inheritdoc/>
    public string Description => $"the first {OfList} pages of each free list and LRU list both ways, against their flags; node, zone and compound head of {OfMemory} pages of memory";

    /// <inheritdoc/>
    public ValidatorResult Check(CheckContext context)
    {
        LinuxKernel kernel = context.Kernel;
        var notes = new CheckNotes(context, "pages");
        var look = new Look(context, notes, AddressLayout.Read(kernel));
        notes.Guard("zones", look.FreeLists);
        notes.Guard("LRU lists", look.LruLists);
        notes.Guard("struct pages", look.Memory);
        notes.Skip($"free lists and LRU lists beyond their first {OfList} pages; pages of memory but a sample");
        return notes.Done();
    }

    private sealed class Look
    {
        /// <summary>LRU_UNEVICTABLE; the four before it are inactive and active anonymous, inactive and active file pages (enum lru_list).</summary>
        private const int Unevictable = 4;

        /// <summary>The largest compound page is 1 GiB.</summary>
        private const int MaxOrder = 18;

        private static readonly string[] GenerationMembers = ["lruvec.lrugen.folios", "lruvec.lrugen.lists"];

        private readonly CheckContext _context;
        private readonly CheckNotes _notes;
        private readonly LinuxKernel _kernel;
        private readonly AddressLayout _layout;
        private readonly RawPages _pages;
        private readonly PageFlagNames _names;
        private readonly List<(MemoryZone Zone, int Index)> _zones = [];

        public Look(CheckContext context, CheckNotes notes, AddressLayout layout)
        {
            (_context, _notes, _kernel, _layout) = (context, notes, context.Kernel, layout);
            _pages = new RawPages(_kernel, layout);
            _names = _pages.Names;
            var first = MemorySummary.Nodes(_kernel).ToDictionary(n => n.Node, n => unchecked(n.Data + _kernel.Offset("pglist_data.node_zones")));
            ulong size = (ulong)Math.Max(1, _kernel.Image.Types.SizeOf("zone"));
            foreach (MemoryZone zone in MemorySummary.ReadZones(_kernel, context.Limits))
                _zones.Add((zone, (int)((zone.Address - first[zone.Node]) / size)));
        }

        public void FreeLists()
        {
            int area = _kernel.Image.Types.SizeOf("free_area"), orders = Shapes.Elements(_kernel, "zone.free_area", area, 64), types = Shapes.Elements(_kernel, "free_area.free_list", 16, 64);
            foreach ((MemoryZone zone, int index) in _zones)
            {
                for (int order = 0; order < orders; order++)
                {
                    for (int type = 0; type < types; type++)
                    {
                        if (!_notes.Count("free lists"))
                            return;
                        ulong head = unchecked(zone.Address + _kernel.Offset("zone.free_area") + (ulong)(order * area) + _kernel.Offset("free_area.free_list") + (ulong)(type * 16));
                        string where = $"free list {type} of order {order} of zone {zone.Name} of node {zone.Node}";
                        foreach (RawPage page in List(head, where))
                            _notes.Guard(where, () => Free(page, zone, index, order, where));
                    }
                }
            }
        }

        private void Free(RawPage page, MemoryZone zone, int index, int order, string where)
        {
            _notes.Count("free blocks");
            string who = $"the page at 0x{page.Address:x} in {where}";
            if (!IsFree(page))
                _notes.Found("free", Confidence.High, $"{who} is not marked as free", $"page_type 0x{page.Type:x}, flags 0x{page.Flags:x}");
            else if (page.Private != (ulong)order)
                _notes.Found("free", Confidence.High, $"{who} says that it is of order {page.Private}");
            if (page.References != 0)
                _notes.Found("free", Confidence.High, $"{who} is free and has {page.References} references");
            if (!_layout.TryFrameOf(page.Address, out ulong frame))
                _notes.Found("place", Confidence.High, $"{who} is no page of this machine");
            else if ((frame & ((1UL << order) - 1)) != 0)
                _notes.Found("place", Confidence.High, $"{who} is frame 0x{frame:x}, where no block of that order begins");
            else if (frame < zone.StartFrame || frame - zone.StartFrame >= zone.Spanned || _names.ZoneOf(page.Flags) != index || _names.NodeOf(page.Flags) != zone.Node)
                _notes.Found("zone", Confidence.High, $"{who} is frame 0x{frame:x} of zone {_names.ZoneOf(page.Flags)} of node {_names.NodeOf(page.Flags)}");
        }

        /// <summary>lruvecs: that of each node, and of each memory cgroup one for each node.</summary>
        public void LruLists()
        {
            if (!_kernel.HasMember("lruvec.lists"))
                throw new KernelShapeException("this kernel's types have no lruvec");
            List<(int Node, ulong Data)> nodes = [.. MemorySummary.Nodes(_kernel)];
            foreach ((int node, ulong data) in nodes.Where(_ => _kernel.HasMember("pglist_data.__lruvec")))
                Lruvec(unchecked(data + _kernel.Offset("pglist_data.__lruvec")), node, $"node {node}");
            if (!_kernel.HasSymbol("root_mem_cgroup") || _kernel.ReadSymbolU64("root_mem_cgroup") is not (not 0 and var root))
                return;
            foreach (ulong group in Groups(root))
            {
                _notes.Guard($"the memory cgroup at 0x{group:x}", () =>
                {
                    _notes.Count("memory cgroups");
                    foreach ((int node, _) in nodes)
                    {
                        ulong own = _kernel.ReadU64(unchecked(group + _kernel.Offset("mem_cgroup.nodeinfo") + ((ulong)node * 8)), "mem_cgroup.nodeinfo");
                        if (own != 0)
                            Lruvec(unchecked(own + _kernel.Offset("mem_cgroup_per_node.lruvec")), node, $"the memory cgroup at 0x{group:x} on node {node}");
                    }
                });
            }
        }

        /// <summary>A memory cgroup and all below it (cgroup_subsys_state.children).</summary>
        private List<ulong> Groups(ulong root)
        {
            ulong own = _kernel.Offset("mem_cgroup.css"), children = _kernel.Offset("cgroup_subsys_state.children"), sibling = _kernel.Offset("cgroup_subsys_state.sibling");
            List<ulong> groups = [root];
            for (int at = 0; at < groups.Count && groups.Count < MaxGroups; at++)
            {
                ulong head = unchecked(groups[at] + own + children);
                foreach (ulong node in Rings.Nodes(_context, _notes, head, $"children of the memory cgroup at 0x{groups[at]:x}", MaxGroups))
                    groups.Add(unchecked(node - sibling - own));
            }

            return groups;
        }

        private void Lruvec(ulong lruvec, int node, string whose)
        {
            int classic = Shapes.Elements(_kernel, "lruvec.lists", 16, 64);
            for (int list = 0; list < classic; list++)
            {
                // The list of unevictable pages has been none since 5.18 (commit 07ca76067308, "mm/munlock: maintain page->mlock_count while unevictable"): its head is poison.
                if (list == Unevictable && _kernel.HasMember("page.mlock_count"))
                    continue;
                Lru(unchecked(lruvec + _kernel.Offset("lruvec.lists") + (ulong)(list * 16)), node, list, null, $"LRU list {list} of {whose}");
            }

            // Generations, by age, type and zone (since 6.1; lru_gen_struct.lists there, folios since 6.4).
            int zones = (int)(_kernel.Image.Types.TryEnumerator("zone_type", "__MAX_NR_ZONES", out long number) && number is > 0 and <= 16 ? number : 0);
            if (zones == 0 || GenerationMembers.FirstOrDefault(_kernel.HasMember) is not { } folios)
                return;
            int all = Shapes.Elements(_kernel, folios, 16, 4096);
            for (int i = 0; i < all; i++)
            {
                int type = i / zones % 2, zone = i % zones;
                Lru(unchecked(lruvec + _kernel.Offset(folios) + (ulong)(i * 16)), node, null, (type, zone), $"list {i / zones / 2} of {(type == 0 ? "anonymous" : "file")} pages of zone {zone} of {whose}");
            }
        }

        private void Lru(ulong head, int node, int? list, (int Type, int Zone)? generation, string where)
        {
            if (!_notes.Count("LRU lists"))
                return;
            foreach (RawPage page in List(head, where))
            {
                _notes.Count("LRU pages");
                string who = $"the page at 0x{page.Address:x} in {where}", flags = $"flags 0x{page.Flags:x}";
                bool file = !_names.Has(page.Flags, "swapbacked"), active = _names.Has(page.Flags, "active"), unevictable = _names.Has(page.Flags, "unevictable");

                // Whoever takes a page off its list clears PG_lru first (folio_isolate_lru).
                if (!_names.Has(page.Flags, "lru"))
                    _notes.Found("lru", Confidence.Medium, $"{who} does not say that it is on a list", flags);
                else if (IsFree(page) || page.IsTail)
                    _notes.Found("lru", Confidence.High, $"{who} is {(page.IsTail ? "not the first of its pages" : "free")}", flags);
                else if (_names.NodeOf(page.Flags) != node)
                    _notes.Found("node", Confidence.High, $"{who} is of node {_names.NodeOf(page.Flags)}", flags);
                else if (list is { } number && (unevictable ? Unevictable : (file ? 2 : 0) + (active ? 1 : 0)) is var says && says != number)
                    _notes.Found("lru", Confidence.Medium, $"{who} belongs to list {says} by its flags", flags);
                else if (generation is { } g && (unevictable || file != (g.Type == 1) || _names.ZoneOf(page.Flags) != g.Zone))
                    _notes.Found("lru", Confidence.Medium, $"{who} is {(unevictable ? "unevictable" : file ? "a file's" : "anonymous")} and of zone {_names.ZoneOf(page.Flags)} by its flags", flags);
            }
        }

        /// <summary>Struct pages at even distances over all RAM that is online.</summary>
        public void Memory()
        {
            var ranges = new List<(ulong First, ulong End)>();
            foreach (MemoryResource ram in _context.Settled(() => PhysicalMemory.Resources(_kernel, _context.Limits)).Where(r => r.IsSystemRam))
            {
                (ulong first, ulong end) = ((ram.Start.Value + 4095) / 4096, Math.Min((ram.End.Value + 1) / 4096, _layout.MaxFrame));
                if (first < end)
                    ranges.Add((first, end));
            }

            ulong frames = ranges.Aggregate(0UL, (sum, r) => sum + (r.End - r.First));

            // An odd distance, so that not only beginnings of large pages are seen.
            ulong step = Math.Max(1, frames / OfMemory) | 1;
            foreach ((ulong first, ulong end) in ranges)
            {
                for (ulong frame = first; frame < end; frame += step)
                {
                    if (!_notes.Count("pages"))
                        return;
                    ulong at = frame;
                    _notes.Guard($"the struct page of frame 0x{at:x}", () => One(at));
                }
            }
        }

        private void One(ulong frame)
        {
            if (!_pages.IsOnline(frame) || !_pages.TryRead(_layout.PageOf(frame), out RawPage page))
                return;
            string who = $"the page at 0x{page.Address:x}, frame 0x{frame:x},";
            (int node, int zone) = (_names.NodeOf(page.Flags), _names.ZoneOf(page.Flags));
            if (!_zones.Exists(z => z.Zone.Node == node && z.Index == zone && frame >= z.Zone.StartFrame && frame - z.Zone.StartFrame < z.Zone.Spanned))
                _notes.Found("zone", Confidence.High, $"{who} says that it is in zone {zone} of node {node}, which has no such frame", $"flags 0x{page.Flags:x}");
            if (!page.IsTail)
                return;
            _notes.Count("parts of compound pages");
            if (!_layout.TryHeadOf(page.Address, page.Link, out ulong begin) || !_layout.TryFrameOf(begin, out ulong first) || first >= frame || frame - first >= 1UL << MaxOrder)
                _notes.Found("compound", Confidence.Medium, $"{who} is part of a page that begins at 0x{page.Link & ~1UL:x}, where none can begin");
            else if (_pages.TryRead(begin, out RawPage head) && !_names.Has(head.Flags, "head"))
                _notes.Found("compound", Confidence.Medium, $"{who} is part of a page that begins at 0x{head.Address:x}, which is no first page", $"flags 0x{head.Flags:x}");
        }

        /// <summary>The first pages of a list, up to where it breaks.</summary>
        private List<RawPage> List(ulong head, string where)
        {
            for (int attempt = 1; ; attempt++)
            {
                var pages = new List<RawPage>();
                StructureException? broken = Follow(head, where, pages);
                if (broken is null)
                    return pages;
                if (_context.IsLive && attempt < Attempts)
                    continue;
                _notes.Broken(where, broken);
                return pages;
            }
        }

        private StructureException? Follow(ulong head, string where, List<RawPage> pages)
        {
            for (ulong before = head, at = _kernel.ReadU64(head, where); at != head && pages.Count < OfList;)
            {
                if (at is 0 or Walk.ListPoison1 or Walk.ListPoison2)
                    return new StructureException(at == 0 ? StructureFault.Null : StructureFault.Poison, before, $"the element at 0x{before:x} points on to {(at == 0 ? "NULL" : $"the poison 0x{at:x}")}");
                if (!_pages.TryRead(unchecked(at - _pages.ListOffset), out RawPage page))
                    return new StructureException(StructureFault.Shape, before, $"the element at 0x{before:x} points on to 0x{at:x}, which is in no struct page");
                if (page.Previous != before)
                    return new StructureException(StructureFault.BackPointer, at, $"the element at 0x{at:x} points back to 0x{page.Previous:x}, not to 0x{before:x}");
                pages.Add(page);
                (before, at) = (at, page.Next);
            }

            return null;
        }

        private bool IsFree(RawPage page) => _names.TypeName(page.Type) == "buddy";
    }
}
