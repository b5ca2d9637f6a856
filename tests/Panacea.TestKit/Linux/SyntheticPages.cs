namespace Panacea.TestKit.Linux;

/// <summary>Pages that <see cref="SyntheticKernel.MakeWhole"/> has put on lists, by their struct pages.</summary>
/// <param name="Free">A free block of order 1.</param>
/// <param name="FreeList">Its free list.</param>
/// <param name="Odd">A page where no block of order 1 begins.</param>
/// <param name="Anonymous">An inactive anonymous page of the memory cgroup.</param>
/// <param name="File">An active page of a file, of the memory cgroup.</param>
/// <param name="Aged">A page of a file in a generation of the node.</param>
/// <param name="Group">The memory cgroup that there is below the root, by its cgroup_subsys_state.</param>
public sealed record WholePages(ulong Free, ulong FreeList, ulong Odd, ulong Anonymous, ulong File, ulong Aged, ulong Group);

public sealed partial class SyntheticKernel
{
    private ulong LruFlags(bool active, bool file) =>
        IsNewer ? 1UL << 5 | (active ? 1UL << 8 : 0) | (file ? 0 : 1UL << 17) : 1UL << 4 | (active ? 1UL << 5 : 0) | (file ? 0 : 1UL << 19);

    private ulong Node => ReadU64(this["node_data"]);

    /// <summary>One node with one zone, its lists empty.</summary>
    private void LayOutMemory()
    {
        ulong node = New("pglist_data", ("nr_zones", 1)), zone = node + Types.Offset("pglist_data.node_zones");
        WriteU64(Data("node_data", 8), node);
        WriteU64(Data("root_mem_cgroup", 8), 0);
        WriteU64(Data("nr_node_ids", 8), 1);
        Put(zone, "zone.spanned_pages", RamBytes / 4096);
        Put(zone, "zone.present_pages", RamBytes / 4096);
        Put(zone, "zone.name", Text0("DMA"));
        for (int area = 0; area < 3; area++)
        {
            for (int type = 0; type < 2; type++)
                Ring([FreeList(area, type)]);
        }

        Empty(node + Types.Offset("pglist_data.__lruvec"));
        ulong sections = Allocate(4096, 4096), table = Allocate(4096, 4096);
        WriteU64(Data("mem_section", 8), table);
        WriteU64(table, sections);
        Put(sections, "mem_section.section_mem_map", 7);
    }

    private ulong FreeList(int order, int type) =>
        Node + Types.Offset("pglist_data.node_zones") + Types.Offset("zone.free_area") + (ulong)(order * Types.SizeOf("free_area")) + Types.Offset("free_area.free_list") + (ulong)(type * 16);

    private void Empty(ulong lruvec)
    {
        for (ulong i = 0; i < 4; i++)
            Ring([lruvec + Types.Offset("lruvec.lists") + (i * 16)]);
        WriteU64(lruvec + Types.Offset("lruvec.lists") + (4 * 16), 0xdead_0000_0000_0100);
        for (ulong i = 0; i < 24; i++)
            Ring([lruvec + Types.Offset("lruvec.lrugen") + (i * 16)]);
    }

    private WholePages MakePages()
    {
        ulong Page(ulong flags)
        {
            ulong page = PageOf(Allocate(4096, 4096));
            Put(page, "page.flags", flags);
            Put(page, "page._refcount", 1);
            return page;
        }

        ulong block = Allocate(8192, 8192), free = PageOf(block);
        MarkPage(block, "buddy", 1);
        List(FreeList(1, 0), "page.lru", free);
        ulong anonymous = Page(LruFlags(active: false, file: false)), file = Page(LruFlags(active: true, file: true)), aged = Page(LruFlags(active: false, file: true));

        // Generation 1, files, zone 0.
        List(Node + Types.Offset("pglist_data.__lruvec") + Types.Offset("lruvec.lrugen") + (((1 * 2) + 1) * 3 * 16), "page.lru", aged);
        ulong root = New("mem_cgroup"), group = New("mem_cgroup"), own = New("mem_cgroup_per_node"), css = Types.Offset("mem_cgroup.css");
        ulong lists = own + Types.Offset("mem_cgroup_per_node.lruvec") + Types.Offset("lruvec.lists");
        Empty(own + Types.Offset("mem_cgroup_per_node.lruvec"));
        List(lists, "page.lru", anonymous);
        List(lists + (3 * 16), "page.lru", file);
        WriteU64(group + Types.Offset("mem_cgroup.nodeinfo"), own);
        ulong children = root + css + Types.Offset("cgroup_subsys_state.children");
        List(children, "cgroup_subsys_state.sibling", group + css);
        List(group + css + Types.Offset("cgroup_subsys_state.children"), "cgroup_subsys_state.sibling");
        WriteU64(this["root_mem_cgroup"], root);
        Put(this["iomem_resource"], "resource.child", New("resource", ("end", (1UL << 20) - 1), ("flags", 0x0100_0200), ("name", Text0("System RAM")), ("parent", this["iomem_resource"])));
        return new WholePages(free, FreeList(1, 0), free + PageStruct, anonymous, file, aged, group + css);
    }
}
