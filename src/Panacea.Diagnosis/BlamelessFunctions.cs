namespace Panacea.Diagnosis;

/// <summary>Functions that are not to blame though they stand on top of a stack. One list for crashes read from memory and for those read from a log: the same crash has the same title in both.</summary>
internal static class BlamelessFunctions
{
    /// <summary>Functions that do what they are told: a fault in one is its caller's. Names as in lib/, arch/x86/lib/ and mm/usercopy.c.</summary>
    private static readonly HashSet<string> Generic = new(StringComparer.Ordinal)
    {
        "memcpy", "__memcpy", "memcpy_orig", "memcpy_erms", "memset", "__memset", "memset_orig", "memset_erms", "memmove", "__memmove", "memcmp", "bcmp", "memchr", "memscan", "strlen", "strnlen",
        "strcpy", "strncpy", "strscpy", "sized_strscpy", "strlcpy", "strcmp", "strncmp", "strchr", "strrchr", "strstr", "strcat", "strlcat", "clear_page_erms", "clear_page_rep", "clear_page_orig", "copy_page",
        "rep_movs_alternative", "rep_stos_alternative", "copy_user_generic_string", "copy_user_enhanced_fast_string", "copy_user_generic_unrolled", "copy_user_fast_string", "_copy_to_user", "_copy_from_user",
        "__list_add_valid", "__list_del_entry_valid", "__list_add_valid_or_report", "__list_del_entry_valid_or_report", "__x86_indirect_thunk_array",
        "usercopy_abort", "__check_heap_object", "__check_object_size", "exc_control_protection", "asm_exc_control_protection",
    };

    /// <summary>Functions through which others report that something is wrong: a panic from one is its caller's.</summary>
    private static readonly HashSet<string> Reporters = new(StringComparer.Ordinal)
    {
        "panic", "vpanic", "nmi_panic", "__stack_chk_fail", "fortify_panic", "__fortify_panic", "usercopy_abort", "check_panic_on_warn", "__warn", "warn_slowpath_fmt", "__warn_printk",
        "dump_stack", "dump_stack_lvl", "__dump_stack", "show_stack", "refcount_warn_saturate", "__copy_overflow",
    };

    private static readonly string[] Waiting =
    [
        "schedule", "__schedule", "io_schedule", "preempt_schedule", "mutex_lock", "__mutex_lock", "ww_mutex_lock", "__ww_mutex_lock", "rt_mutex_", "__rt_mutex_", "rwsem_", "down", "__down", "wait_for_completion", "wait_for_common",
        "__wait_for_common", "do_wait_for_common", "bit_wait", "__wait_on_bit", "out_of_line_wait_on_bit", "wait_on_bit", "folio_wait_bit", "wait_on_page_bit", "__wait_rcu_gp", "synchronize_rcu", "percpu_rwsem_wait", "__percpu_down_read",
        "__percpu_rwsem", "usleep_range", "msleep", "hrtimer_nanosleep", "do_nanosleep", "__might_sleep", "__might_resched", "wait_event", "jbd2_log_wait_commit", "__synchronize_srcu",
    ];

    private static readonly string[] Spinning =
    [
        "native_queued_spin_lock_slowpath", "queued_spin_lock_slowpath", "pv_queued_spin_lock_slowpath", "__pv_queued_spin_lock_slowpath", "_raw_spin_", "_raw_read_", "_raw_write_", "queued_read_lock_slowpath", "queued_write_lock_slowpath", "do_raw_spin_",
        "delay_tsc", "delay_halt", "delay_loop", "__delay", "__const_udelay", "__udelay", "__ndelay", "csd_lock_wait", "smp_call_function", "native_smp_call_", "cpu_relax", "kvm_wait", "pvclock_", "read_tsc", "ktime_get",
        "rcu_", "print_cpu_stall", "nmi_cpu_backtrace", "nmi_trigger_cpumask_backtrace", "watchdog_", "__irq_work_run", "trigger_", "arch_trigger_", "sched_show_task", "sysrq_",
    ];

    private static readonly string[] Sanitizers =
    [
        "kasan_", "__kasan_", "__asan_", "print_report", "print_address_description", "check_memory_region", "check_region_inline", "ubsan_", "__ubsan_", "handle_overflow", "val_to_string", "kfence_", "__kfence_", "kcsan_", "__tsan_", "kmsan_", "__msan_",
        "instrument_", "report_", "dump_",
    ];

