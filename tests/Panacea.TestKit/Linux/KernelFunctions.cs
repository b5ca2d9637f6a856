using Iced.Intel;
using Panacea.Formats.Orc;
using static Iced.Intel.AssemblerRegisters;

namespace Panacea.TestKit.Linux;

/// <summary>The text of the synthetic kernel: entry code, trap handlers, a write() path, and functions that die in it, each in its own way.</summary>
internal static partial class KernelFunctions
{
    /// <summary>A pt_regs lies at RSP.</summary>
    private static readonly OrcEntry RegsHere = new(OrcRegister.Sp, 0, OrcRegister.Undefined, 0, OrcType.Regs, Signal: true);

    private static readonly OrcEntry End = new(OrcRegister.Undefined, 0, OrcRegister.Undefined, 0, OrcType.End, Signal: false);

    /// <summary>Functions with a NULL write and what BTF says they return.</summary>
    public static readonly (string Name, Func<SyntheticTypes, CType?>? Returns)[] Writers =
    [
        ("ct_int", t => t.S32), ("ct_long", t => t.S64), ("ct_bool", t => t.Bool), ("ct_ptr", t => t.Pointer), ("ct_errptr", t => t.Pointer), ("ct_ptr_unchecked", t => t.Pointer),
        ("ct_void", _ => null), ("ct_uint", t => t.U32), ("ct_nobtf", null), ("ct_index", t => t.S32),
    ];

    /// <summary>Other functions that the write path reaches.</summary>
    public static readonly string[] Others = ["ct_read", "ct_call", "ct_bug", "ct_div", "ct_locked", "ct_preempt", "ct_bitlock", "ct_counted", "ct_table", "ct_memcpy", "ct_panic", "ct_stack_chk", "ct_branchy.isra.0", "ct_mutexed", "ct_irqs", "ct_warned", "ct_journal", "ct_plug", "watchdog_timer_fn", "rcu_sched_clock_irq", "rcu_pending", "tick_nohz_handler", "do_exit.cold", "__schedule_bug", "out_of_memory", "ct_recurse", "ct_list_del", "ct_list_add", "ct_again", "ct_again_counted", "ct_again_marked", "ct_again_locked", "ct_again_unnamed", "ct_again_bare", "ct_again_lost", "ct_again_maybe", "ct_again_once", "ct_again_bug", "ct_again_call", "ct_again_loop", "ct_again_local", "ct_again_left", "ct_again_within", "ct_again_pushed", "ct_again_signed", "ct_again_null", "ct_again_null_stored", "ct_again_lock", "ct_again_moving", "ct_again_off", "ct_again_copy", "ct_again_flag", "ct_again_result", "ct_again_kept", "ct_again_passes", "ct_again_halted", "ct_again_filled", "ct_lost_stack"];

    /// <summary>More of them, which <c>ct_more</c> calls.</summary>
    public static readonly string[] Further = ["ct_again_unflagged", "kmem_cache_alloc_ct", "ct_indexed", "napi_complete_done", "ct_again_setup", "ct_again_percpu", "ct_untrapping", "ct_readable", "ct_again_stored", "ct_again_spilled", "ct_again_shared", "ct_again_clock", "ct_returns", "ct_looped", "ct_masked", "kfree", "ct_again_swapped", "ct_again_rounds", "ct_indexes", "ct_holder", "ct_leaves", "ct_handed"];

