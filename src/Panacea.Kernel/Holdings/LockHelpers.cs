namespace Panacea.Kernel.Holdings;

/// <summary>The kernel's functions that call lock functions and come back with the lock held, or give back one that their caller holds; and those of locks that Panacea does not know to give back.</summary>
internal static class LockHelpers
{
    private const TakenWhen Zero = TakenWhen.ResultIsZero, NotZero = TakenWhen.ResultIsNotZero;

    private static readonly Dictionary<string, LockFunction> Helpers = new(StringComparer.Ordinal)
    {
        // include/linux/bottom_half.h, kernel/softirq.c: SOFTIRQ_DISABLE_OFFSET. The other half of either is inlined.
        ["__local_bh_disable_ip"] = new(HoldingKind.Other, false) { Preempt = 0x200, IsHelper = true },
        ["__local_bh_enable_ip"] = new(HoldingKind.Other, false) { Preempt = -0x200, IsHelper = true },

        // The lock is the first member of struct rq (kernel/sched/sched.h); with core scheduling it is another one (kernel/sched/core.c), and the word of this one says that it is not held.
        ["raw_spin_rq_lock_nested"] = Take(HoldingKind.Spinlock) with { Argument = 0 },
        ["raw_spin_rq_trylock"] = Take(HoldingKind.Spinlock, NotZero) with { Argument = 0 },
        ["raw_spin_rq_unlock"] = Give(HoldingKind.Spinlock),
        ["_raw_spin_rq_lock_irqsave"] = Take(HoldingKind.Spinlock, TakenWhen.Always, InterruptChange.Off) with { Argument = 0 },
        ["double_rq_lock"] = Take(HoldingKind.Spinlock) with { Also = HoldingKind.Spinlock },
        ["_double_lock_balance"] = Take(HoldingKind.Spinlock) with { Argument = 1 },
        ["__task_rq_lock"] = Take(HoldingKind.Spinlock),
        ["task_rq_lock"] = Take(HoldingKind.Spinlock, TakenWhen.Always, InterruptChange.Off) with { Also = HoldingKind.Spinlock },
        ["find_lock_lowest_rq"] = Take(HoldingKind.Spinlock, NotZero),
        ["find_lock_later_rq"] = Take(HoldingKind.Spinlock, NotZero),
        ["finish_task_switch"] = Give(HoldingKind.Spinlock, InterruptChange.On),
        ["affine_move_task"] = Give(HoldingKind.Spinlock, InterruptChange.Restored) with { Also = HoldingKind.Spinlock },

        // kernel/time/timer.c, posix-timers.c; kernel/signal.c; kernel/futex/.
        ["lock_timer_base"] = Take(HoldingKind.Spinlock, TakenWhen.Always, InterruptChange.Off),
        ["timer_lock_remote_bases"] = Take(HoldingKind.Spinlock) with { Also = HoldingKind.Spinlock },
        ["timer_unlock_remote_bases"] = Give(HoldingKind.Spinlock) with { Also = HoldingKind.Spinlock },
        ["__lock_timer"] = Take(HoldingKind.Spinlock, NotZero, InterruptChange.Off),
        ["__lock_task_sighand"] = Take(HoldingKind.Spinlock, NotZero, InterruptChange.Off),
        ["futex_q_lock"] = Take(HoldingKind.Spinlock),
        ["futex_q_unlock"] = Give(HoldingKind.Spinlock),
        ["futex_wait_queue"] = Give(HoldingKind.Spinlock),
        ["__irq_get_desc_lock"] = Take(HoldingKind.Spinlock, NotZero, InterruptChange.Off),
        ["__irq_put_desc_unlock"] = Give(HoldingKind.Spinlock, InterruptChange.Restored),
        ["perf_event_ctx_lock_nested"] = Take(HoldingKind.Mutex),

        // kernel/rcu/tree.c, tree_exp.h, tree_nocb.h: they give back the lock of the node or of the offloaded CPU's queue.
        ["rcu_report_qs_rnp"] = Give(HoldingKind.Spinlock, InterruptChange.Restored),
        ["__rcu_report_exp_rnp"] = Give(HoldingKind.Spinlock, InterruptChange.Restored),
        ["__wake_nocb_gp"] = Give(HoldingKind.Spinlock, InterruptChange.Restored),

        // mm/: page tables (mm/pgtable-generic.c: where there are such functions, in an RCU section too), VMAs, lists of pages.
        ["__pte_offset_map"] = Take(HoldingKind.Rcu, NotZero),
        ["pte_offset_map_nolock"] = Take(HoldingKind.Rcu, NotZero),
        ["pte_offset_map_ro_nolock"] = Take(HoldingKind.Rcu, NotZero),
        ["pte_offset_map_rw_nolock"] = Take(HoldingKind.Rcu, NotZero),
        ["__pte_offset_map_lock"] = Take(HoldingKind.Spinlock, NotZero) with { Also = HoldingKind.Rcu },
        ["__get_locked_pte"] = Take(HoldingKind.Spinlock, TakenWhen.Sometimes),
        ["follow_pfnmap_start"] = Take(HoldingKind.Spinlock, TakenWhen.Sometimes),
        ["follow_pfnmap_end"] = Give(HoldingKind.Spinlock) with { Also = HoldingKind.Rcu },
        ["page_vma_mapped_walk"] = Take(HoldingKind.Spinlock, TakenWhen.Sometimes),
        ["folio_lock_anon_vma_read"] = Take(HoldingKind.RwsemRead, TakenWhen.Sometimes),
        ["__pmd_trans_huge_lock"] = Take(HoldingKind.Spinlock, NotZero),
        ["__pud_trans_huge_lock"] = Take(HoldingKind.Spinlock, NotZero),
        ["follow_pte"] = Take(HoldingKind.Spinlock, Zero),
        ["do_wp_page"] = Give(HoldingKind.Spinlock) with { Also = HoldingKind.Rcu },
        ["wp_page_reuse"] = Give(HoldingKind.Spinlock) with { Also = HoldingKind.Rcu },
        ["lock_mm_and_find_vma"] = Take(HoldingKind.RwsemRead, NotZero),
        ["lock_vma_under_rcu"] = Take(HoldingKind.RwsemRead, NotZero),
        ["mmap_read_lock"] = Take(HoldingKind.RwsemRead),
        ["mmap_read_unlock"] = Give(HoldingKind.RwsemRead),
        ["hugetlb_vma_lock_read"] = Take(HoldingKind.RwsemRead, TakenWhen.Sometimes),
        ["hugetlb_vma_unlock_read"] = Give(HoldingKind.RwsemRead),
        ["hugetlb_vma_lock_write"] = Take(HoldingKind.RwsemWrite, TakenWhen.Sometimes),
        ["hugetlb_vma_unlock_write"] = Give(HoldingKind.RwsemWrite),
        ["folio_lruvec_lock"] = Take(HoldingKind.Spinlock),
        ["folio_lruvec_lock_irq"] = Take(HoldingKind.Spinlock, TakenWhen.Always, InterruptChange.Off),
        ["folio_lruvec_lock_irqsave"] = Take(HoldingKind.Spinlock, TakenWhen.Always, InterruptChange.Off),

        // fs/: whether the position of an open file is locked is told by one bit of the result (fs/file.c, FDPUT_POS_UNLOCK), and a pipe that nobody has open has nothing to lock.
        ["__fdget_pos"] = Take(HoldingKind.Mutex, TakenWhen.Sometimes),
        ["fdget_pos"] = Take(HoldingKind.Mutex, TakenWhen.Sometimes),
        ["__f_unlock_pos"] = Give(HoldingKind.Mutex),
        ["pipe_lock"] = Take(HoldingKind.Mutex, TakenWhen.Sometimes),
        ["pipe_unlock"] = Give(HoldingKind.Mutex),
        ["namespace_unlock"] = Give(HoldingKind.RwsemWrite),
        ["lock_mount"] = Take(HoldingKind.RwsemWrite, TakenWhen.Sometimes),
        ["deactivate_locked_super"] = Give(HoldingKind.RwsemWrite),
        ["__lock_parent"] = Take(HoldingKind.Spinlock, NotZero),
        ["lock_for_kill"] = Take(HoldingKind.Spinlock, TakenWhen.Sometimes),
        ["dentry_unlink_inode"] = Give(HoldingKind.Spinlock) with { Also = HoldingKind.Spinlock },
        ["wbc_attach_and_unlock_inode"] = Give(HoldingKind.Spinlock),
        ["inode_sleep_on_writeback"] = Give(HoldingKind.Spinlock),
        ["ext4_double_down_write_data_sem"] = Take(HoldingKind.RwsemWrite) with { Also = HoldingKind.RwsemWrite },
        ["ext4_double_up_write_data_sem"] = Give(HoldingKind.RwsemWrite) with { Also = HoldingKind.RwsemWrite },
        ["wait_transaction_locked"] = Give(HoldingKind.RwlockRead),

        // lib/dec_and_lock.c, lib/refcount.c: the lock is the second argument, and is taken where the count is zero then.
        ["_atomic_dec_and_lock"] = Take(HoldingKind.Spinlock, NotZero) with { Argument = 1, Counts = true },
        ["_atomic_dec_and_lock_irqsave"] = Take(HoldingKind.Spinlock, NotZero, InterruptChange.Off) with { Argument = 1, Counts = true },
        ["_atomic_dec_and_raw_lock"] = Take(HoldingKind.Spinlock, NotZero) with { Argument = 1, Counts = true },
        ["_atomic_dec_and_raw_lock_irqsave"] = Take(HoldingKind.Spinlock, NotZero, InterruptChange.Off) with { Argument = 1, Counts = true },
        ["refcount_dec_and_lock"] = Take(HoldingKind.Spinlock, NotZero) with { Argument = 1, Counts = true },
        ["refcount_dec_and_lock_irqsave"] = Take(HoldingKind.Spinlock, NotZero, InterruptChange.Off) with { Argument = 1, Counts = true },

        // kernel/sched/wait.c: where a signal has come it has left the queue.
        ["prepare_to_wait_event"] = Other("finish_wait", Zero),

        // What can't be given back, and whose result says whether it was taken.
        ["rtnl_trylock"] = Other("rtnl_unlock", NotZero),
        ["console_trylock"] = Other("console_unlock", NotZero),
        ["cpus_read_trylock"] = Other("cpus_read_unlock", NotZero),
        ["kernfs_get_active"] = Other("kernfs_put_active", NotZero),
        ["next_uptodate_page"] = Other("unlock_page", NotZero),
        ["next_uptodate_folio"] = Other("folio_unlock", NotZero),
        ["__folio_lock_killable"] = Other("folio_unlock", Zero),
        ["blk_queue_enter"] = Other("blk_queue_exit", Zero),
        ["mnt_want_write"] = Other("mnt_drop_write", Zero),
        ["mnt_want_write_file"] = Other("mnt_drop_write_file", Zero),

        // net/, drivers/tty/.
        ["sk_clone_lock"] = Take(HoldingKind.Spinlock, NotZero),
        ["inet_csk_clone_lock"] = Take(HoldingKind.Spinlock, NotZero),
        ["sk_free_unlock_clone"] = Give(HoldingKind.Spinlock),
        ["tcp_child_process"] = Give(HoldingKind.Spinlock),
        ["netif_tx_lock"] = Take(HoldingKind.Spinlock),
        ["netif_tx_unlock"] = Give(HoldingKind.Spinlock),
        ["netlink_table_grab"] = Take(HoldingKind.RwlockWrite, TakenWhen.Always, InterruptChange.Off),
        ["netlink_table_ungrab"] = Give(HoldingKind.RwlockWrite, InterruptChange.On),
        ["devl_lock"] = Take(HoldingKind.Mutex),
        ["devl_unlock"] = Give(HoldingKind.Mutex),
        ["genl_lock"] = Take(HoldingKind.Mutex),
        ["genl_unlock"] = Give(HoldingKind.Mutex),
        ["tty_lock"] = Take(HoldingKind.Mutex),
        ["tty_unlock"] = Give(HoldingKind.Mutex),
        ["tty_buffer_lock_exclusive"] = Take(HoldingKind.Mutex),
        ["tty_buffer_unlock_exclusive"] = Give(HoldingKind.Mutex),
    };

