namespace Panacea.TestKit.Linux;

internal static partial class KernelTypes
{
    /// <summary>Families, pids and tables of functions.</summary>
    /// <returns>The members of task_struct that lead to them.</returns>
    private static (string, CType)[] Families(SyntheticTypes t, CType list, KernelShape shape)
    {
        CType number = t.Struct("upid", ("nr", t.S32), ("ns", t.Pointer));
        t.Struct("pid", ("level", t.U32), ("tasks", t.Array(t.Pointer, 4)), ("numbers", t.Array(number, 1)));
        t.Struct("pid_namespace", ("idr", t.Known("idr")));
        Lists(t, list, shape);
        CType queue = t.Known("wait_queue_head"), entry = t.Known("wait_queue_entry");
        t.Struct("eventpoll", ("wq", queue), ("poll_wait", queue));
        t.Struct("eppoll_entry", ("next", t.Pointer), ("base", t.Pointer), ("wait", entry), ("whead", t.Pointer));
        t.Struct("poll_wqueues", ("table", t.Pointer), ("polling_task", t.Pointer));
        CType descriptors = t.Array(t.Char, 4096), state = t.Overlay("x86_hw_tss", 104, ("sp0", t.U64, 4), ("ist", t.Array(t.U64, 7), 36));
        CType enter = t.Struct("entry_stack", ("stack", descriptors)), stack = t.Struct("entry_stack_page", ("stack", enter)), tss = t.Overlay("tss_struct", 4096, ("x86_tss", state, 0));
        CType stacks = t.Struct("cea_exception_stacks",
            ("DF_stack_guard", t.Array(t.Char, 4096)), ("DF_stack", t.Array(t.Char, 8192)), ("NMI_stack_guard", t.Array(t.Char, 4096)), ("NMI_stack", t.Array(t.Char, 8192)),
            ("DB_stack_guard", t.Array(t.Char, 4096)), ("DB_stack", t.Array(t.Char, 8192)), ("MCE_stack_guard", t.Array(t.Char, 4096)), ("MCE_stack", t.Array(t.Char, 8192)));
        t.Struct("cpu_entry_area", ("gdt", descriptors), ("entry_stack_page", stack), ("tss", tss), ("estacks", stacks));
        t.Struct("file_operations", ("owner", t.Pointer), ("read", t.Pointer), ("write", t.Pointer));
        return
        [
            ("children", list), ("sibling", list), ("group_leader", t.Pointer), ("thread_pid", t.Pointer), ("pid_links", t.Array(t.Known("hlist_node"), 4)), ("stack_canary", t.U64),
        ];
    }

    /// <summary>Zones, free lists, LRU lists and sections of memory.</summary>
    private static void Lists(SyntheticTypes t, CType list, KernelShape shape)
    {
        CType counter = t.Known("atomic_long_t"), area = t.Struct("free_area", ("free_list", t.Array(list, 2)), ("nr_free", t.U64));
        CType zone = t.Struct("zone",
            ("_watermark", t.Array(t.U64, 4)), ("zone_start_pfn", t.U64), ("managed_pages", counter), ("spanned_pages", t.U64), ("present_pages", t.U64), ("name", t.Pointer),
            ("free_area", t.Array(area, 3)), ("vm_stat", t.Array(counter, 2)));
        CType generations = t.Struct("lru_gen_folio", (shape == KernelShape.Linux612 ? "folios" : "lists", t.Array(list, 4 * 2 * 3)));
        CType lruvec = t.Struct("lruvec", ("lists", t.Array(list, 5)), ("lrugen", generations));
        t.Struct("pglist_data", ("node_zones", t.Array(zone, 3)), ("nr_zones", t.S32), ("__lruvec", lruvec));
        t.Struct("mem_cgroup_per_node", ("lruvec", lruvec));
        t.Struct("mem_cgroup", ("css", t.Known("cgroup_subsys_state")), ("nodeinfo", t.Array(t.Pointer, 1)));
        t.Struct("mem_section", ("section_mem_map", t.U64), ("usage", t.Pointer));
    }
}
