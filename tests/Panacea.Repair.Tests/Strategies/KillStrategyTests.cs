using Panacea.Diagnosis;
using Panacea.Kernel.Unwind;
using Panacea.Repair.Strategies;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Repair.Tests.Strategies;

public sealed class KillStrategyTests
{
    [Theory]
    [MemberData(nameof(CrashedGuest.Lines), MemberType = typeof(CrashedGuest))]
    public void At_an_oops_the_trap_returns_into_the_kernels_own_exit_path(KernelShape shape)
    {
        using var g = new CrashedGuest(new CrashSpec { Flags = 0x5_0746 }, new SyntheticKernelOptions { Shape = shape });
        RepairPlan plan = Plan(g);
        Assert.Equal("process 321 (victim) is killed through rewind_stack_and_make_dead; the rest of the OS goes on", plan.Explanation);
        Assert.Equal(["process 321 (victim)"], plan.Lost);
        Assert.Empty(plan.Risks);
        PlannedWrite write = Assert.Single(plan.Writes);
        Assert.Equal(g.Crash.RegsAddress, write.Address.Value);
        PtRegs next = PtRegs.Read(write.Bytes.Span);
        Assert.Equal((g.Guest["rewind_stack_and_make_dead"], 9UL, 0UL), (next.Ip, next.Gpr[Gpr.Rdi], next.Bp));
        Assert.Equal((g.Crash.FaultSp & ~15UL) - 8, next.Sp);
        Assert.Equal(0UL, next.Flags & 0x4_0500);
        Assert.True(next.InterruptsEnabled);
        Assert.Equal([(WritableRegister.Rdx, 0UL), (WritableRegister.Rsi, 0UL), (WritableRegister.Rip, g.Guest["oops_end"] + 5)], plan.Registers.Select(r => (r.Register, r.Value)));
        Assert.Empty(plan.Continuations);
    }

    /// <summary>A task with softirqs off counts as an interrupt, over which the exit path would panic.</summary>
    [Theory]
    [InlineData(0x200u, true)]
    [InlineData(0x1u, false)]
    public void Softirqs_that_were_off_are_on_when_it_dies(uint word, bool isPutRight)
    {
        using var g = new CrashedGuest(new CrashSpec { Preempt = word });
        Assert.Equal(CrashContext.Process, g.Evidence.Context);
        PlannedWrite? count = Plan(g).Writes.FirstOrDefault(w => w.Address.Value == g.Evidence.PreemptCountAddress);
        Assert.Equal(isPutRight, count is not null);
        if (count is not null)
            Assert.Equal(g.Evidence.HandlerPreemptCount, BitConverter.ToUInt32(count.Bytes.Span) & 0x7fff_ffff);
    }

    /// <summary>Hostile or overwritten registers: nobody is sent on with a stack that is none.</summary>
    [Theory]
    [InlineData(0UL)]
    [InlineData(8UL)]
    [InlineData(0x68UL)]
    [InlineData(0x7ffd_0000_0f00UL)]
    [InlineData(0x8000_0000_0000_0000UL)]
    [InlineData(ulong.MaxValue)]
    public void A_stack_pointer_that_is_none_declines(ulong sp)
    {
        using var g = new CrashedGuest(new CrashSpec());
        CrashEvidence evidence = g.Evidence with { Crash = g.Evidence.Crash.With(Gpr.Rsp, sp) };
        foreach (IRepairStrategy strategy in (IRepairStrategy[])[new KillStrategy(), new FreezeStrategy()])
            Assert.Contains("is none of a kernel's stack", strategy.Evaluate(evidence).WhyNot, StringComparison.Ordinal);
    }

    [Fact]
    public void At_panic_the_exit_path_is_entered_with_a_functions_alignment()
    {
        using var g = new CrashedGuest(new CrashSpec { Entry = null, Function = "ct_panic" });
        RepairPlan plan = Plan(g);
        Assert.Empty(plan.Writes);
        ulong sp = g.Crash.Vcpu.Gpr[Gpr.Rsp];
        Dictionary<WritableRegister, ulong> set = plan.Registers.ToDictionary(r => r.Register, r => r.Value);
        Assert.Equal((9UL, ((sp + 8) & ~15UL) - 8, g.Guest["rewind_stack_and_make_dead"]), (set[WritableRegister.Rdi], set[WritableRegister.Rsp], set[WritableRegister.Rip]));
        Assert.Equal(8UL, set[WritableRegister.Rsp] & 15);
        Assert.True(set[WritableRegister.Rsp] <= sp, "nothing that is in use may be above");
    }

    [Theory]
    [InlineData("", "rewind_stack_and_make_dead")]
    [InlineData("rewind_stack_and_make_dead", "make_task_dead")]
    [InlineData("rewind_stack_and_make_dead,make_task_dead", "do_exit")]
    public void The_exit_path_is_the_best_that_the_kernel_has(string without, string path)
    {
        using var g = new CrashedGuest(new CrashSpec(), new SyntheticKernelOptions { Without = without.Split(',').ToHashSet() });
        Assert.Equal(g.Guest[path], PtRegs.Read(Plan(g).Writes[0].Bytes.Span).Ip);
    }