    public static void Add(SyntheticText text, bool entryNops, bool vpanic)
    {
        foreach (string entry in (string[])["page_fault", "general_protection", "invalid_op", "divide_error", "double_fault", "int3"])
        {
            string handler = entry switch { "page_fault" => "exc_page_fault", "double_fault" => "exc_double_fault", _ => "exc_other" };
            text.Add($"asm_exc_{entry}", w => Entry(w, handler));
        }

        text.Add("entry_SYSCALL_64", w => Entry(w, "do_syscall_64"));
        text.Add("ret_from_fork", w => { w.Row(End); w.Call("kthread"); w.A.int3(); });
        Through(text, "kthread", "ct_outer");
        Through(text, "do_syscall_64", "ksys_write");
        Through(text, "ksys_write", "vfs_write");
        text.Add("vfs_write", w => w.Frame(() => w.A.call(rax)));
        text.Add("exc_page_fault", w => w.Frame(() => { w.Call("page_fault_oops"); w.A.nop(); w.Call("do_user_addr_fault"); w.A.nop(); }));
        text.Add("do_user_addr_fault", w => w.Frame(() =>
        {
            Label off = w.A.CreateLabel();
            w.A.test(rdi, rdi);
            w.A.je(off);
            w.A.sti();
            w.A.Label(ref off);
            w.Call("ct_more");
            w.A.nop();
        }));
        Through(text, "sysvec_apic_timer_interrupt", "ct_outer");
        text.Add("asm_sysvec_ct", w => { w.Row(RegsHere); w.A.call(rax); w.At("back:0"); w.A.nop(); });
        Through(text, "page_fault_oops", "oops_end");
        Through(text, "exc_other", "die");
        text.Add("exc_double_fault", w => w.Frame(() => { w.Call("handle_stack_overflow"); w.Call("die"); w.A.nop(); }));
        Through(text, "handle_stack_overflow", "die");
        Through(text, "die", "oops_end");
        text.Add("oops_end", w => DeathPoint(w, entryNops));
        if (vpanic)
        {
            Through(text, "panic", "vpanic");
            text.Add("vpanic", w => DeathPoint(w, entryNops));
        }
        else
        {
            text.Add("panic", w => DeathPoint(w, entryNops));
        }

        Through(text, "__stack_chk_fail", "panic");
        Through(text, "check_panic_on_warn", "panic");
        Through(text, "ct_warned", "check_panic_on_warn");
        text.Add("oops_begin", w => { w.Depth(8); w.A.nop(); w.A.ret(); });
        foreach (string dead in (string[])["make_task_dead", "rewind_stack_and_make_dead", "do_exit"])
            text.Add(dead, w => { w.Depth(8); w.A.ud2(); });
        Sleepers(text);
        Through(text, "msleep", "schedule_timeout");
        text.Add("_raw_spin_lock", w => { w.Depth(8); w.Call("native_queued_spin_lock_slowpath"); w.A.ret(); });
        foreach (string leaf in (string[])["_raw_spin_lock_irqsave", "_raw_spin_unlock", "mutex_unlock", "jbd2_journal_start", "jbd2_journal_stop", "blk_start_plug", "blk_finish_plug", "irqentry_nmi_exit", "irqentry_exit"])
            text.Add(leaf, w => { w.Depth(8); w.A.ret(); });
        foreach (string dispatcher in (string[])["call_timer_fn", "process_one_work", "__handle_irq_event_percpu", "notifier_call_chain", "__napi_poll", "__hrtimer_run_queues", "blk_mq_dispatch_rq_list", "dev_hard_start_xmit"])
            text.Add(dispatcher, w => w.Frame(() => { w.A.call(rax); w.At("back:0"); w.A.nop(); }));
        text.Add("memcpy", w => { w.Depth(8); w.A.mov(rax, rdi); w.At("fault"); w.A.mov(__byte_ptr[rdi], cl); w.A.ret(); });
        text.Add("ct_outer", Outer);
        text.Add("ct_more", w => w.Frame(() =>
        {
            foreach (string name in Further)
            {
                w.A.mov(rdi, rbx);
                w.Call(name);
                w.A.nop();
            }
        }));
        foreach ((string name, _) in Writers)
            text.Add(name, NullWrite);
        text.Add("ct_read", w => w.Frame(() => { w.At("fault"); w.A.mov(rcx, __qword_ptr[rax + 8]); }));

        // What they crash of lies in memory that R12 points to: another value there, and they would not.
        text.Add("ct_again", w => w.Frame(() => Again(w)));
        text.Add("ct_again_bare", w => { w.Depth(8); Again(w); w.A.ret(); });
        text.Add("ct_again_lost", w => { w.Depth(8); w.A.add(rdi, 8); Again(w); w.A.ret(); });
        text.Add("ct_again_signed", w => { w.Depth(8); w.A.movsxd(rdi, edi); Again(w); w.A.ret(); });
        text.Add("_raw_spin_lock_irq", w => { w.Depth(8); w.A.mov(eax, 0); w.A.mov(edx, 1); w.At("fault"); w.A.@lock.cmpxchg(__dword_ptr[rdi], edx); w.A.ret(); });
        text.Add("ct_again_lock", w => w.Frame(() => { w.A.mov(rdi, __qword_ptr[r12]); w.Call("_raw_spin_lock_irq"); w.A.nop(); }));
        text.Add("ct_again_moving", w => w.Frame(() =>
        {
            Label next = w.A.CreateLabel();
            Again(w);
            w.A.mov(edx, 1000);
            w.A.Label(ref next);
            w.A.lea(rdi, __[rsp - 0x800]);
            w.A.mov(ecx, 0x400);
            w.A.rep.stosb();
            w.A.dec(edx);
            w.A.jne(next);
            w.A.ud2();
        }));
        text.Add("ct_again_off", w => w.Frame(() => { w.A.cli(); Again(w); }));
        text.Add("memcpy_erms", w => { w.Depth(8); w.A.mov(rax, rdi); w.A.mov(rcx, rdx); w.At("fault"); w.A.rep.movsb(); w.A.ret(); });
        text.Add("memcpy_orig", w => { w.Depth(8); w.Jump("memcpy_erms"); });
        text.Add("ct_again_copy", w => w.Frame(() => { w.A.mov(rdi, r12); w.A.mov(rsi, r12); w.A.mov(rdx, __qword_ptr[r12 + 24]); w.Call("memcpy_orig"); w.At("back:memcpy_erms"); w.A.nop(); }));
        text.Add("ct_get", w => { w.Depth(8); w.A.mov(rax, __qword_ptr[rdi]); w.A.ret(); });
        text.Add("ct_again_null", w => w.Frame(() => { w.A.mov(__dword_ptr[r12 + 16], 7); w.A.mov(rdi, r12); w.At("again"); w.Call("ct_get"); w.A.mov(rbx, rax); w.At("fault"); w.A.mov(ecx, __dword_ptr[rax + 8]); }));
        text.Add("ct_again_null_stored", w => w.Frame(() => { w.A.mov(rdi, r12); w.Call("ct_get"); w.A.mov(__qword_ptr[r12 + 16], rax); w.At("fault"); w.A.mov(ecx, __dword_ptr[rax + 8]); }));
        text.Add("ct_again_once", w => w.Frame(() =>
        {
            Label done = w.A.CreateLabel();
            w.A.cmp(__dword_ptr[r12 + 16], 0);
            w.A.je(done);
            w.A.mov(__dword_ptr[r12 + 16], 0);
            Again(w);
            w.A.Label(ref done);
            w.A.nop();
        }));
        text.Add("ct_again_bug", w => w.Frame(() =>
        {
            Label whole = w.A.CreateLabel();
            w.A.mov(rax, __qword_ptr[r12]);
            w.A.test(rax, rax);
            w.A.jne(whole);
            w.At("fault");
            w.A.ud2();
            w.A.Label(ref whole);
            w.At("whole");
            w.A.mov(ecx, __dword_ptr[rax + 8]);
        }));
        text.Add("ct_again_flag", w => w.Frame(() =>
        {
            Label off = w.A.CreateLabel();
            w.A.pushfq();
            w.A.pop(rax);
            w.A.and(eax, 0x200);
            w.A.je(off);
            w.At("fault");
            w.A.ud2();
            w.A.Label(ref off);
            w.At("off");
            w.A.nop();
        }));
        text.Add("ct_again_unflagged", w => w.Frame(() =>
        {
            Label on = w.A.CreateLabel();
            w.A.pushfq();
            w.A.pop(rax);
            w.A.and(eax, 0x200);
            w.A.jne(on);
            w.At("fault");
            w.A.ud2();
            w.A.Label(ref on);
            w.At("on");
            w.A.nop();
        }));
        Through(text, "__netif_receive_skb_list_core", "ip_list_rcv");
        foreach (string name in (string[])["ip_list_rcv", "napi_complete_done", "kfree"])
            text.Add(name, NullWrite);

        // A lock in an array: R12 points to where the array is, R13 is the element's offset.
        Holders(text);
        text.Add("ct_indexed", w => w.Frame(() =>
        {
            w.A.mov(rdi, __qword_ptr[r12 + 8]);
            w.A.add(rdi, r13);
            w.A.add(rdi, 8);
            w.Call("_raw_spin_lock");
            w.At("fault");
            w.A.mov(__dword_ptr[rax], 1);
        }));
        text.Add("kmem_cache_alloc_ct", w => w.Frame(() =>
        {
            Label none = w.A.CreateLabel(), other = w.A.CreateLabel();
            w.A.mov(rax, __qword_ptr[r12]);
            w.A.test(rax, rax);
            w.A.je(none);
            w.At("fault");
            w.A.mov(rcx, __qword_ptr[rax + 16]);
            w.A.Label(ref none);

            // Nobody knows how it goes on: whose list it takes, the time decides.
            w.A.rdtsc();
            w.A.test(eax, 1);
            w.A.je(other);
            w.A.nop();
            w.A.Label(ref other);
            w.A.nop();
        }));
        text.Add("ct_again_result", w => w.Frame(() =>
        {
            Label none = w.A.CreateLabel();
            w.Call("ct_cpuid");
            w.A.test(eax, eax);
            w.A.je(none);
            w.A.mov(rax, __qword_ptr[r12]);
            w.At("fault");
            w.A.mov(ecx, __dword_ptr[rax + 8]);
            w.A.Label(ref none);
            w.A.nop();
        }));
        text.Add("ct_cpuid", w => { w.Depth(8); w.A.cpuid(); w.A.ret(); });
        text.Add("ct_kept", w => w.Frame(() => { w.Call("ct_cpuid"); w.At("fault"); w.A.mov(ecx, __dword_ptr[rbx + 8]); }));
        text.Add("ct_again_kept", w => w.Frame(() => { w.A.mov(rdi, r12); w.Call("ct_kept"); }));
        text.Add("ct_uses", w => w.Frame(() => { w.At("fault"); w.A.mov(ecx, __dword_ptr[rdi + 8]); }));
        text.Add("ct_passes", w => w.Frame(() => { w.Call("ct_cpuid"); w.A.mov(rdi, rbx); w.Call("ct_uses"); }));
        text.Add("ct_untrapping", w => w.Frame(() => { w.A.mov(rcx, __qword_ptr[r12]); w.At("fault"); w.A.mov(edx, ecx); w.A.nop(); }));
        text.Add("ct_again_setup", w => w.Frame(() => { w.Call("ct_cpuid"); w.A.mov(rsi, __qword_ptr[rdx + 8]); w.A.mov(rdi, r12); w.Call("ct_uses"); }));
        AddReplayed(text);
        text.Add("ct_again_percpu", w => w.Frame(() => { w.A.mov(rbx, 0x40); w.A.add(rbx, __qword_ptr.gs[0]); w.Call("ct_cpuid"); w.At("fault"); w.A.mov(ecx, __dword_ptr[rbx]); }));
        text.Add("ct_again_passes", w => w.Frame(() => { w.A.mov(rdi, r12); w.Call("ct_passes"); }));
        text.Add("ct_again_call", w => w.Frame(() =>
        {
            w.A.mov(rax, __qword_ptr[r12]);
            w.At("call");
            w.A.call(rax);
            w.At("back:0");
            w.A.nop();
        }));
        text.Add("ct_again_local", w =>
        {
            w.Depth(8);
            w.A.sub(rsp, 8);
            w.Depth(16);
            w.A.mov(rax, __qword_ptr[r12]);
            w.A.mov(__qword_ptr[rsp], rax);
            w.At("fault");
            w.A.mov(ecx, __dword_ptr[rax + 8]);
            w.A.add(rsp, 8);
            w.Depth(8);
            w.A.ret();
        });
        text.Add("ct_again_left", w =>
        {
            w.Depth(8);
            w.A.mov(rax, __qword_ptr[r12]);
            w.At("left");
            w.A.ret();
            w.At("fault");
            w.A.int3();
        });
        text.Add("ct_again_within", w => w.Frame(() =>
        {
            w.A.mov(rax, __qword_ptr[r12]);
            w.At("left");
            w.A.db([0x48, 0x8b]);
            w.At("fault");
            w.A.db([0x48, 0x08]);
        }));
        text.Add("ct_again_pushed", w => w.Frame(() =>
        {
            w.A.mov(rax, __qword_ptr[r12]);
            w.At("left");
            w.A.push(r13);
            w.Depth(24);
            w.A.db([0x48, 0x8b]);
            w.At("fault");
            w.A.db([0x48, 0x08]);
            w.A.pop(r13);
            w.Depth(16);
        }));
        text.Add("ct_again_loop", w => w.Frame(() =>
        {
            Label next = w.A.CreateLabel();
            w.A.mov(esi, 3);
            w.A.Label(ref next);
            Again(w);
            w.A.dec(esi);
            w.A.jne(next);
            w.A.nop();
        }));
        text.Add("ct_again_maybe", w => w.Frame(() =>
        {
            Label without = w.A.CreateLabel();
            w.A.cmp(__dword_ptr[r12 + 24], 0);
            w.A.je(without);
            w.A.mov(rdi, r13);
            w.Call("_raw_spin_lock");
            w.A.Label(ref without);
            Again(w);
        }));
        text.Add("ct_again_counted", w => w.Frame(() => { w.A.inc(__dword_ptr[r12 + 16]); Again(w); }));
        text.Add("ct_again_marked", w => w.Frame(() => { w.A.mov(__dword_ptr[r12 + 16], 7); Again(w); w.A.mov(__dword_ptr[r12 + 20], 8); }));
        text.Add("ct_again_locked", w => w.Frame(() => { w.A.mov(rdi, r13); w.Call("_raw_spin_lock"); Again(w); w.A.mov(rdi, r13); w.Call("_raw_spin_unlock"); w.A.nop(); }));
        text.Add("ct_again_unnamed", w => w.Frame(() => { w.A.mov(ecx, __dword_ptr[r12 + 24]); w.A.lea(rdi, __[r13 + (rcx * 8)]); w.Call("_raw_spin_lock"); Again(w); w.A.mov(rdi, r13); w.Call("_raw_spin_unlock"); w.A.nop(); }));
        text.Add("ct_call", w => w.Frame(() => { w.A.call(rax); w.At("back:0"); w.A.nop(); }));
        text.Add("ct_bug", w => { w.Depth(8); w.A.push(rbx); w.Depth(16); w.A.mov(rbx, rdi); w.At("fault"); w.A.ud2(); });
        text.Add("ct_div", w => w.Frame(() => { w.At("fault"); w.A.div(ecx); }));
        text.Add("ct_locked", w => w.Frame(() => { w.Call("_raw_spin_lock"); w.At("fault"); w.A.mov(__dword_ptr[rax], 1); }));
        text.Add("ct_journal", w => w.Frame(() => { w.Call("jbd2_journal_start"); w.At("fault"); w.A.mov(__dword_ptr[rax], 1); }));
        text.Add("ct_plug", w => w.Frame(() => { w.Call("blk_start_plug"); w.At("fault"); w.A.mov(__dword_ptr[rax], 1); }));
        text.Add("ct_recurse", w => w.Frame(() => { w.Call("ct_deep"); w.At("fault"); w.Call("ct_recurse"); w.A.nop(); }));
        foreach (string check in (string[])["__list_del_entry_valid", "__list_del_entry_valid_or_report", "__list_add_valid", "__list_add_valid_or_report"])
            text.Add(check, w => w.Frame(() => { w.At("fault"); w.A.ud2(); }));

        // Kernels have one of the two; the arguments are where a caller keeps what it still needs.
        text.Add("ct_list_del", w => w.Frame(() => { w.A.mov(rdi, r12); w.Call("__list_del_entry_valid"); w.A.mov(rdi, r12); w.Call("__list_del_entry_valid_or_report"); w.A.nop(); }));
        text.Add("ct_list_add", w => w.Frame(() =>
        {
            foreach (string check in (string[])["__list_add_valid", "__list_add_valid_or_report"])
            {
                w.A.mov(rdx, r14);
                w.A.mov(rsi, r13);
                w.A.mov(rdi, r12);
                w.Call(check);
            }

            w.A.nop();
        }));
        text.Add("ct_deep", w =>
        {
            w.Depth(8);
            w.A.sub(rsp, 0x80);
            w.Depth(0x88);
            w.A.nop();
            w.At("fault");
            w.A.mov(__qword_ptr[rsp + 8], rdi);
            w.A.add(rsp, 0x80);
            w.Depth(8);
            w.A.ret();
        });
        foreach (string asks in (string[])["watchdog_timer_fn", "rcu_sched_clock_irq", "rcu_pending", "do_exit.cold"])
            Through(text, asks, "panic");
        text.Add("tick_nohz_handler", NullWrite);
        Through(text, "out_of_memory", "panic");
        text.Add("ct_mutexed", w => w.Frame(() => { w.Call("mutex_lock"); w.At("fault"); w.A.mov(__dword_ptr[rax], 1); w.A.mov(rdi, rbx); w.Call("mutex_unlock"); }));
        text.Add("ct_irqs", w => w.Frame(() => { w.A.cli(); w.At("fault"); w.A.mov(__dword_ptr[rax], 1); w.A.sti(); }));
        text.Add("ct_preempt", w => w.Frame(() => { w.A.inc(__dword_ptr.gs[text["preempt count"]]); w.At("fault"); w.A.mov(__dword_ptr[rax], 1); }));
        text.Add("ct_bitlock", w => w.Frame(() => { w.A.@lock.bts(__dword_ptr[rdi], 0); w.At("fault"); w.A.mov(__dword_ptr[rax], 1); }));
        text.Add("ct_counted", w => w.Frame(() => { w.A.@lock.inc(__dword_ptr[rdi]); w.At("fault"); w.A.mov(__dword_ptr[rax], 1); }));
        text.Add("ct_table", w => w.Frame(() =>
        {
            Label dies = w.A.CreateLabel();
            w.A.test(rdi, rdi);
            w.A.je(dies);
            w.A.jmp(__qword_ptr[rax * 8 + 0x1000]);
            w.A.Label(ref dies);
            w.At("fault");
            w.A.mov(__dword_ptr[rax], 1);
        }));
        Through(text, "ct_memcpy", "memcpy");
        Through(text, "ct_panic", "panic");
        text.Add("ct_moved", NullWrite);
        Through(text, "ct_moved.cold", "panic");
        Through(text, "ct_stack_chk", "__stack_chk_fail");
        text.Add("ct_branchy.isra.0", NullWrite);
    }

