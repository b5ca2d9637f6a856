using Panacea.Diagnosis;
using Panacea.Kernel;
using Panacea.Kernel.Subsystems;
using Panacea.Repair.Strategies;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Repair.Tests.Strategies;

/// <summary>What no function of a stack is to blame for: disks whose requests do not get on, CPUs without a tick, tasks that nobody has woken.</summary>
public sealed class HelpTests : IDisposable
{
    private static readonly TargetLimits Few = TargetLimits.Default with { MaxChain = 100 };

    private readonly CrashedGuest _guest = new(new CrashSpec());
    private readonly SyntheticVirtioDisk _disk;

    private SyntheticKernel Kernel => _guest.Guest;

    private LinuxKernel Live => _guest.Image.KernelOver(Kernel.Memory);

    public HelpTests() => _disk = Kernel.AddVirtioDisk("vda", (1, 1), (0, 1));

    public void Dispose() => _guest.Dispose();

    [Theory]
    [InlineData("vring_interrupt", 7, 7, 6, 5, false)]
    [InlineData("virtqueue_notify", 7, 5, 5, 5, false)]
    [InlineData("blk_mq_start_stopped_hw_queues", 7, 7, 7, 7, true)]
    public void A_disk_is_helped_by_one_function(string function, ushort offered, ushort taken, ushort answered, ushort heard, bool stopped)
    {
        if (stopped)
        {
            foreach (ulong request in _disk.Requests)
                Kernel.Put(request, "request.state", 0);
            Kernel.Put(_disk.Context, "blk_mq_hw_ctx.state", 1);
        }

        Kernel.SetProgress(_disk, offered, taken, answered, heard);
        CrashEvidence evidence = Stalled();
        RepairPlan plan = new HealStrategy().Evaluate(evidence).Plan!;
        Assert.Contains($"({function})", plan.Explanation, StringComparison.Ordinal);
        Assert.Equal(Kernel[function], Value(plan.Registers, WritableRegister.Rip));
        Assert.Equal(evidence.Vcpu.Gpr[Gpr.Rsp] - 8, Value(plan.Registers, WritableRegister.Rsp));
        Assert.Equal(function switch { "vring_interrupt" => 0, "virtqueue_notify" => _disk.Queue, _ => _disk.Disk.Queue }, Value(plan.Registers, WritableRegister.Rdi));
        if (function == "vring_interrupt")
            Assert.Equal(_disk.Queue, Value(plan.Registers, WritableRegister.Rsi));
        PlannedWrite slot = Assert.Single(plan.Writes);
        Assert.Equal((evidence.Vcpu.Gpr[Gpr.Rsp] - 8, evidence.Vcpu.Rip), (slot.Address.Value, BitConverter.ToUInt64(slot.Bytes.Span)));

        // It comes back to where it was, and does what it was about to.
        PlannedContinuation back = Assert.Single(plan.Continuations);
        Assert.Equal((evidence.Vcpu.Rip, evidence.Vcpu.Gpr[Gpr.Rsp]), (back.Address, back.StackPointer));
        Assert.Equal(evidence.Vcpu.Gpr[Gpr.Rdi], Value(back.Registers, WritableRegister.Rdi));
        Assert.DoesNotContain(back.Registers, r => r.Register == WritableRegister.Rip);
        Assert.Empty(plan.Lost);
    }

    [Fact]
    public void Lost_requests_are_given_to_the_driver_again_one_by_one()
    {
        Kernel.SetProgress(_disk, 7, 7, 7, 7);
        CrashEvidence evidence = Stalled();
        RepairPlan plan = new HealStrategy().Evaluate(evidence).Plan!;
        Assert.Equal((_disk.Requests[0], 1UL), (Value(plan.Registers, WritableRegister.Rdi), Value(plan.Registers, WritableRegister.Rsi)));
        Assert.Equal(2, plan.Continuations.Count);
        Assert.Equal((_disk.Requests[1], Kernel["blk_mq_requeue_request"]), (Value(plan.Continuations[0].Registers, WritableRegister.Rdi), Value(plan.Continuations[0].Registers, WritableRegister.Rip)));
        Assert.Single(plan.Continuations[0].Writes);
        Assert.Empty(plan.Continuations[1].Writes);
        Assert.Contains("2 requests of vda", plan.Explanation, StringComparison.Ordinal);
        Assert.Single(plan.Risks);
    }