    /// <summary>Functions that come back holding something that can't be given back, and those that give it back: prefixes of symbol names.</summary>
    private static readonly (string Take, string? Give)[] Others =
    [
        ("ww_mutex_lock", "ww_mutex_unlock"), ("ww_mutex_trylock", "ww_mutex_unlock"), ("rt_mutex_lock", "rt_mutex_unlock"), ("rt_mutex_trylock", "rt_mutex_unlock"), ("percpu_down_write", "percpu_up_write"),
        ("percpu_down_", null), ("__percpu_down_", null), ("jbd2_journal_start_", null), ("__ext4_journal_start", null), ("lock_sock_nested", "release_sock"), ("lock_sock", "release_sock"), ("__lock_sock_fast", "release_sock"),
        ("release_sock_nested", null), ("lock_page", "unlock_page"), ("folio_lock", "folio_unlock"), ("__folio_lock", "folio_unlock"), ("filemap_lock_folio", "folio_unlock"),
        ("bit_spin_lock", null), ("srcu_read_lock", "srcu_read_unlock"), ("__srcu_read_lock", "__srcu_read_unlock"),
        ("queued_spin_lock", null), ("native_queued_spin_lock", null), ("preempt_disable", null), ("queue_write_lock", null), ("queued_read_lock", null), ("queued_write_lock", null), ("downgrade_write", null),
        ("rtnl_lock", "rtnl_unlock"), ("console_lock", "console_unlock"), ("cpus_read_lock", "cpus_read_unlock"),
        ("cpus_write_lock", "cpus_write_unlock"), ("lock_rename", "unlock_rename"), ("lock_two_", "unlock_two_"),
        ("__mnt_want_write", "__mnt_drop_write"), ("sb_start_", "sb_end_"), ("__sb_start_write", "__sb_end_write"), ("file_start_write", "file_end_write"),
        ("kernel_fpu_begin", "kernel_fpu_end"), ("device_lock", "device_unlock"), ("blk_mq_freeze_queue", "blk_mq_unfreeze_queue"), ("seq_lock", null), ("write_seqlock", null),
        ("module_mutex_lock", null), ("lock_system_sleep", "unlock_system_sleep"), ("local_lock", null), ("migrate_disable", "migrate_enable"), ("folio_memcg_lock", "folio_memcg_unlock"),
        ("filename_create", "done_path_create"), ("kern_path_create", "done_path_create"), ("user_path_create", "done_path_create"), ("pagefault_disable", null), ("kmap_atomic", null), ("memalloc_", null),

        // An entry that lies on the stack, in a queue of those to be woken.
        ("prepare_to_wait", "finish_wait"), ("prepare_to_swait", "finish_swait"), ("add_wait_queue", "remove_wait_queue"), ("poll_initwait", "poll_freewait"),
    ];

