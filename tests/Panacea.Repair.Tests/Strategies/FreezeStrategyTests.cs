using Panacea.Kernel.Unwind;
using Panacea.Repair.Strategies;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Repair.Tests.Strategies;

public sealed class FreezeStrategyTests
{
    /// <summary>The task sleeps as if the instruction that trapped had called for it: its stack stays as it was, and shows that.</summary>
    [Fact]
    public void A_trapped_task_sleeps_where_it_stands()
    {
        using var g = new CrashedGuest(new CrashSpec());
        RepairPlan plan = Plan(g);
        Assert.Equal("thread 321 (victim) sleeps for ever where it crashed; the rest of the OS goes on", plan.Explanation);
        Assert.Equal(["thread 321 of process 321 (victim)"], plan.Lost);

        // Until the trap has returned, its frames lie where the return address is to be: so the CPU arrives below them, with interrupts off, and is stopped there.
        PtRegs next = PtRegs.Read(Assert.Single(plan.Writes).Bytes.Span);
        Assert.Equal(g.Guest["msleep"], next.Ip);
        Assert.False(next.InterruptsEnabled);
        Assert.True(next.Sp < g.Crash.FaultSp - 8);
        PlannedContinuation sleep = Assert.Single(plan.Continuations);
        Assert.Equal((g.Guest["msleep"], next.Sp), (sleep.Address, sleep.StackPointer));
        PlannedWrite caller = Assert.Single(sleep.Writes);
        Assert.Equal((g.Crash.FaultSp - 8, g.Evidence.Crash.Ip), (caller.Address.Value, BitConverter.ToUInt64(caller.Bytes.Span)));
        Dictionary<WritableRegister, ulong> set = sleep.Registers.ToDictionary(r => r.Register, r => r.Value);
        Assert.Equal((uint.MaxValue, g.Crash.FaultSp - 8, g.Guest["msleep"]), (set[WritableRegister.Rdi], set[WritableRegister.Rsp], set[WritableRegister.Rip]));
        Assert.Equal(0x200UL, set[WritableRegister.Rflags] & 0x200);
    }

    /// <summary>panic() has been called: its return address is the caller already.</summary>
    [Fact]
    public void At_panic_the_caller_sleeps()
    {
        using var g = new CrashedGuest(new CrashSpec { Entry = null, Function = "ct_panic" });
        PlannedContinuation sleep = Assert.Single(Plan(g).Continuations);
        Assert.Empty(sleep.Writes);
        Assert.Equal(g.Crash.Vcpu.Gpr[Gpr.Rsp], sleep.Registers.Single(r => r.Register == WritableRegister.Rsp).Value);
    }

    [Fact]
    public void What_it_holds_is_given_back_first_below_its_stack()
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
        Assert.Equal(2, plan.Continuations.Count);
        PlannedContinuation unlock = plan.Continuations[0];
        Assert.Equal(g.Guest["_raw_spin_unlock"], unlock.Registers.Single(r => r.Register == WritableRegister.Rip).Value);
        Assert.Equal((unlock.StackPointer - 8, g.Guest["msleep"]), (Assert.Single(unlock.Writes).Address.Value, BitConverter.ToUInt64(unlock.Writes[0].Bytes.Span)));
        Assert.True(unlock.StackPointer < g.Crash.FaultSp - 8);
    }

    [Fact]
    public void Init_can_sleep_and_an_interrupt_cannot()
    {
        using var init = new CrashedGuest(new CrashSpec());
        RepairPlan plan = new FreezeStrategy().Evaluate(init.Evidence with { Task = init.Evidence.Task! with { Pid = 1, Tgid = 1 } }).Plan!;
        Assert.Contains(plan.Risks, r => r.Contains("zombies", StringComparison.Ordinal));
        Assert.DoesNotContain(new FreezeStrategy().Evaluate(init.Evidence).Plan!.Risks, r => r.Contains("zombies", StringComparison.Ordinal));
        using var irq = new CrashedGuest(new CrashSpec { Preempt = 0x1_0000 });
        Assert.Contains("there is no task that could sleep", new FreezeStrategy().Evaluate(irq.Evidence).WhyNot, StringComparison.Ordinal);
        using var without = new CrashedGuest(new CrashSpec(), new SyntheticKernelOptions { Without = new HashSet<string> { "msleep" } });
        Assert.Contains("msleep", new FreezeStrategy().Evaluate(without.Evidence).WhyNot, StringComparison.Ordinal);
    }

    private static RepairPlan Plan(CrashedGuest g)
    {
        StrategyVerdict verdict = new FreezeStrategy().Evaluate(g.Evidence);
        Assert.Null(verdict.WhyNot);
        return verdict.Plan!;
    }
}