    /// <summary>The scheduler, the lock functions that call it, and a thread that calls them; what timers and workers call.</summary>
    private static void Sleepers(SyntheticText text)
    {
        text.Add("__switch_to_asm", w => { w.Depth(8); w.A.ret(); });
        text.Add("__schedule", w => w.Frame(() => { w.Call("__schedule_bug"); w.Call("__switch_to_asm"); w.A.nop(); }));
        text.Add("__schedule_bug", w => w.Frame(() => { w.Call("check_panic_on_warn"); w.Call("panic"); w.A.nop(); }));
        Through(text, "schedule", "__schedule");
        string[] functions = ["rwsem_down_read_slowpath", "rwsem_down_write_slowpath", "__down_common", "percpu_rwsem_wait", "percpu_down_write", "__wait_for_common", "rt_mutex_slowlock_block.constprop.0"];
        foreach (string function in functions)
            WithLocals(text, function, "schedule");
        WithLocals(text, "schedule_timeout", "schedule");
        Through(text, "mutex_lock", "__mutex_lock.constprop.0");
        WithLocals(text, "__mutex_lock.constprop.0", "schedule");
        WithLocals(text, "ct_sleeper", ["mutex_lock", .. functions, "schedule", "msleep"]);
        foreach (string function in (string[])["process_timeout", "delayed_work_timer_fn", "hrtimer_wakeup", "default_wake_function", "autoremove_wake_function", "pollwake", "ep_poll_callback", "preempt_schedule", "ct_work", "wake_bit_function", "wake_page_function",
                     "tick_sched_timer", "hrtimer_start_range_ns", "hrtimer_interrupt", "virtio_queue_rq", "virtblk_done", "vring_interrupt", "virtqueue_notify", "blk_mq_requeue_request", "blk_mq_start_stopped_hw_queues", "blk_mq_run_hw_queues", "update_process_times", "irq_enter_rcu"])
            text.Add(function, w => { w.Depth(8); w.A.pause(); w.A.ret(); });
        text.Add("memset", w => { w.Depth(8); w.A.mov(rax, rdi); w.A.mov(__byte_ptr[rdi], sil); w.At("fault"); w.A.mov(__byte_ptr[rdi + rdx - 1], sil); w.A.ret(); });
        text.Add("ct_again_filled", w => w.Frame(() => { w.A.mov(rdi, __qword_ptr[r12]); w.A.xor(esi, esi); w.A.mov(edx, 16); w.Call("memset"); w.A.nop(); }));
        text.Add("ct_again_halted", w => w.Frame(() => { w.A.sti(); w.A.mov(rbx, __qword_ptr[r12]); w.At("fault"); w.A.hlt(); w.At("woken"); w.A.nop(); }));
        text.Add("ct_lost_stack", w => w.Frame(() => { w.A.mov(rcx, rdx); w.At("sets"); w.A.mov(rsp, rax); w.A.mov(rdi, rsp); w.At("fault"); w.A.mov(__qword_ptr[rsp - 8], rdi); }));
        text.Add("native_queued_spin_lock_slowpath", w =>
        {
            Label again = w.A.CreateLabel(), tests = w.A.CreateLabel();
            w.Depth(8);
            w.A.mov(edx, 1);
            w.A.Label(ref tests);
            w.A.mov(eax, __dword_ptr[rdi]);
            w.A.test(eax, eax);
            w.At("tests");
            w.A.jne(tests);
            w.A.@lock.cmpxchg(__dword_ptr[rdi], edx);
            w.A.jne(tests);
            w.A.@lock.bts(__dword_ptr[rdi], 8);
            w.A.Label(ref again);
            w.At("spin");
            w.A.pause();
            w.A.mov(eax, __dword_ptr[rdi]);
            w.A.test(eax, eax);
            w.A.jne(again);
            w.A.ret();
        });
    }