    [Fact]
    public void What_a_CPU_may_be_completing_is_not_given_again()
    {
        Kernel.SetProgress(_disk, 7, 7, 7, 7);
        Kernel.Put(_disk.Requests[1], "request.state", 2);
        Kernel.WriteU64(Kernel.PerCpu("blk_cpu_done", 0), 0xffff_8880_0000_1000);
        Assert.Contains("still has requests to complete", new HealStrategy().Evaluate(Stalled()).WhyNot, StringComparison.Ordinal);
    }

    /// <summary>A write that is on the disk waits for the flush behind it, which lies in a queue that nobody runs.</summary>
    [Fact]
    public void What_is_done_in_part_is_not_given_again_and_its_queue_is_run()
    {
        Kernel.SetProgress(_disk, 7, 7, 7, 7);
        Kernel.Put(_disk.Requests[0], "request.bio", 0);

        // The other one does not wait for it.
        CrashEvidence both = Stalled();
        Assert.Equal(_disk.Requests[1], Value(new HealStrategy().Evaluate(both).Plan!.Registers, WritableRegister.Rdi));
        Assert.Single(new HealStrategy().Evaluate(both).Plan!.Continuations);
        Kernel.Put(_disk.Requests[1], "request.__data_len", 0);
        RepairPlan plan = new HealStrategy().Evaluate(Stalled()).Plan!;
        Assert.Equal((Kernel["blk_mq_run_hw_queues"], _disk.Disk.Queue, 1UL), (Value(plan.Registers, WritableRegister.Rip), Value(plan.Registers, WritableRegister.Rdi), Value(plan.Registers, WritableRegister.Rsi)));
        Assert.Contains("WRITE of sector", plan.Explanation, StringComparison.Ordinal);
        Assert.Single(plan.Continuations);
        Assert.Empty(plan.Risks);
    }

    [Fact]
    public void A_queue_that_nobody_runs_is_run()
    {
        Kernel.SetProgress(_disk, 7, 7, 7, 7);
        foreach (ulong request in _disk.Requests)
            Kernel.Put(request, "request.state", 0);
        Kernel.SetWaiting(_disk, _disk.Requests[1], refused: false);
        CrashEvidence evidence = Stalled();
        RepairPlan plan = new HealStrategy().Evaluate(evidence).Plan!;
        Assert.Equal((Kernel["blk_mq_run_hw_queues"], _disk.Disk.Queue, 1UL), (Value(plan.Registers, WritableRegister.Rip), Value(plan.Registers, WritableRegister.Rdi), Value(plan.Registers, WritableRegister.Rsi)));
        (CrashReport report, _) = new CrashReporter(TargetLimits.Default).Write(evidence);
        Assert.Contains(report.Findings, f => f.Id == "hang.io" && f.Text == "requests of vda wait to be given to its driver, which has none, and nobody gives them to it");
    }

    /// <summary>Whoever was interrupted has nothing to do with it.</summary>
    [Fact]
    public void Nobody_is_led_elsewhere_for_a_disk()
    {
        Kernel.SetProgress(_disk, 7, 7, 6, 5);
        CrashEvidence evidence = Stalled();
        Assert.Null(evidence.FaultyFrame);
        Ladder.Choose(evidence, (kind, _) => kind == RepairKind.Heal ? new RungBar(RungVerdict.NotAllowed, "not allowed: by policy rungs") : null, out IReadOnlyList<LadderVerdict> ladder);
        Assert.All(ladder, v => Assert.Null(v.Verdict.Plan));
    }

    /// <summary>A timer that is queued needs no start: the CPU takes the interrupt that has not come.</summary>
    [Fact]
    public void A_timer_that_has_expired_has_its_interrupt_taken()
    {
        ulong tick = Kernel.PerCpu("tick_cpu_sched", 0), device = Kernel.New("clock_event_device", ("event_handler", Kernel["hrtimer_interrupt"]));
        Kernel.Put(tick, "tick_sched.sched_timer.function", Kernel["tick_sched_timer"]);
        Kernel.Put(tick, "tick_sched.sched_timer.state", 1);
        Kernel.Put(Kernel.PerCpu("tick_cpu_device", 0), "tick_device.evtdev", device);
        StrategyVerdict Verdict() => new HealStrategy().Evaluate(Seen(new Hang(CrashKind.LostTick, TimeSpan.Zero, ["seen"]) { Timer = TickTimer.Read(Live, 0) }));
        RepairPlan plan = Verdict().Plan!;
        Assert.Equal((Kernel["hrtimer_interrupt"], device), (Value(plan.Registers, WritableRegister.Rip), Value(plan.Registers, WritableRegister.Rdi)));
        Kernel.Put(device, "clock_event_device.event_handler", Kernel["tick_sched_timer"]);
        Assert.Contains("is not served by hrtimer_interrupt()", Verdict().WhyNot, StringComparison.Ordinal);
    }

