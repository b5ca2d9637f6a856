using Panacea.Diagnosis;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Unwind;
using Panacea.Repair.Strategies;
using Panacea.Target;
using Panacea.Target.Paging;
using Panacea.TestKit.Linux;

namespace Panacea.Repair.Tests.Strategies;

public sealed class ErrorReturnStrategyTests
{
    private const ulong MinusEio = unchecked((ulong)-5L);

    [Theory]
    [InlineData(KernelShape.Linux61, 4)]
    [InlineData(KernelShape.Linux612, 4)]
    [InlineData(KernelShape.Linux61, 5)]
    [InlineData(KernelShape.Linux612, 5)]
    public void The_function_returns_an_error_in_the_state_that_its_caller_expects(KernelShape shape, int levels)
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_int", Flags = 0x5_0746 }, new SyntheticKernelOptions { Shape = shape, Mode = (PagingMode)levels });
        RepairPlan plan = Plan(g);
        Assert.Equal(RepairKind.ErrorReturn, plan.Kind);
        Assert.StartsWith("ct_int returns -EIO to ct_outer+0x", plan.Explanation);
        Assert.Empty(plan.Lost);
        Assert.Equal(["what the function had half done stays half done"], plan.Risks);
        Assert.Empty(plan.Continuations);
        PlannedWrite write = Assert.Single(plan.Writes);
        Assert.Equal((g.Crash.RegsAddress, PtRegs.Size), (write.Address.Value, write.Bytes.Length));
        PtRegs next = PtRegs.Read(write.Bytes.Span);
        Assert.Equal((g.Crash.ReturnAddress, g.Crash.ReturnSp, g.Crash.CallerRbx), (next.Ip, next.Sp, next.Gpr[Gpr.Rbx]));
        Assert.Equal(0xffff_fffbUL, next.Gpr[Gpr.Rax]);
        Assert.Equal([0xc0bUL, 0xc12UL, 0xc13UL, 0xc14UL, 0xc15UL], [next.Gpr[Gpr.Rbp], next.Gpr[Gpr.R12], next.Gpr[Gpr.R13], next.Gpr[Gpr.R14], next.Gpr[Gpr.R15]]);
        Assert.Equal((0x10UL, 0x18UL), (next.Cs, next.Ss));