    /// <summary>Room for 0x80 bytes of local variables around its calls.</summary>
    private static void WithLocals(SyntheticText text, string name, params string[] callees) => text.Add(name, w => w.Frame(() =>
    {
        w.A.sub(rsp, 0x80);
        w.Depth(0x90);
        foreach (string callee in callees)
            w.Call(callee);
        w.A.add(rsp, 0x80);
        w.Depth(16);
    }));

    private static void Again(FunctionWriter w)
    {
        w.A.mov(rax, __qword_ptr[r12]);
        w.At("fault");
        w.A.mov(ecx, __dword_ptr[rax + 8]);
    }

    /// <summary>A NULL write in a frame.</summary>
    public static void NullWrite(FunctionWriter w) => w.Frame(() => { w.At("fault"); w.A.mov(__dword_ptr[rax], 1); w.A.xor(eax, eax); });

    private static void Entry(FunctionWriter w, string handler)
    {
        w.Row(RegsHere);
        w.A.mov(rdi, rsp);
        w.Call(handler);
        w.A.iretq();
    }

    private static void Through(SyntheticText text, string name, string callee) => text.Add(name, w => w.Frame(() => { w.Call(callee); w.A.nop(); }));

    private static void DeathPoint(FunctionWriter w, bool entryNop)
    {
        w.Depth(8);
        if (entryNop)
            w.A.db(0x0f, 0x1f, 0x44, 0x00, 0x00);
        w.A.push(rbx);
        w.Depth(16);
        w.A.pop(rbx);
        w.Depth(8);
        w.A.ret();
    }

    /// <summary>Calls each of them in turn; only those that return pointers are checked, each as its kind asks for.</summary>
    private static void Outer(FunctionWriter w) => w.Frame(() =>
    {
        Label next = w.A.CreateLabel(), after = w.A.CreateLabel();
        foreach (string name in (string[])[.. Writers.Select(f => f.Name), .. Others])
        {
            if (name.StartsWith("ct_again", StringComparison.Ordinal))
                w.A.mov(rdi, rbx);
            w.Call(name);
            switch (name)
            {
                case "ct_ptr":
                    w.A.test(rax, rax);
                    w.A.je(next);
                    break;
                case "ct_errptr":
                    w.A.cmp(rax, -4096);
                    w.A.ja(after);
                    break;
                default:
                    w.A.nop();
                    break;
            }

            if (name == "ct_ptr")
                w.A.Label(ref next);
            else if (name == "ct_errptr")
                w.A.Label(ref after);
        }
    });
}