    [Fact]
    public void A_kernel_without_a_known_exit_path_declines()
    {
        using var g = new CrashedGuest(
            new CrashSpec(), new SyntheticKernelOptions { Without = new HashSet<string> { "rewind_stack_and_make_dead", "make_task_dead", "do_exit" } });
        Assert.Contains("none of the exit paths", new KillStrategy().Evaluate(g.Evidence).WhyNot);
    }

    [Theory]
    [InlineData("init", "can't live without")]
    [InlineData("idle", "idle task")]
    public void Init_and_the_idle_task_are_not_killed(string who, string why)
    {
        using var g = new CrashedGuest(new CrashSpec(), task: k => who == "init" ? k.Init : k.Idle[0]);
        Assert.Contains(why, new KillStrategy().Evaluate(g.Evidence).WhyNot);
    }

    [Fact]
    public void A_thread_of_init_is_not_killed_either()
    {
        using var g = new CrashedGuest(new CrashSpec(), task: k => k.AddTask(77, "systemd-thread", k.Init));
        Assert.Contains("can't live without", new KillStrategy().Evaluate(g.Evidence).WhyNot);
    }

    /// <summary>Everybody waits for some kernel threads in the end; a process may have any name.</summary>
    [Theory]
    [InlineData("rcu_preempt", true, false)]
    [InlineData("migration/1", true, false)]
    [InlineData("kthreadd", true, false)]
    [InlineData("kworker/0:1", true, true)]
    [InlineData("rcu_preempt", false, true)]
    public void A_kernel_thread_that_nobody_can_do_without_is_not_killed(string name, bool isKernelThread, bool isKilled)
    {
        using var g = new CrashedGuest(new CrashSpec(), task: k =>
        {
            SyntheticTask task = k.AddTask(77, name, null);
            k.Put(task.Address, "task_struct.flags", isKernelThread ? 0x20_0000u : 0u);
            return task;
        });
        StrategyVerdict verdict = new KillStrategy().Evaluate(g.Evidence);
        Assert.Equal(isKilled, verdict.Plan is not null);
        if (isKilled)
            return;
        Assert.Contains($"{name}, which the kernel can't live without", verdict.WhyNot, StringComparison.Ordinal);
        Assert.Contains($"{name}, which the kernel can't live without", new FreezeStrategy().Evaluate(g.Evidence).WhyNot, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0x100u, "softirq")]
    [InlineData(0x1_0000u, "hardware interrupt")]
    [InlineData(0x10_0000u, "NMI")]
    public void In_an_interrupt_there_is_no_process_to_take_out(uint preempt, string why)
    {
        using var g = new CrashedGuest(new CrashSpec { Preempt = preempt });
        string? said = new KillStrategy().Evaluate(g.Evidence).WhyNot;
        Assert.Contains(why, said);
        Assert.Contains("no process", said);
    }

    [Fact]
    public void A_kernel_thread_that_nobody_starts_again_is_a_risk()
    {
        using var g = new CrashedGuest(new CrashSpec { Bottom = "ret_from_fork", Chain = ["kthread", "ct_outer"] }, task: k => k.Kthread);
        Assert.Contains(Plan(g).Risks, r => r.Contains("nobody starts it again"));
    }

    [Fact]
    public void An_atomic_section_that_nothing_accounts_for_is_a_risk()
    {
        using var g = new CrashedGuest(new CrashSpec { Preempt = 1 });
        Assert.Contains("a spinlock that it held may stay locked", Plan(g).Risks[^1]);
    }

    /// <summary>The exit path is what the kernel's function that gives the lock back returns to.</summary>
    [Fact]
    public void Locks_of_the_process_are_given_back_before_it_is_killed()
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
        PtRegs next = PtRegs.Read(plan.Writes[^1].Bytes.Span);
        Assert.Equal((g.Guest["_raw_spin_unlock"], held), (next.Ip, next.Gpr[Gpr.Rdi]));
        Assert.Equal(g.Guest["rewind_stack_and_make_dead"], BitConverter.ToUInt64(plan.Writes[0].Bytes.Span));
        Assert.True(plan.Writes[0].Address.Value >= g.Crash.RegsAddress + PtRegs.Size, "the trap's registers and the return address may not lie on each other");
        PlannedContinuation back = Assert.Single(plan.Continuations);
        Assert.Equal((g.Guest["rewind_stack_and_make_dead"], 9UL), (back.Address, back.Registers.Single(r => r.Register == WritableRegister.Rdi).Value));
        Assert.Empty(plan.Risks);
    }

    [Fact]
    public void It_needs_neither_types_nor_unwind_rows()
    {
        using var g = new CrashedGuest(new CrashSpec(), new SyntheticKernelOptions { Orc = false });
        Assert.NotNull(new KillStrategy().Evaluate(g.Evidence).Plan);
    }

    private static RepairPlan Plan(CrashedGuest g)
    {
        StrategyVerdict verdict = new KillStrategy().Evaluate(g.Evidence);
        Assert.True(verdict.Plan is not null, verdict.WhyNot);
        return verdict.Plan!;
    }
}