    [Fact]
    public void A_tick_is_started_by_its_own_CPU()
    {
        ulong tick = Kernel.PerCpu("tick_cpu_sched", 0);
        Kernel.Put(tick, "tick_sched.sched_timer.function", Kernel["tick_sched_timer"]);
        Kernel.Put(tick, "tick_sched.sched_timer.node.expires", 4_000_000);
        var timer = TickTimer.Read(Live, 0);
        CrashEvidence evidence = Seen(new Hang(CrashKind.LostTick, TimeSpan.Zero, ["seen"]) { Timer = timer });
        RepairPlan plan = new HealStrategy().Evaluate(evidence).Plan!;
        Assert.Equal((Kernel["hrtimer_start_range_ns"], timer.Address, 4_000_000UL, 0UL, 10UL), (
            Value(plan.Registers, WritableRegister.Rip), Value(plan.Registers, WritableRegister.Rdi), Value(plan.Registers, WritableRegister.Rsi), Value(plan.Registers, WritableRegister.Rdx), Value(plan.Registers, WritableRegister.Rcx)));
        (CrashReport report, _) = new CrashReporter(TargetLimits.Default).Write(evidence);
        Assert.Equal("lost timer tick in tick_sched_timer", report.Title);
    }

    /// <summary>Whoever waits for a folio looks at a flag of its own.</summary>
    [Theory]
    [InlineData(true, 1)]
    [InlineData(false, 0)]
    public void A_task_that_nobody_has_woken_goes_on(bool isFolio, int writes)
    {
        SyntheticTask task = Kernel.AddTask(600, "waits");
        ulong word = Kernel.Allocate(8), entry = Kernel.Wait(task, "ct_sleeper", "wait_queue_entry.private"), head = Kernel.New("wait_queue_head");
        Kernel.Put(entry, "wait_queue_entry.func", Kernel[isFolio ? "wake_page_function" : "wake_bit_function"]);
        Kernel.Put(entry - Kernel.Types.Offset(isFolio ? "wait_page_queue.wait" : "wait_bit_queue_entry.wq_entry"), isFolio ? "wait_page_queue.folio" : "wait_bit_queue_entry.key.flags", word);
        Kernel.Ring([head + Kernel.Types.Offset("wait_queue_head.head"), entry + Kernel.Types.Offset("wait_queue_entry.entry")]);
        Kernel.Link();
        LockWait wait = WaitGraph.Build(Live, Tasks.Enumerate(Live, Few), new TaskBacktraces(Live, Few), Few).Edges.First(e => e.Wait.Task == task.Address).Wait;
        var hang = new Hang(CrashKind.HungTask, TimeSpan.Zero, ["seen"]) { Wait = wait, HasCome = true };
        RepairPlan plan = new HealStrategy().Evaluate(_guest.Evidence with { Hang = hang }).Plan!;
        Assert.Equal(writes, plan.Writes.Count);
        Assert.Empty(plan.Registers);
        if (isFolio)
            Assert.Equal((entry + Kernel.Types.Offset("wait_queue_entry.flags"), 2u), (plan.Writes[0].Address.Value, BitConverter.ToUInt32(plan.Writes[0].Bytes.Span)));
        Kernel.WriteU64(word, 1);
        Assert.Contains("waits on", new HealStrategy().Evaluate(_guest.Evidence with { Hang = hang, Kernel = Live }).WhyNot, StringComparison.Ordinal);
    }

    private CrashEvidence Stalled()
    {
        VirtioDisk disk = Assert.Single(VirtioDisks.Enumerate(Live, Few));
        return Seen(new Hang(CrashKind.StalledIo, TimeSpan.Zero, ["seen"]) { Stall = DiskStall.Of(Live, Live, disk, disk.Queues[0], true, Few) });
    }

    private CrashEvidence Seen(Hang hang)
    {
        VcpuRegisters at = _guest.Crash.Vcpu with { Rip = Kernel["update_process_times"] };
        return new CrashCapture(_guest.Image, TargetLimits.Default).CaptureHang(Kernel.Memory, at, hang, []);
    }

    private static ulong Value(IReadOnlyList<PlannedRegister> registers, WritableRegister register) => registers.Single(r => r.Register == register).Value;
}
