using Panacea.Diagnosis;
using Panacea.Kernel.Unwind;
using Panacea.Repair.Strategies;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Repair.Tests.Strategies;

public sealed class UnwindStrategyTests
{
    /// <summary>What a dispatch point calls back returns to it: in an interrupt, over whatever was interrupted, and in a thread.</summary>
    [Theory]
    [InlineData("call_timer_fn", 0x100u, 0UL, "ct_void returns to call_timer_fn")]
    [InlineData("__handle_irq_event_percpu", 0x1_0000u, 0UL, "ct_void returns IRQ_NONE to __handle_irq_event_percpu")]
    [InlineData("notifier_call_chain", 0u, 0UL, "ct_void returns NOTIFY_DONE to notifier_call_chain")]
    [InlineData("dev_hard_start_xmit", 0x200u, 0UL, "ct_void returns NETDEV_TX_OK to dev_hard_start_xmit")]
    public void A_function_that_was_called_back_returns_to_the_dispatch_point(string dispatcher, uint preempt, ulong value, string explanation)
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_void", Chain = ["do_syscall_64", dispatcher], Preempt = preempt });
        RepairPlan plan = Plan(g);
        Assert.StartsWith(explanation, plan.Explanation);
        Assert.Equal(Boundaries.Find(dispatcher)!.Lost, Assert.Single(plan.Lost));
        PtRegs next = PtRegs.Read(plan.Writes[^1].Bytes.Span);
        Assert.Equal((g.Crash.ReturnAddress, g.Crash.ReturnSp, value, g.Crash.CallerRbx), (next.Ip, next.Sp, next.Gpr[Gpr.Rax], next.Gpr[Gpr.Rbx]));
    }

    /// <summary>A dispatch point says what its callee returns, whatever the callee's own type would take for an error: -EIO packets would be nonsense.</summary>
    [Fact]
    public void A_dispatch_point_takes_its_own_value_and_not_an_error()
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_int", Chain = ["do_syscall_64", "__napi_poll"], Preempt = 0x100 });
        Assert.Contains("__napi_poll", new ErrorReturnStrategy().Evaluate(g.Evidence).WhyNot);
        Assert.Equal(64UL, PtRegs.Read(Plan(g).Writes[^1].Bytes.Span).Gpr[Gpr.Rax]);
    }

    /// <summary>A poll that returned its budget is called again. One that crashes again and again must not be: then its device stands still, and nothing else.</summary>
    [Theory]
    [InlineData(0, 64UL, "ct_int returns 64 packets, its budget to __napi_poll", "one run of the device's NAPI poll, which is called again")]
    [InlineData(1, 64UL, "ct_int returns 64 packets, its budget to __napi_poll", "one run of the device's NAPI poll, which is called again")]
    [InlineData(2, 0UL, "ct_int returns 0 packets to __napi_poll", "the packets that the poll had taken from its device")]
    public void A_poll_is_tried_again_until_it_is_given_up(int earlier, ulong value, string explanation, string lost)
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_int", Chain = ["do_syscall_64", "__napi_poll"], Preempt = 0x100 });
        RepairPlan plan = new UnwindStrategy().Evaluate(g.Evidence with { EarlierRepairs = earlier }).Plan!;
        Assert.StartsWith(explanation, plan.Explanation, StringComparison.Ordinal);
        Assert.Equal((value, lost, (ulong?)0), (PtRegs.Read(plan.Writes[^1].Bytes.Span).Gpr[Gpr.Rax], Assert.Single(plan.Lost), plan.Returned!.Value));
    }

    /// <summary>The run queue says already who runs, and whoever called the scheduler waits by something on his stack.</summary>
    [Fact]
    public void Nothing_is_led_out_of_the_middle_of_a_switch_of_tasks()
    {
        using var g = new CrashedGuest(new CrashSpec { Entry = null, Function = "__schedule_bug", Chain = ["do_syscall_64", "ksys_write", "vfs_write", "ct_sleeper", "schedule_timeout", "schedule", "__schedule"], Preempt = 1 });
        foreach (IRepairStrategy rung in (IRepairStrategy[])[new ErrorReturnStrategy(), new UnwindStrategy(), new KillStrategy(), new FreezeStrategy()])
        {
            StrategyVerdict verdict = rung.Evaluate(g.Evidence);
            Assert.True(verdict.Plan is null && verdict.WhyNot!.Contains("half has been done", StringComparison.Ordinal), $"{rung.GetType().Name}: {verdict.WhyNot}");
        }
    }

    /// <summary>A request that is taken back is given to the driver again; where that crashes each time, it fails.</summary>
    [Theory]
    [InlineData(0, 9UL, "ct_uint returns BLK_STS_RESOURCE to blk_mq_dispatch_rq_list", "nothing: the request is given to the driver again")]
    [InlineData(1, 9UL, "ct_uint returns BLK_STS_RESOURCE to blk_mq_dispatch_rq_list", "nothing: the request is given to the driver again")]
    [InlineData(2, 10UL, "ct_uint returns BLK_STS_IOERR to blk_mq_dispatch_rq_list", "one request to a disk, which fails with an I/O error")]
    public void A_request_to_a_disk_is_tried_again_until_it_is_given_up(int earlier, ulong value, string explanation, string lost)
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_uint", Chain = ["do_syscall_64", "blk_mq_dispatch_rq_list"] });
        RepairPlan plan = new UnwindStrategy().Evaluate(g.Evidence with { EarlierRepairs = earlier }).Plan!;
        Assert.StartsWith(explanation, plan.Explanation, StringComparison.Ordinal);
        Assert.Equal((value, lost), (PtRegs.Read(plan.Writes[^1].Bytes.Span).Gpr[Gpr.Rax], Assert.Single(plan.Lost)));
    }

    /// <summary>A CPU whose tick is not started again is as good as dead; another hrtimer that is started again and was not forwarded would run for ever.</summary>
    [Theory]
    [InlineData("tick_nohz_handler", 1UL, "tick_nohz_handler returns HRTIMER_RESTART to __hrtimer_run_queues")]
    [InlineData("ct_int", 0UL, "ct_int returns HRTIMER_NORESTART to __hrtimer_run_queues")]
    public void The_tick_runs_again_and_other_timers_do_not(string function, ulong value, string explanation)
    {
        using var g = new CrashedGuest(new CrashSpec { Function = function, Chain = ["do_syscall_64", "__hrtimer_run_queues"], Preempt = 0x1_0000 });
        foreach (int earlier in (int[])[0, 5])
        {
            RepairPlan plan = new UnwindStrategy().Evaluate(g.Evidence with { EarlierRepairs = earlier }).Plan!;
            Assert.StartsWith(explanation, plan.Explanation, StringComparison.Ordinal);
            Assert.Equal(value, PtRegs.Read(plan.Writes[^1].Bytes.Span).Gpr[Gpr.Rax]);
        }
    }

    /// <summary>The bottom of a kernel thread's stack returns to user space, which it has not.</summary>
    [Fact]
    public void Nobody_returns_out_of_a_kernel_thread()
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_nobtf", Chain = ["kthread"], Bottom = "ret_from_fork" }, task: k => k.Kthread);
        Assert.Null(new UnwindStrategy().Evaluate(g.Evidence).Plan);
    }

    /// <summary>A process of which half is gone must not go on, wherever the compiler has put the panic of its exit.</summary>
    [Fact]
    public void Nobody_returns_out_of_an_exit()
    {
        using var g = new CrashedGuest(new CrashSpec { Entry = null, Function = "do_exit.cold" });
        Assert.NotNull(g.Evidence.FaultyFrame);
        Assert.Null(new UnwindStrategy().Evaluate(g.Evidence).Plan);
        Assert.Null(new ErrorReturnStrategy().Evaluate(g.Evidence).Plan);
        using var other = new CrashedGuest(new CrashSpec { Entry = null, Function = "ct_panic" });
        Assert.NotNull(new UnwindStrategy().Evaluate(other.Evidence).Plan);
    }

    [Fact]
    public void A_function_that_has_to_run_gets_no_fuse()
    {
        using var g = new CrashedGuest(new CrashSpec());
        Assert.Contains("called for ever", FusePlan.WhyNot(g.Evidence.Kernel, "tick_nohz_handler", g.Guest["tick_nohz_handler"]), StringComparison.Ordinal);
        Assert.DoesNotContain("called for ever", FusePlan.WhyNot(g.Evidence.Kernel, "ct_int", g.Guest["ct_int"]) ?? "", StringComparison.Ordinal);
    }

    /// <summary>The flag and the count that must hold there are set, whatever the abandoned function did to them.</summary>
    [Fact]
    public void Interrupts_and_preempt_count_are_what_the_dispatch_point_has()
    {
        using var g = new CrashedGuest(
            new CrashSpec { Function = "ct_void", Chain = ["kthread", "process_one_work"], Bottom = "ret_from_fork", Preempt = 2, Flags = 0x1_0046 }, task: k => k.Kthread);
        RepairPlan plan = Plan(g);
        Assert.Equal([0, 0, 0, 0x80], plan.Writes[0].Bytes.ToArray());
        Assert.Equal(0x202UL, PtRegs.Read(plan.Writes[^1].Bytes.Span).Flags);
        Assert.Contains(plan.Risks, r => r.Contains("a lock may be held", StringComparison.Ordinal));
    }

    [Fact]
    public void In_a_process_an_outer_function_returns_the_error_that_a_void_one_cannot()
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_void" });
        RepairPlan plan = Plan(g);
        Assert.StartsWith("vfs_write returns -EIO to ksys_write", plan.Explanation);
        Assert.EndsWith("the process lives", plan.Explanation);
        Assert.Empty(plan.Lost);
    }

    /// <summary>Killing the process would leave the same lock held: what can't be proved is no reason to lose it too.</summary>
    [Theory]
    [InlineData("notifier_call_chain", 0u)]
    [InlineData("call_timer_fn", 0x100u)]
    public void What_cannot_be_proved_is_said_as_a_risk(string dispatcher, uint preempt)
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_bitlock", Chain = ["do_syscall_64", dispatcher], Preempt = preempt });
        Assert.Contains("'bts'", ReturnCandidate.Plan(g.Evidence, g.Evidence.FaultyFrame!.Value, new ReturnResult(new ReturnedFunction("ct_bitlock", null, 0, 0), 0, "0", Boundaries.Find(dispatcher)), RepairKind.Unwind, acceptsDoubt: false).WhyNot);
        Assert.Contains(Plan(g).Risks, r => r.Contains("'bts'", StringComparison.Ordinal));
    }

    /// <summary>A protocol's function is called directly where it is the usual one. One poll that says that it goes on, and does not, would be the device's last.</summary>
    [Fact]
    public void Packets_that_have_come_are_dropped_where_their_protocol_crashes()
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ip_list_rcv", Chain = ["do_syscall_64", "__netif_receive_skb_list_core"], Preempt = 0x100 });
        RepairPlan plan = Plan(g);
        Assert.StartsWith("ip_list_rcv returns to __netif_receive_skb_list_core", plan.Explanation, StringComparison.Ordinal);
        Assert.Equal("packets that have come", Assert.Single(plan.Lost));
        using var poll = new CrashedGuest(new CrashSpec { Function = "napi_complete_done", Chain = ["do_syscall_64", "__napi_poll", "ct_more"], Preempt = 0x100 });
        Assert.Contains("leaves its device without polls", new ErrorReturnStrategy().Evaluate(poll.Evidence).WhyNot, StringComparison.Ordinal);
        Assert.StartsWith("ct_more returns 64 packets", new UnwindStrategy().Evaluate(poll.Evidence).Plan?.Explanation, StringComparison.Ordinal);
    }

    /// <summary>A dispatch point has called what is no code: it goes on as if that had come back. Anywhere else somebody would miss what it should have done.</summary>
    [Theory]
    [InlineData("call_timer_fn", 0x100u, "goes on as if it had come back")]
    [InlineData("__hrtimer_run_queues", 0x1_0000u, "goes on as if it had come back with HRTIMER_NORESTART")]
    [InlineData("ct_call", 0u, null)]
    public void What_is_no_code_comes_back_to_its_dispatch_point(string caller, uint preempt, string? explanation)
    {
        using var g = new CrashedGuest(new CrashSpec { Function = caller, BadCall = 0, Preempt = preempt, Chain = caller == "ct_call" ? ["do_syscall_64", "ksys_write", "vfs_write", "ct_outer"] : ["do_syscall_64"] });
        Assert.Equal(CrashKind.NullCall, g.Evidence.Kind);
        StrategyVerdict verdict = new UnwindStrategy().Evaluate(g.Evidence);
        Assert.Equal(explanation is not null, verdict.Plan?.Explanation.Contains(explanation ?? "as if it had come back", StringComparison.Ordinal) == true);
        if (explanation is null)
            return;
        PtRegs next = PtRegs.Read(verdict.Plan!.Writes[^1].Bytes.Span);
        Assert.Equal((g.Guest.Text[$"{caller}:back:0"], g.Evidence.Crash.Sp + 8, g.Evidence.Crash.Gpr[Gpr.Rbx]), (next.Ip, next.Sp, next.Gpr[Gpr.Rbx]));
    }

    /// <summary>An interrupt that has come to its end and has lost its way back: its entry gives all registers back itself. While interrupts are counted it has not come to its end.</summary>
    [Theory]
    [InlineData(0, 0u, 0x1_0046UL, 0x246UL, true)]
    [InlineData(3, 0u, 0x1_0046UL, 0x246UL, true)]
    [InlineData(12, 0u, 0x1_0046UL, 0x246UL, false)]
    [InlineData(0, 0x1_0000u, 0x1_0046UL, 0x246UL, false)]
    [InlineData(0, 0u, 0x1_0246UL, 0x246UL, false)]
    [InlineData(0, 0u, 0x1_0046UL, 0x46UL, false)]
    public void An_interrupt_that_has_lost_its_way_back_ends(int words, uint preempt, ulong flags, ulong interrupted, bool ends)
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_call", BadCall = 0, Preempt = preempt, Flags = flags });
        ulong at = g.Evidence.Crash.Sp + ((ulong)words * 8), entry = g.Guest.Text["asm_sysvec_ct:back:0"];
        byte[] regs = new byte[PtRegs.Size];
        new PtRegs { Ip = g.Guest["vfs_write"], Cs = 0x10, Flags = interrupted, Ss = 0x18 }.Write(regs);
        for (ulong word = g.Evidence.Crash.Sp; word < at; word += 8)
            g.Guest.WriteU64(word, 7);
        g.Guest.WriteU64(at, entry);
        g.Guest.Write(at + 8, regs);
        CrashEvidence evidence = new CrashCapture(g.Image, TargetLimits.Default).Capture(g.Guest.Memory, g.Crash.Vcpu, g.Point);
        StrategyVerdict verdict = new UnwindStrategy().Evaluate(evidence);
        Assert.Equal(ends, verdict.Plan?.Explanation.Contains("has not found the way back", StringComparison.Ordinal) == true);
        if (!ends)
            return;
        PtRegs next = PtRegs.Read(verdict.Plan!.Writes[^1].Bytes.Span);
        Assert.Equal((entry, at + 8, false, 0), (next.Ip, next.Sp, next.InterruptsEnabled, verdict.Plan.Lost.Count));
    }

    /// <summary>A dispatch point's other calls are no callbacks: only a call through a pointer is.</summary>
    [Fact]
    public void A_direct_call_of_a_dispatch_point_is_no_callback()
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_void", Chain = ["kthread", "ct_outer"], Bottom = "ret_from_fork" }, task: k => k.Kthread);
        Assert.Null(ReturnCandidate.BoundaryAbove(g.Evidence, g.Evidence.FaultyFrame!.Value + 1));
    }

    [Fact]
    public void Suffixes_of_compilers_do_not_hide_a_dispatch_point()
    {
        Assert.Equal("tasklet_action_common", Boundaries.Find("tasklet_action_common.constprop.0")?.Function);
        Assert.Null(Boundaries.Find("call_timer_fn_other"));
        Assert.All(Boundaries.All, b => Assert.Equal(b.Result is null, b.Shown.Length == 0));
    }

    private static RepairPlan Plan(CrashedGuest g)
    {
        StrategyVerdict verdict = new UnwindStrategy().Evaluate(g.Evidence);
        Assert.True(verdict.Plan is not null, verdict.WhyNot);
        return verdict.Plan!;
    }
}