        // Interrupts stay on; single stepping, direction, user access and the arithmetic flags do not.
        Assert.Equal(0x202UL, next.Flags);
        Assert.Equal([(WritableRegister.Rdx, 0UL), (WritableRegister.Rsi, 0UL), (WritableRegister.Rip, g.Guest["oops_end"] + 5)], plan.Registers.Select(r => (r.Register, r.Value)));
    }

    [Theory]
    [InlineData("ct_int", 0xffff_fffbUL, "-EIO")]
    [InlineData("ct_long", MinusEio, "-EIO")]
    [InlineData("ct_bool", 0UL, "false")]
    [InlineData("ct_ptr", 0UL, "NULL")]
    [InlineData("ct_errptr", MinusEio, "ERR_PTR(-EIO)")]
    public void The_value_is_an_error_of_the_functions_return_type(string function, ulong value, string shown)
    {
        using var g = new CrashedGuest(new CrashSpec { Function = function });
        RepairPlan plan = Plan(g);
        Assert.Equal(value, PtRegs.Read(plan.Writes[0].Bytes.Span).Gpr[Gpr.Rax]);
        Assert.Contains($"{function} returns {shown} to ct_outer", plan.Explanation);
    }

    /// <summary>Who frees memory takes nothing for an answer: it stays in use. Each time would be too often.</summary>
    [Fact]
    public void What_nobody_misses_comes_back_before_it_is_done()
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "kfree", Chain = ["do_syscall_64", "ksys_write", "vfs_write", "ct_more"] });
        RepairPlan plan = Plan(g);
        Assert.StartsWith("kfree returns to ct_more+0x", plan.Explanation, StringComparison.Ordinal);
        Assert.Equal("some memory, which is never freed", Assert.Single(plan.Lost));
        Assert.Equal((g.Crash.ReturnAddress, g.Crash.ReturnSp), (PtRegs.Read(plan.Writes[0].Bytes.Span).Ip, PtRegs.Read(plan.Writes[0].Bytes.Span).Sp));
        Assert.Contains("not for good", FusePlan.WhyNot(g.Evidence.Kernel, "kfree", g.Guest["kfree"]), StringComparison.Ordinal);
    }

    [Fact]
    public void What_has_to_run_is_missed()
    {
        Assert.Equal("one count", Expendables.Find("cgroup_rstat_updated.isra.0")?.Lost);
        Assert.Null(Expendables.Find("kfree_rcu_work"));
        Assert.All(Expendables.All, name => Assert.True(!Boundaries.HasToRun(name), name));
    }

    [Theory]
    [InlineData("ct_void", "void")]
    [InlineData("ct_uint", "unsigned int")]
    [InlineData("ct_nobtf", "no prototype of ct_nobtf")]
    [InlineData("ct_ptr_unchecked", "does not show whether it checks it")]
    [InlineData("ct_locked", "may hold spinlock")]
    [InlineData("ct_mutexed", "may hold mutex")]
    [InlineData("ct_bitlock", "may hold what it took by 'bts'")]
    [InlineData("ct_table", "an indirect jump may lead over any of its code")]
    public void Where_no_value_says_an_error_or_something_is_held_it_does_not_apply(string function, string why)
    {
        using var g = new CrashedGuest(new CrashSpec { Function = function });
        Assert.Contains(why, WhyNot(g));
    }

    /// <summary>preempt_disable() is inlined: what the function has added to the count is taken off again.</summary>
    [Theory]
    [InlineData(KernelShape.Linux61)]
    [InlineData(KernelShape.Linux612)]
    public void Preemption_that_the_function_has_disabled_is_enabled_again(KernelShape shape)
    {
        var options = new SyntheticKernelOptions { Shape = shape };
        using var disabled = new CrashedGuest(new CrashSpec { Function = "ct_preempt", Preempt = 1 }, options);
        PlannedWrite count = Plan(disabled).Writes[0];
        // The highest bit says, inverted, whether the CPU is to reschedule.
        Assert.Equal([0, 0, 0, 0x80], count.Bytes.ToArray());
        Assert.Equal(PerCpu.PreemptCountAddress(disabled.Evidence.Kernel, 0), count.Address.Value);
        using var callers = new CrashedGuest(new CrashSpec { Function = "ct_int", Preempt = 1 }, options);
        Assert.Single(Plan(callers).Writes);
        Assert.Contains(Plan(callers).Risks, r => r.Contains("the preempt count was 0x1", StringComparison.Ordinal));
    }

    /// <summary>The kernel's own function gives a lock back, called as from the place that is returned to; the result is set when it has come back there.</summary>
    [Fact]
    public void A_spinlock_that_the_function_holds_is_given_back_by_the_guest_itself()
    {
        ulong held = 0;
        using var g = new CrashedGuest(new CrashSpec
        {
            Function = "ct_locked",
            Preempt = 1,
            Prepare = (kernel, _) =>
            {
                held = kernel.Allocate(8);
                kernel.WriteU64(held, 1);
                return new Dictionary<Gpr, ulong> { [Gpr.Rbx] = held };
            },
        });
        RepairPlan plan = Plan(g);
        Assert.Contains($"after spinlock 0x{held:x} was given back", plan.Explanation, StringComparison.Ordinal);
        PtRegs next = PtRegs.Read(plan.Writes[^1].Bytes.Span);
        Assert.Equal((g.Guest["_raw_spin_unlock"], held, g.Crash.ReturnSp - 8, g.Crash.CallerRbx), (next.Ip, next.Gpr[Gpr.Rdi], next.Sp, next.Gpr[Gpr.Rbx]));
        Assert.Equal((g.Crash.ReturnSp - 8, g.Crash.ReturnAddress), (plan.Writes[0].Address.Value, BitConverter.ToUInt64(plan.Writes[0].Bytes.Span)));
        PlannedContinuation back = Assert.Single(plan.Continuations);
        Assert.Equal((g.Crash.ReturnAddress, g.Crash.ReturnSp), (back.Address, back.StackPointer));
        Assert.Equal(MinusEio, back.Registers.Single(r => r.Register == WritableRegister.Rax).Value);
    }

    [Fact]
    public void A_number_that_is_an_index_says_no_error()
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_index", Chain = ["do_syscall_64", "ksys_write", "vfs_write", "ct_more", "ct_indexes"] });
        Assert.Contains("takes for an index", WhyNot(g), StringComparison.Ordinal);
        using var other = new CrashedGuest(new CrashSpec { Function = "ct_index" });
        Assert.StartsWith("ct_index returns -EIO", Plan(other).Explanation, StringComparison.Ordinal);
    }

    /// <summary>A loop that goes from lock to lock has given back all but the one that it took last.</summary>
    [Fact]
    public void Of_a_loop_it_is_the_lock_that_was_taken_last()
    {
        ulong held = 0;
        using var g = new CrashedGuest(new CrashSpec
        {
            Function = "ct_looped", Chain = ["do_syscall_64", "ksys_write", "vfs_write", "ct_more"], Preempt = 1,
            Prepare = (kernel, _) =>
            {
                held = kernel.Allocate(0x80) + 0x38;
                kernel.WriteU64(held, 1);
                return new Dictionary<Gpr, ulong> { [Gpr.Rbx] = held - 0x38, [Gpr.R14] = held };
            },
        });
        AbandonedFrames abandoned = AbandonedFrames.Of(g.Evidence, g.Evidence.FaultyFrame!.Value);
        Assert.Equal(held, Assert.Single(abandoned.Locks).Address);
        Assert.Empty(abandoned.Doubts);
    }

    /// <summary>task_struct says which handle it is. It is ended with interrupts on: that may sleep.</summary>
    [Fact]
    public void A_journal_handle_is_ended()
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_journal", Prepare = (kernel, task) => Points(kernel, task, "journal_info", 0xffff_8880_0123_4560) });
        RepairPlan plan = Plan(g);
        Assert.Contains("after journal handle was given back", plan.Explanation, StringComparison.Ordinal);
        PtRegs next = PtRegs.Read(plan.Writes[^1].Bytes.Span);
        Assert.Equal((g.Guest["jbd2_journal_stop"], 0xffff_8880_0123_4560UL, true), (next.Ip, next.Gpr[Gpr.Rdi], next.InterruptsEnabled));
    }

    /// <summary>Somebody further in has come back with it open: it is not known who is to end it.</summary>
    [Fact]
    public void A_journal_handle_that_nobody_is_seen_to_have_begun_is_a_doubt()
    {
        using var g = new CrashedGuest(new CrashSpec { Prepare = (kernel, task) => Points(kernel, task, "journal_info", 0xffff_8880_0123_4560) });
        Assert.Contains("a journal handle is open", new ErrorReturnStrategy().Evaluate(g.Evidence).WhyNot, StringComparison.Ordinal);
    }

    /// <summary>The plug lies in the abandoned frames: what sends off its requests runs below them.</summary>
    [Fact]
    public void A_plug_is_finished_below_the_frames_that_it_lies_in()
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_plug", Prepare = (kernel, task) => Points(kernel, task, "plug", kernel.Victim.StackTop - 0x300) });
        RepairPlan plan = Plan(g);
        PtRegs next = PtRegs.Read(plan.Writes[^1].Bytes.Span);
        Assert.Equal((g.Crash.ReturnAddress, false), (next.Ip, next.InterruptsEnabled));
        Assert.True(next.Sp < g.Crash.FaultSp);
        Assert.Equal(g.Guest["blk_finish_plug"], plan.Continuations[0].Registers.Single(r => r.Register == WritableRegister.Rip).Value);
        Assert.Equal((g.Crash.ReturnAddress, next.Sp), (plan.Continuations[1].Address, plan.Continuations[1].StackPointer));
        Assert.Equal(g.Crash.ReturnSp, plan.Continuations[1].Registers.Single(r => r.Register == WritableRegister.Rsp).Value);
    }

    private static Dictionary<Gpr, ulong> Points(SyntheticKernel kernel, SyntheticTask task, string member, ulong pointer)
    {
        kernel.Put(task.Address, $"task_struct.{member}", pointer);
        return [];
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_mutex_is_given_back_where_its_owner_is_the_crashed_task(bool own)
    {
        ulong held = 0;
        using var g = new CrashedGuest(new CrashSpec
        {
            Function = "ct_mutexed",
            Prepare = (kernel, task) =>
            {
                held = kernel.Allocate(64);
                kernel.WriteU64(held, own ? task.Address | 1 : task.Address + 0x1000);
                kernel.WriteU64(held + 16, held + 16);
                kernel.WriteU64(held + 24, held + 16);
                return new Dictionary<Gpr, ulong> { [Gpr.Rbx] = held };
            },
        });
        if (own)
            Assert.Equal((g.Guest["mutex_unlock"], held), PtRegs.Read(Plan(g).Writes[^1].Bytes.Span) is var next ? (next.Ip, next.Gpr[Gpr.Rdi]) : default);
        else
            Assert.Contains("the lock says otherwise", WhyNot(g), StringComparison.Ordinal);
    }

    /// <summary>An element of an array, whose offset is in a register that has stayed.</summary>
    [Fact]
    public void A_lock_in_an_array_is_given_back()
    {
        ulong array = 0;
        using var g = new CrashedGuest(new CrashSpec
        {
            Function = "ct_indexed", Chain = ["do_syscall_64", "ksys_write", "vfs_write", "ct_more"], Preempt = 1,
            Prepare = (kernel, _) =>
            {
                array = kernel.Allocate(256);
                kernel.WriteU64(array + 8, array + 16);
                kernel.WriteU64(array + 16 + 64 + 8, 1);
                return new Dictionary<Gpr, ulong> { [Gpr.R12] = array, [Gpr.R13] = 64 };
            },
        });
        PtRegs next = PtRegs.Read(Plan(g).Writes[^1].Bytes.Span);
        Assert.Equal((g.Guest["_raw_spin_unlock"], array + 16 + 64 + 8), (next.Ip, next.Gpr[Gpr.Rdi]));
    }

    /// <summary>Interrupts that the function has switched off are on again behind it: the way in from user space had them on. So are those that nobody has switched off; where that can't be told they are left as they are.</summary>
    [Fact]
    public void Interrupts_that_the_function_has_switched_off_are_on_again()
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_irqs", Flags = 0x1_0046 });
        Assert.Equal(0x202UL, PtRegs.Read(Plan(g).Writes[0].Bytes.Span).Flags);
        using var nobodys = new CrashedGuest(new CrashSpec { Flags = 0x1_0046 });
        Assert.Equal(0x202UL, PtRegs.Read(Plan(nobodys).Writes[0].Bytes.Span).Flags);
        using var callers = new CrashedGuest(new CrashSpec { Flags = 0x1_0046, Chain = ["vfs_write", "ct_outer"] });
        Assert.Equal(0x2UL, PtRegs.Read(Plan(callers).Writes[0].Bytes.Span).Flags);
    }

    [Fact]
    public void A_reference_that_may_be_lost_is_a_risk_that_is_said()
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_counted" });
        Assert.Equal("ct_counted may have counted a reference that nobody drops: an object may never be freed", Plan(g).Risks[^1]);
    }

    [Theory]
    [InlineData(0x100u)]
    [InlineData(0x1_0000u)]
    public void A_function_can_return_an_error_in_an_interrupt_too(uint preempt)
    {
        using var g = new CrashedGuest(new CrashSpec { Preempt = preempt });
        Assert.Equal(g.Crash.ReturnAddress, PtRegs.Read(Plan(g).Writes[^1].Bytes.Span).Ip);
    }

    [Fact]
    public void Not_in_an_NMI()
    {
        using var g = new CrashedGuest(new CrashSpec { Preempt = 0x10_0000 });
        Assert.Contains("NMI", WhyNot(g));
    }

    /// <summary>local_bh_disable() adds two softirq counts: a process with softirqs disabled is still a process.</summary>
    [Fact]
    public void Disabled_softirqs_are_not_a_softirq()
    {
        using var g = new CrashedGuest(new CrashSpec { Preempt = 0x200 });
        Assert.NotNull(new ErrorReturnStrategy().Evaluate(g.Evidence).Plan);
    }

    [Fact]
    public void In_the_idle_task_too()
    {
        using var g = new CrashedGuest(new CrashSpec(), task: k => k.Idle[0]);
        Assert.EndsWith("the OS goes on", Plan(g).Explanation);
    }

    [Fact]
    public void A_kernel_thread_can_take_an_error_too()
    {
        using var g = new CrashedGuest(new CrashSpec { Bottom = "ret_from_fork", Chain = ["kthread", "ct_outer"] }, task: k => k.Kthread);
        Assert.Equal(CrashContext.KernelThread, g.Evidence.Context);
        Assert.Equal(g.Crash.ReturnAddress, PtRegs.Read(Plan(g).Writes[0].Bytes.Span).Ip);
    }

    [Fact]
    public void A_kernel_without_types_or_unwind_rows_declines()
    {
        using var untyped = new CrashedGuest(new CrashSpec(), new SyntheticKernelOptions { Btf = false });
        Assert.NotEmpty(WhyNot(untyped));
        using var unwound = new CrashedGuest(new CrashSpec(), new SyntheticKernelOptions { Orc = false });
        Assert.NotEmpty(WhyNot(unwound));
    }

    [Fact]
    public void A_module_without_types_declines()
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ctm_write", Chain = ["do_syscall_64", "ksys_write", "vfs_write"] }, module: k => k.AddModule("crashtest"));
        Assert.Equal("crashtest", g.Evidence.LocationOf(g.Evidence.Faulty!)?.Module);
        Assert.Contains("crashtest has no BTF", WhyNot(g));
    }

    /// <summary>What a helper was told to do is its caller's fault, and its caller returns.</summary>
    [Fact]
    public void A_fault_in_a_generic_helper_returns_from_its_caller()
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_memcpy", Inner = ["memcpy"] });
        RepairPlan plan = Plan(g);
        Assert.StartsWith("ct_memcpy returns -EIO to ct_outer", plan.Explanation);
        PtRegs next = PtRegs.Read(plan.Writes[0].Bytes.Span);
        Assert.Equal((g.Crash.ReturnAddress, g.Crash.ReturnSp, g.Crash.CallerRbx), (next.Ip, next.Sp, next.Gpr[Gpr.Rbx]));
    }

    [Theory]
    [InlineData(0UL)]
    [InlineData(0xffff_8880_0012_3450UL)]
    public void A_call_of_a_bad_pointer_returns_from_the_function_that_called_it(ulong bad)
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_call", BadCall = bad });
        RepairPlan plan = Plan(g);
        PtRegs next = PtRegs.Read(plan.Writes[0].Bytes.Span);
        Assert.Equal((g.Crash.ReturnAddress, g.Crash.ReturnSp, g.Crash.CallerRbx), (next.Ip, next.Sp, next.Gpr[Gpr.Rbx]));
    }

    /// <summary>Handlers behind do_error_trap signal the process after oops_end: the state is set where oops_end returns to.</summary>
    [Theory]
    [InlineData("asm_exc_invalid_op", "ct_bug")]
    [InlineData("asm_exc_divide_error", "ct_div")]
    public void A_trap_whose_handler_signals_the_process_takes_two_steps(string entry, string function)
    {
        using var g = new CrashedGuest(new CrashSpec { Entry = entry, Function = function });
        RepairPlan plan = Plan(g);
        Assert.Empty(plan.Writes);
        Assert.Equal([WritableRegister.Rdx, WritableRegister.Rsi, WritableRegister.Rip], plan.Registers.Select(r => r.Register));
        PlannedContinuation next = Assert.Single(plan.Continuations);
        Assert.Equal((g.Guest["die:back:oops_end"], g.Crash.Vcpu.Gpr[Gpr.Rsp] + 8), (next.Address, next.StackPointer));
        Assert.Empty(next.Writes);
        AssertReturns(g, next.Registers, MinusEio);
    }

    /// <summary>irqentry_enter has told RCU of the trap over the idle task, and irqentry_exit, which is never come by where the CPU is led away, tells it of its end: the CPU calls it on the way, with interrupts off, and comes back.</summary>
    [Fact]
    public void Rcu_is_told_of_the_end_of_a_trap_over_the_idle_task()
    {
        using var g = new CrashedGuest(new CrashSpec { Entry = "asm_exc_invalid_op", Function = "ct_bug" });
        CrashEvidence idle = g.Evidence with { Task = g.Evidence.Task! with { Pid = 0 } };
        RepairPlan plan = new ErrorReturnStrategy().Evaluate(idle).Plan!;
        ulong sp = g.Crash.Vcpu.Gpr[Gpr.Rsp];
        PlannedContinuation exit = plan.Continuations[0], away = plan.Continuations[1];
        Assert.Equal(2, plan.Continuations.Count);
        Assert.All([exit, away], s => Assert.Equal((g.Guest["die:back:oops_end"], sp + 8), (s.Address, s.StackPointer)));
        Dictionary<WritableRegister, ulong> set = exit.Registers.ToDictionary(r => r.Register, r => r.Value);
        Assert.Equal((g.Crash.RegsAddress, 1UL, sp, g.Guest["irqentry_exit"]), (set[WritableRegister.Rdi], set[WritableRegister.Rsi], set[WritableRegister.Rsp], set[WritableRegister.Rip]));
        Assert.Equal(0UL, set[WritableRegister.Rflags] & (1 << 9));
        Assert.Equal((sp, exit.Address), (exit.Writes[0].Address.Value, BitConverter.ToUInt64(exit.Writes[0].Bytes.Span)));
        AssertReturns(g, away.Registers, MinusEio);
        Assert.Contains("idle task", new ErrorReturnStrategy().Evaluate(idle with { Task = null }).WhyNot, StringComparison.Ordinal);

        // The trap that goes back by itself tells it itself.
        using var silent = new CrashedGuest(new CrashSpec());
        Assert.Empty(new ErrorReturnStrategy().Evaluate(silent.Evidence with { Task = silent.Evidence.Task! with { Pid = 0 } }).Plan!.Continuations);
    }

    [Fact]
    public void A_kernel_without_the_exit_declines_over_the_idle_task()
    {
        using var g = new CrashedGuest(new CrashSpec { Entry = "asm_exc_invalid_op", Function = "ct_bug" }, new SyntheticKernelOptions { Without = new HashSet<string> { "irqentry_exit" } });
        Assert.Contains("irqentry_exit", new ErrorReturnStrategy().Evaluate(g.Evidence with { Task = g.Evidence.Task! with { Pid = 0 } }).WhyNot, StringComparison.Ordinal);
        Assert.NotNull(new ErrorReturnStrategy().Evaluate(g.Evidence).Plan);
    }

    [Fact]
    public void A_handler_whose_return_cannot_be_read_declines()
    {
        using var g = new CrashedGuest(new CrashSpec { Entry = "asm_exc_invalid_op", Function = "ct_bug" });
        g.Guest.WriteU64(g.Crash.Vcpu.Gpr[Gpr.Rsp], 0x1234);
        var live = new CrashCapture(g.Image, TargetLimits.Default).Capture(g.Guest.Memory, g.Crash.Vcpu, g.Point);
        Assert.NotEmpty(new ErrorReturnStrategy().Evaluate(live with { TrapEntry = "asm_exc_invalid_op" }).WhyNot ?? "");
    }

    [Fact]
    public void At_panic_the_registers_are_set_at_once()
    {
        const string function = "ct_panic";
        using var g = new CrashedGuest(new CrashSpec { Entry = null, Function = function });
        RepairPlan plan = Plan(g);
        Assert.Empty(plan.Writes);
        Assert.Empty(plan.Continuations);
        Assert.StartsWith($"{function} returns -EIO", plan.Explanation);
        AssertReturns(g, plan.Registers, MinusEio);
    }

    [Fact]
    public void Without_a_nop_at_the_death_point_rip_is_left_alone()
    {
        using var g = new CrashedGuest(new CrashSpec(), new SyntheticKernelOptions { EntryNops = false });
        Assert.Equal([WritableRegister.Rdx, WritableRegister.Rsi], Plan(g).Registers.Select(r => r.Register));
    }

    /// <summary>A stack that was overwritten: the return address leads nowhere, or into text that no call stands before.</summary>
    [Theory]
    [InlineData(0UL)]
    [InlineData(0x4141_4141_4141_4141UL)]
    [InlineData(ulong.MaxValue)]
    public void A_return_address_that_was_overwritten_is_not_returned_to(ulong garbage)
    {
        using var g = new CrashedGuest(new CrashSpec());
        g.Guest.WriteU64(g.Crash.ReturnSp - 8, garbage);
        var evidence = new CrashCapture(g.Image, TargetLimits.Default).Capture(g.Guest.Memory, g.Crash.Vcpu, g.Point);
        Assert.Null(new ErrorReturnStrategy().Evaluate(evidence).Plan);
    }

    [Fact]
    public void A_return_address_in_the_middle_of_text_is_not_returned_to()
    {
        using var g = new CrashedGuest(new CrashSpec());
        g.Guest.WriteU64(g.Crash.ReturnSp - 8, g.Guest["vfs_write"] + 1);
        var evidence = new CrashCapture(g.Image, TargetLimits.Default).Capture(g.Guest.Memory, g.Crash.Vcpu, g.Point);
        Assert.Null(new ErrorReturnStrategy().Evaluate(evidence).Plan);
    }

    private static void AssertReturns(CrashedGuest g, IReadOnlyList<PlannedRegister> registers, ulong value)
    {
        Dictionary<WritableRegister, ulong> set = registers.ToDictionary(r => r.Register, r => r.Value);
        Assert.Equal((g.Crash.ReturnAddress, g.Crash.ReturnSp), (set[WritableRegister.Rip], set[WritableRegister.Rsp]));
        Assert.Equal((g.Crash.CallerRbx, value, 0xc12UL, 0xc15UL, 0xc0bUL), (set[WritableRegister.Rbx], set[WritableRegister.Rax], set[WritableRegister.R12], set[WritableRegister.R15], set[WritableRegister.Rbp]));
        Assert.Equal(WritableRegister.Rip, registers[^1].Register);
        Assert.All(registers, r => Assert.Equal(0, r.Vcpu));
    }

    private static RepairPlan Plan(CrashedGuest g)
    {
        StrategyVerdict verdict = new ErrorReturnStrategy().Evaluate(g.Evidence);
        Assert.True(verdict.Plan is not null, verdict.WhyNot);
        return verdict.Plan!;
    }

    private static string WhyNot(CrashedGuest g)
    {
        StrategyVerdict verdict = new ErrorReturnStrategy().Evaluate(g.Evidence);
        Assert.Null(verdict.Plan);
        return verdict.WhyNot!;
    }

    /// <summary>INT3 is entered like an NMI, and its handler takes that back; the instruction stands before where the CPU would go on.</summary>
    [Theory]
    [MemberData(nameof(CrashedGuest.Lines), MemberType = typeof(CrashedGuest))]
    public void A_breakpoint_in_the_kernel_is_the_tasks_own_crash(KernelShape shape)
    {
        using var g = new CrashedGuest(new CrashSpec { Entry = "asm_exc_int3" }, new SyntheticKernelOptions { Shape = shape });
        Assert.Equal((CrashContext.Process, CrashKind.Breakpoint, g.Guest.Text["ct_int:fault"]), (g.Evidence.Context, g.Evidence.Kind, g.Evidence.Crash.Ip));
        RepairPlan plan = new ErrorReturnStrategy().Evaluate(g.Evidence).Plan!;
        Assert.Empty(plan.Continuations);
        PtRegs next = PtRegs.Read(plan.Writes[^1].Bytes.Span);
        Assert.Equal((g.Crash.ReturnAddress, g.Crash.ReturnSp), (next.Ip, next.Sp));
    }
}