    /// <summary>Beginnings of the names of functions that give back what can't be given back otherwise, the longest first.</summary>
    private static readonly string[] Releases = [.. Others.Select(o => o.Give).Concat(Helpers.Values.Select(h => h.Pair)).OfType<string>().Distinct().OrderByDescending(r => r.Length)];

    /// <summary>Functions that are named one by one.</summary>
    public static IReadOnlyCollection<string> Names => Helpers.Keys;

    /// <summary>What a call of a function does; null where it is none of these.</summary>
    public static LockFunction? Find(string name)
    {
        // The compiler makes copies of static functions: "name.constprop.0".
        int dot = name.IndexOf('.', StringComparison.Ordinal);
        if (Helpers.TryGetValue(dot > 0 ? name[..dot] : name, out LockFunction? helper))
            return helper;
        foreach ((string take, string? give) in Others)
        {
            if (name.StartsWith(take, StringComparison.Ordinal))
                return new LockFunction(HoldingKind.Other, true) { Pair = give };
        }

        return Releases.FirstOrDefault(r => name.StartsWith(r, StringComparison.Ordinal)) is { } release ? new LockFunction(HoldingKind.Other, false) { Pair = release } : null;
    }

    private static LockFunction Take(HoldingKind kind, TakenWhen when = TakenWhen.Always, InterruptChange interrupts = InterruptChange.None) => new(kind, true, when, interrupts, LockFunction.Inner) { IsHelper = true };

    private static LockFunction Other(string release, TakenWhen when) => new(HoldingKind.Other, true, when) { Pair = release, IsHelper = true };

    private static LockFunction Give(HoldingKind kind, InterruptChange interrupts = InterruptChange.None) => new(kind, false, TakenWhen.Always, interrupts, LockFunction.Inner) { IsHelper = true };
}