    private static readonly string[] LockChecks =
    [
        "print_", "check_noncircular", "check_prev_add", "check_prevs_add", "validate_chain", "__lock_acquire", "lock_acquire", "lock_release", "__lock_release", "mark_lock", "mark_usage", "mark_held_locks", "check_irq_usage", "check_usage", "check_wait_context", "check_deadlock",
        "lockdep_", "debug_check_no_locks_freed", "debug_object_", "_raw_spin_", "_raw_read_", "_raw_write_", "__raw_", "bad_unlock", "__schedule_bug", "__might_resched", "__might_sleep", "kernel_exit_mm", "trace_hardirqs",
    ];

    private static readonly string[] Allocators =
    [
        "kfree", "kmem_cache_", "__kmem_cache_", "kmalloc_", "__kmalloc", "kvfree", "kvmalloc", "__kvmalloc", "krealloc", "slab_", "__slab_", "___slab_", "object_err", "check_slab", "check_object", "check_bytes_and_report", "free_debug_processing",
        "alloc_debug_processing", "free_to_partial_list", "alloc_single_from_", "get_any_partial", "get_partial", "__unfreeze_partials", "print_trailer", "set_freepointer", "do_slab_free", "cache_from_obj", "on_freelist", "init_object", "___kmalloc_large_node",
        "bad_page", "free_page_is_bad", "free_unref_", "__free_pages", "free_pages", "__free_frozen_pages", "free_frozen_pages", "free_pcp", "free_one_page", "get_page_from_freelist", "rmqueue", "check_new_page", "prep_new_page", "__alloc_pages", "alloc_pages", "__alloc_frozen_pages",
        "alloc_frozen_pages", "__rmqueue", "get_free_pages", "__get_free_pages", "warn_alloc", "__vmalloc", "vmalloc", "dump_page", "__folio_alloc", "folio_alloc", "allocate_slab", "new_slab", "out_of_memory", "oom_kill_process", "dump_header", "kmalloc_order", "___free",
    ];

    /// <summary>A fault in this function is its caller's.</summary>
    /// <param name="function">The function's name.</param>
    /// <param name="isTrap">True for a trap, false where the function stopped by calling panic() or a report.</param>
    public static bool Contains(string function, bool isTrap)
    {
        // The compiler moves a function's unlikely end elsewhere, as name.cold.
        string plain = Buckets.Plain(function);
        return Generic.Contains(plain) || plain.StartsWith("__x86_indirect_", StringComparison.Ordinal) || (!isTrap && Reporters.Contains(plain));
    }

    /// <summary>A function that stands on top of the stack of every report of a kind that the kernel writes about itself without having died.</summary>
    /// <param name="kind">The report's kind.</param>
    /// <param name="function">The function's name.</param>
    public static bool StandsAbove(CrashKind kind, string function) => Contains(function, isTrap: false) || kind switch
    {
        CrashKind.HungTask => Any(Waiting, function),
        CrashKind.SoftLockup or CrashKind.HardLockup or CrashKind.RcuStall => Any(Spinning, function) || Any(Waiting, function),
        CrashKind.Kasan or CrashKind.Ubsan or CrashKind.Kfence or CrashKind.Kcsan or CrashKind.Kmsan => Any(Sanitizers, function) || Any(Allocators, function),
        CrashKind.Lockdep or CrashKind.RcuUsage => Any(LockChecks, function) || Any(Waiting, function),
        CrashKind.SleepInAtomic or CrashKind.ScheduleInAtomic => Any(LockChecks, function) || Any(Waiting, function) || Any(Allocators, function),
        CrashKind.SlabCorruption or CrashKind.BadPage or CrashKind.BadPageMap or CrashKind.AllocationFailure or CrashKind.MemoryLeak => Any(Allocators, function) || Any(Sanitizers, function),
        _ => false,
    };

    private static bool Any(string[] starts, string function)
    {
        foreach (string start in starts)
        {
            if (function.StartsWith(start, StringComparison.Ordinal))
                return true;
        }

        return false;
    }
}
