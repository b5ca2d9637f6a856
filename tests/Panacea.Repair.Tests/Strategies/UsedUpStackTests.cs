using Panacea.Diagnosis;
using Panacea.Kernel.Unwind;
using Panacea.Repair.Strategies;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Repair.Tests.Strategies;

/// <summary>Double faults, as a rule of a stack that is used up.</summary>
public sealed class UsedUpStackTests
{
    /// <summary>Bytes of a task's stack above the frames: pt_regs of the system call.</summary>
    private const ulong UserRegs = 168;

    /// <summary>Activations of ct_recurse that leave eight bytes of the stack, where ct_deep's return address lies: its locals are in the guard page.</summary>
    private const int Activations = 1009;

    private static CrashSpec Overflow { get; } = new()
    {
        Entry = "asm_exc_double_fault", GuardHit = true, Function = "ct_recurse", Inner = [.. Enumerable.Repeat("ct_recurse", Activations - 1), "ct_deep"],
    };

    [Theory]
    [MemberData(nameof(CrashedGuest.Lines), MemberType = typeof(CrashedGuest))]
    public void The_stack_is_unwound_past_the_recursion(KernelShape shape)
    {
        using var g = new CrashedGuest(Overflow, new SyntheticKernelOptions { Shape = shape });
        Assert.Equal((CrashKind.StackOverflow, CrashContext.Process, 0u), (g.Evidence.Kind, g.Evidence.Context, g.Evidence.PreemptWord.GetValueOrDefault(1)));
        Assert.True(g.Crash.FaultSp < g.Guest.Victim.Stack);
        Assert.Equal("ct_deep", g.Evidence.LocationOf(g.Evidence.Faulty!)?.Name);
        Assert.Equal(Activations, UsedUpStack.Outermost(g.Evidence));

        RepairPlan plan = Plan(g, new UnwindStrategy());
        Assert.StartsWith("vfs_write returns -EIO to ksys_write", plan.Explanation);
        Assert.Equal([(WritableRegister.Rdx, 0UL), (WritableRegister.Rsi, 0UL), (WritableRegister.Rip, g.Guest["oops_end"] + 5)], plan.Registers.Select(r => (r.Register, r.Value)));
        Assert.Empty(plan.Writes);
        Dictionary<WritableRegister, ulong> set = Left(g, plan, steps: 2);
        Assert.Equal((g.Guest["ksys_write:back:vfs_write"], g.Guest.Victim.StackTop - UserRegs - 32, unchecked((ulong)-5L)), (set[WritableRegister.Rip], set[WritableRegister.Rsp], set[WritableRegister.Rax]));
        Assert.Equal(0x200UL, set[WritableRegister.Rflags] & 0x200);
        PlannedWrite mark = Assert.Single(plan.Continuations[1].Writes);
        Assert.Equal((g.Guest.Victim.Stack, 0x57ac_6e9dUL), (mark.Address.Value, BitConverter.ToUInt64(mark.Bytes.Span)));
    }

    [Fact]
    public void The_process_is_killed_from_a_place_on_its_stack_that_has_room()
    {
        using var g = new CrashedGuest(Overflow);
        RepairPlan plan = Plan(g, new KillStrategy());
        Dictionary<WritableRegister, ulong> set = Left(g, plan, steps: 2);
        Assert.Equal((g.Guest["rewind_stack_and_make_dead"], 9UL), (set[WritableRegister.Rip], set[WritableRegister.Rdi]));
        Assert.InRange(set[WritableRegister.Rsp], g.Guest.Victim.Stack + 4096, g.Guest.Victim.StackTop - UserRegs);
    }

    /// <summary>It sleeps as if one of the functions that left room had called msleep().</summary>
    [Fact]
    public void The_thread_sleeps_where_its_stack_has_room()
    {
        using var g = new CrashedGuest(Overflow);
        RepairPlan plan = Plan(g, new FreezeStrategy());
        PlannedContinuation last = plan.Continuations[^1];
        Dictionary<WritableRegister, ulong> set = last.Registers.ToDictionary(r => r.Register, r => r.Value);
        Assert.Equal(g.Guest["msleep"], set[WritableRegister.Rip]);
        Assert.InRange(set[WritableRegister.Rsp], g.Guest.Victim.Stack + 8000, g.Guest.Victim.StackTop - UserRegs);
        Assert.Equal(g.Guest["ct_recurse:back:ct_recurse"], BitConverter.ToUInt64(Assert.Single(last.Writes).Bytes.Span));
    }

