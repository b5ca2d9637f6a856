namespace Panacea.Repair;

/// <summary>What nobody misses where a function comes back before it has done its work: its callers take nothing for an answer, and go on as if it had.</summary>
/// <param name="Lost">What is lost by it.</param>
/// <param name="Risk">What may go wrong after it; null where nothing is known to.</param>
public sealed record Expendable(string Lost, string? Risk = null)
{
    /// <summary>What it returns; null where it returns nothing, as nearly all of them.</summary>
    public ulong? Result { get; init; }

    /// <summary>The result for a person; empty where there is none.</summary>
    public string Shown { get; init; } = "";
}

/// <summary>
/// The kernel's functions of that kind. A void function is not made to return to an ordinary caller else, for that would never learn that the work was not done; of these every caller that the kernel has
/// works on, whatever they have left undone: what frees memory (it stays in use), what counts, what hands on packets (the network loses some, and whoever misses one asks for it again).
/// </summary>
public static class Expendables
{
    private static readonly Expendable Memory = new("some memory, which is never freed"), Count = new("one count", "a figure that is shown or weighed is wrong by one"),
        Packets = new("packets that have come", "their memory is never freed"), Packet = new("a packet's memory, which is never freed", "the socket that has sent it may count it as on its way"),
        Time = new("what one tick would have accounted for"), Preemption = new("one look whether another task is to run, which the next tick takes");

    private static readonly Dictionary<string, Expendable> Table = new (Expendable What, string[] Functions)[]
    {
        // mm/slub.c, mm/page_alloc.c, mm/swap.c, mm/mempool.c, mm/vmalloc.c, mm/util.c.
        (Memory, [
            "kfree", "kmem_cache_free", "kmem_cache_free_bulk", "kvfree", "vfree", "__slab_free", "___cache_free", "__kmem_cache_free", "mempool_free", "mempool_free_slab", "mempool_kfree", "__free_pages", "free_pages",
            "free_unref_page", "free_unref_page_list", "free_unref_folios", "__folio_put", "__put_page", "release_pages", "folios_put_refs", "free_pages_and_swap_cache", "free_page_and_swap_cache", "free_slab", "discard_slab",
        ]),

        // block/bio.c.
        (Memory, ["bio_put", "bio_free", "bvec_free"]),

        // net/core/skbuff.c; drivers/net/virtio_net.c frees what the next packet finds, too.
        (Packet, [
            "kfree_skb_reason", "sk_skb_reason_drop", "kfree_skb_list_reason", "consume_skb", "napi_consume_skb", "__kfree_skb", "__napi_kfree_skb", "__kfree_skb_defer", "skb_release_data", "skb_free_head", "kfree_skbmem",
            "napi_skb_free_stolen_head", "free_old_xmit_skbs", "free_old_xmit", "__free_old_xmit",
        ]),

        // net/core/dev.c: callers make their lists empty themselves (gro_normal_list(), include/net/gro.h), or have taken packets from them before.
        (Packets, ["netif_receive_skb_list_internal", "__netif_receive_skb_list", "__netif_receive_skb_list_core", "netif_receive_skb_list"]),

        // net/ipv4/ip_input.c, net/ipv6/ip6_input.c.
        (Packets, ["ip_sublist_rcv", "ip_list_rcv_finish", "ip_sublist_rcv_finish", "ip6_sublist_rcv", "ip6_list_rcv_finish", "ip6_sublist_rcv_finish"]),

        // mm/vmstat.c, mm/memcontrol.c, mm/page_counter.c, kernel/cgroup/rstat.c, kernel/sched/cpuacct.c, kernel/sched/psi.c.
        (Count, [
            "__mod_node_page_state", "mod_node_page_state", "__mod_zone_page_state", "mod_zone_page_state", "__inc_node_page_state", "__dec_node_page_state", "inc_node_page_state", "dec_node_page_state", "__mod_lruvec_state",
            "__mod_memcg_lruvec_state", "__mod_lruvec_page_state", "__lruvec_stat_mod_folio", "__mod_lruvec_kmem_state", "__mod_memcg_state", "__count_memcg_events", "mod_objcg_state", "memcg_check_events", "page_counter_charge",
            "page_counter_uncharge", "page_counter_cancel", "cgroup_rstat_updated", "__cgroup_rstat_updated", "__cgroup_account_cputime", "__cgroup_account_cputime_field", "cpuacct_charge", "cpuacct_account_field", "psi_task_change",
            "psi_task_switch", "psi_group_change", "psi_account_irqtime", "quiet_vmstat",
        ]),

        // block/blk-core.c, block/blk-stat.c; fs/inode.c; mm/swap.c; drivers/char/random.c; kernel/tsacct.c, kernel/irq/spurious.c.
        (Count, [
            "update_io_ticks", "blk_stat_add", "touch_atime", "mark_page_accessed", "folio_mark_accessed", "workingset_activation", "add_interrupt_randomness", "add_disk_randomness", "add_input_randomness", "acct_account_cputime",
            "acct_update_integrals", "acct_collect", "note_interrupt",
        ]),

        // kernel/sched/cputime.c, kernel/time/timer.c, kernel/sched/core.c, kernel/sched/loadavg.c, kernel/time/posix-cpu-timers.c, kernel/events/core.c, kernel/profile.c: each tick does all of it anew.
        (Time, [
            "account_process_tick", "account_user_time", "account_system_time", "account_system_index_time", "account_idle_time", "account_idle_ticks", "account_guest_time", "irqtime_account_irq", "irqtime_account_process_tick",
            "update_process_times", "scheduler_tick", "sched_tick", "task_tick_fair", "task_tick_idle", "task_tick_mm_cid", "calc_global_load", "calc_global_load_tick", "run_posix_cpu_timers", "perf_event_task_tick", "profile_tick",
            "trigger_load_balance", "sched_balance_trigger", "tick_sched_handle", "update_rt_rq_load_avg",
        ]),

        // kernel/sched/core.c, kernel/sched/fair.c.
        (Preemption, ["check_preempt_curr", "wakeup_preempt", "check_preempt_wakeup", "check_preempt_wakeup_fair", "resched_curr"]),
    }.SelectMany(row => row.Functions.Select(function => (function, row.What))).Append(("napi_gro_receive", new Expendable("one packet that has come", "its memory is never freed") { Result = 4, Shown = "GRO_CONSUMED" }))
        .ToDictionary(row => row.Item1, row => row.Item2, StringComparer.Ordinal);

    /// <summary>Names of all.</summary>
    public static IReadOnlyCollection<string> All => Table.Keys;

    /// <summary>What is lost where this function comes back early, by its symbol; null where somebody would miss its work. Compilers' suffixes do not matter.</summary>
    public static Expendable? Find(string symbol) => Table.GetValueOrDefault(Boundaries.WithoutSuffix(symbol));
}
