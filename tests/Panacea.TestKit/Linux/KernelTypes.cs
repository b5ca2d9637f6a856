namespace Panacea.TestKit.Linux;

/// <summary>The structs of the synthetic kernels: the members that the product looks at, in the shapes of each line, and some it does not.</summary>
internal static partial class KernelTypes
{
    public static SyntheticTypes Make(KernelShape shape)
    {
        var t = new SyntheticTypes();
        CType list = t.Struct("list_head", ("next", t.Pointer), ("prev", t.Pointer));
        t.Struct("atomic_long_t", ("counter", t.S64));
        Structures(t, list);
        (string, CType)[] scheduled = Scheduler(t, list, shape);
        (string, CType)[] resources = Resources(t, list, shape);
        (string, CType)[] counted = shape == KernelShape.Linux612 ? [] : [("rss_stat", t.Struct("task_rss_stat", ("events", t.S32), ("count", t.Array(t.S32, 4))))];
        t.Struct("task_struct",
        [
            ("thread_info", t.Known("thread_info")), ("__state", t.U32), ("stack", t.Pointer), ("flags", t.U32), ("tasks", list), ("mm", t.Pointer), ("exit_state", t.S32),
            ("pid", t.S32), ("tgid", t.S32), ("real_parent", t.Pointer), ("thread_node", list), ("signal", t.Pointer), ("comm", t.Array(t.Char, 16)), ("journal_info", t.Pointer), ("plug", t.Pointer),
            .. scheduled, .. resources, .. Families(t, list, shape), .. counted,
            ("pending", t.Struct("sigpending", ("list", list), ("signal", t.Struct("sigset_t", ("sig", t.Array(t.U64, 1)))))),
        ]);
        t.Struct("signal_struct", ("sigcnt", t.U32), ("nr_threads", t.S32), ("thread_head", list), ("wait_chldexit", t.Known("wait_queue_head")));
        CType rss = shape == KernelShape.Linux612 ? t.Array(t.Known("percpu_counter"), 4) : t.Struct("mm_rss_stat", ("count", t.Array(t.Known("atomic_long_t"), 4)));
        t.Struct("mm_struct", ("pgd", t.Pointer), ("total_vm", t.U64), ("rss_stat", rss), ("arg_start", t.U64), ("arg_end", t.U64));
        t.Struct("thread_union", ("stack", t.Array(t.U64, 2048)));
        Modules(t, list, shape);
        Printk(t);
        if (shape == KernelShape.Linux612)
            t.Struct("pcpu_hot", ("current_task", t.Pointer), ("preempt_count", t.S32), ("cpu_number", t.S32), ("top_of_stack", t.U64), ("hardirq_stack_ptr", t.Pointer), ("softirq_pending", t.U16));
        t.Typedef("irq_cpustat_t", t.Struct("irq_cpustat", ("__softirq_pending", t.U16), ("__nmi_count", t.U32), ("apic_timer_irqs", t.U32)));
        t.Enum("system_states", ("SYSTEM_BOOTING", 0), ("SYSTEM_SCHEDULING", 1), ("SYSTEM_FREEING_INITMEM", 2), ("SYSTEM_RUNNING", 3));
        foreach ((string name, Func<SyntheticTypes, CType?>? returns) in KernelFunctions.Writers)
        {
            if (returns is not null)
                t.Function(name, returns(t));
        }

        foreach (string name in (string[])["ct_read", "ct_call", "ct_bug", "ct_div", "ct_locked", "ct_preempt", "ct_bitlock", "ct_counted", "ct_table", "ct_memcpy", "ct_panic", "ct_stack_chk", "ct_branchy.isra.0", "ct_mutexed", "ct_irqs", "ct_warned", "ct_journal", "ct_plug", "kthread", "vfs_write", "ctm_write"])
            t.Function(name, t.S64);
        t.Function("ct_indexed", t.S64);
        t.Function("napi_complete_done", t.Bool);
        t.Function("ip_list_rcv", null);
        t.Function("kfree", null);
        t.Function("kmem_cache_alloc_ct", t.Pointer, ("s", t.Pointer));
        return t;
    }

    private static void Modules(SyntheticTypes t, CType list, KernelShape shape)
    {
        CType arch = t.Struct("mod_arch_specific", ("num_orcs", t.U32), ("orc_unwind_ip", t.Pointer), ("orc_unwind", t.Pointer));
        t.Struct("mod_kallsyms", ("symtab", t.Pointer), ("num_symtab", t.U32), ("strtab", t.Pointer), ("typetab", t.Pointer));
        CType layout = t.Struct("module_layout", ("base", t.Pointer), ("size", t.U32), ("text_size", t.U32), ("ro_size", t.U32));
        CType memory = t.Struct("module_memory", ("base", t.Pointer), ("size", t.U32));
        (string, CType)[] head = [("state", t.U32), ("list", list), ("name", t.Array(t.Char, 56))];
        (string, CType)[] places = shape == KernelShape.Linux612 ? [("mem", t.Array(memory, 7))] : [("core_layout", layout), ("init_layout", layout)];
        CType kobject = t.Struct("module_kobject", ("kobj", t.Struct("kobject", ("name", t.Pointer), ("sd", t.Pointer))), ("mod", t.Pointer));
        (string, CType)[] rest = [("arch", arch), ("taints", t.U64), ("kallsyms", t.Pointer), ("mkobj", kobject)];
        t.Struct("module", [.. head, .. places, .. rest]);
        t.Struct("btf", ("data", t.Pointer), ("data_size", t.U32));
        t.Struct("btf_module", ("list", list), ("btf", t.Pointer), ("module", t.Pointer));
    }

    /// <summary>kernel/printk/printk_ringbuffer.h.</summary>
    private static void Printk(SyntheticTypes t)
    {
        CType atomic = t.Known("atomic_long_t");
        CType lpos = t.Struct("prb_data_blk_lpos", ("begin", t.U64), ("next", t.U64));
        t.Struct("prb_desc", ("state_var", atomic), ("text_blk_lpos", lpos));
        t.Struct("printk_info",
            ("seq", t.U64), ("ts_nsec", t.U64), ("text_len", t.U16), ("facility", t.U8), ("flags", t.U8 with { Bits = 5 }), ("level", t.U8 with { Bits = 3 }), ("caller_id", t.U32));
        CType data = t.Struct("prb_data_ring", ("size_bits", t.U32), ("data", t.Pointer), ("head_lpos", atomic), ("tail_lpos", atomic));
        CType descs = t.Struct("prb_desc_ring", ("count_bits", t.U32), ("descs", t.Pointer), ("infos", t.Pointer), ("head_id", atomic), ("tail_id", atomic));
        t.Struct("printk_ringbuffer", ("desc_ring", descs), ("text_data_ring", data), ("fail", atomic));
    }
}