    /// <summary>A double fault for another reason leaves the stack as it is, and its entry has to be left all the same.</summary>
    [Fact]
    public void Any_double_fault_is_left_like_an_NMI()
    {
        using var g = new CrashedGuest(new CrashSpec { Entry = "asm_exc_double_fault" });
        Assert.Equal((CrashKind.DoubleFault, CrashContext.Process), (g.Evidence.Kind, g.Evidence.Context));
        RepairPlan plan = Plan(g, new ErrorReturnStrategy());
        Assert.Equal(g.Crash.ReturnAddress, Left(g, plan, steps: 2)[WritableRegister.Rip]);
    }

    [Fact]
    public void One_that_came_upon_an_NMI_is_an_NMIs()
    {
        using var g = new CrashedGuest(Overflow with { Preempt = 0x11_0000 });
        Assert.Equal(CrashContext.Nmi, g.Evidence.Context);
        Assert.All(Ladder.All, s => Assert.NotNull(s.Evaluate(g.Evidence).WhyNot));
    }

    [Fact]
    public void Nothing_is_tried_where_the_entry_cannot_be_left()
    {
        using var g = new CrashedGuest(Overflow, new SyntheticKernelOptions { Without = new HashSet<string> { "irqentry_nmi_exit" } });
        Declines(g.Evidence, "has no irqentry_nmi_exit()");
        using var h = new CrashedGuest(Overflow);
        Declines(h.Evidence with { HandlerPreemptCount = 0 }, "preempt count does not show");
        Declines(h.Evidence with { Crash = h.Evidence.Crash with { Cs = 0x33 } }, "user mode");
    }

    /// <summary>A few file systems on top of one another are no recursion.</summary>
    [Fact]
    public void A_function_that_is_there_a_few_times_is_no_recursion()
    {
        using var g = new CrashedGuest(Overflow with { Inner = ["ct_recurse", "ct_recurse", "ct_deep"] });
        Assert.Equal(0, UsedUpStack.Outermost(g.Evidence));
    }

    private static void Declines(CrashEvidence evidence, string why)
    {
        foreach (IRepairStrategy strategy in (IRepairStrategy[])[new UnwindStrategy(), new KillStrategy(), new FreezeStrategy()])
            Assert.Contains(why, strategy.Evaluate(evidence).WhyNot);
    }

    /// <summary>The first step leaves the double fault's entry by the kernel's own function, which comes back to where the second leads the CPU away: the registers that it sets.</summary>
    private static Dictionary<WritableRegister, ulong> Left(CrashedGuest g, RepairPlan plan, int steps)
    {
        Assert.Equal(steps, plan.Continuations.Count);
        ulong sp = g.Crash.Vcpu.Gpr[Gpr.Rsp];
        PlannedContinuation exit = plan.Continuations[0], away = plan.Continuations[1];
        Assert.All([exit, away], s => Assert.Equal((g.Guest["die:back:oops_end"], sp + 8), (s.Address, s.StackPointer)));
        Assert.Equal(
            [(WritableRegister.Rdi, g.Crash.RegsAddress), (WritableRegister.Rsi, 0UL), (WritableRegister.Rsp, sp), (WritableRegister.Rip, g.Guest["irqentry_nmi_exit"])],
            exit.Registers.Where(r => r.Register != WritableRegister.Rflags).Select(r => (r.Register, r.Value)));
        Assert.Equal(0UL, exit.Registers.Single(r => r.Register == WritableRegister.Rflags).Value & (1 << 9));
        PlannedWrite slot = Assert.Single(exit.Writes);
        Assert.Equal((sp, exit.Address), (slot.Address.Value, BitConverter.ToUInt64(slot.Bytes.Span)));
        return away.Registers.ToDictionary(r => r.Register, r => r.Value);
    }

    private static RepairPlan Plan(CrashedGuest g, IRepairStrategy strategy)
    {
        StrategyVerdict verdict = strategy.Evaluate(g.Evidence);
        Assert.Null(verdict.WhyNot);
        return verdict.Plan!;
    }
}
