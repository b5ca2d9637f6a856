using Panacea.Diagnosis;
using Panacea.Repair.Strategies;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Repair.Tests.Strategies;

/// <summary>A stack pointer that was set from the wrong register is set again; one that has lost bits is found again.</summary>
public sealed class LostStackPointerTests : IDisposable
{
    private readonly CrashedGuest _guest = new(new CrashSpec { Entry = "asm_exc_double_fault", Function = "ct_lost_stack" });

    public void Dispose() => _guest.Dispose();

    [Fact]
    public void It_goes_back_to_where_it_is_set()
    {
        ulong stack = _guest.Evidence.Crash.Sp;
        CrashEvidence evidence = Lost(0, stack);
        RepairPlan plan = new RetryStrategy().Evaluate(evidence).Plan!;
        Assert.Contains("sets the stack pointer again, from rax", plan.Explanation, StringComparison.Ordinal);
        IReadOnlyList<PlannedRegister> end = plan.Continuations[^1].Registers;
        Assert.Equal((_guest.Guest["ct_lost_stack:sets"], stack, stack), (Value(end, WritableRegister.Rip), Value(end, WritableRegister.Rsp), Value(end, WritableRegister.Rax)));
        Assert.Equal(evidence.Crash.Gpr[Gpr.R15], Value(end, WritableRegister.R15));
    }

    /// <summary>The register must hold a stack, and the stack pointer none: a recursion is unwound instead.</summary>
    [Fact]
    public void What_is_no_stack_is_not_gone_to()
    {
        ulong stack = _guest.Evidence.Crash.Sp;
        StrategyVerdict none = new RetryStrategy().Evaluate(Lost(0, 0x1000));
        Assert.Contains("none that it may have been", none.WhyNot, StringComparison.Ordinal);
        Assert.Contains("which is on no stack", Assert.Single(none.Tried), StringComparison.Ordinal);
        Assert.Contains("the stack is used up", new RetryStrategy().Evaluate(Lost(stack, stack)).WhyNot, StringComparison.Ordinal);
        Assert.Contains("the stack is used up", new RetryStrategy().Evaluate(Lost(_guest.Guest.Victim.Stack - 4096, stack)).WhyNot, StringComparison.Ordinal);
    }

    /// <summary>A bit of it has flipped.</summary>
    [Theory]
    [InlineData(40)]
    [InlineData(63)]
    public void What_it_was_is_told_by_the_stack(int bit)
    {
        ulong stack = _guest.Evidence.Crash.Sp;
        CrashEvidence evidence = Lost(stack ^ (1UL << bit), 0x1000);
        RepairPlan plan = new RetryStrategy().Evaluate(evidence).Plan!;
        Assert.Contains($"the stack pointer was 0x{stack:x}, not 0x{evidence.Crash.Sp:x}", plan.Explanation, StringComparison.Ordinal);
        Assert.Equal(Confidence.Medium, plan.Confidence);
        IReadOnlyList<PlannedRegister> end = plan.Continuations[^1].Registers;
        Assert.Equal(
            (_guest.Guest["ct_lost_stack:fault"], stack, 0x1000ul, evidence.Crash.Flags & ~0x1_0000ul),
            (Value(end, WritableRegister.Rip), Value(end, WritableRegister.Rsp), Value(end, WritableRegister.Rax), Value(end, WritableRegister.Rflags)));
    }

    /// <summary>Two bits are too many; and whoever has taken the upper half was to do something else, which is not done.</summary>
    [Fact]
    public void What_can_not_be_told_is_left()
    {
        ulong stack = _guest.Evidence.Crash.Sp;
        foreach (ulong lost in (ulong[])[stack ^ (3UL << 40), unchecked((uint)stack), uint.RotateRight(unchecked((uint)stack), 12)])
            Assert.Contains("none that it may have been", new RetryStrategy().Evaluate(Lost(lost, 0)).WhyNot, StringComparison.Ordinal);
    }

    /// <summary>A return address that a call of another function has pushed is none of this one.</summary>
    [Fact]
    public void Who_was_called_by_nobody_does_not_go_on()
    {
        _guest.Guest.WriteU64(_guest.Crash.ReturnSp - 8, _guest.Guest.Text["do_syscall_64:back:ksys_write"]);
        CrashEvidence again = new CrashCapture(_guest.Image, TargetLimits.Default).Capture(_guest.Guest.Memory, _guest.Crash.Vcpu, _guest.Point);
        Assert.Null(new RetryStrategy().Evaluate(again with { Crash = Lost(again.Crash.Sp ^ (1UL << 40), 0).Crash, InService = -1 }).Plan);
    }

    /// <summary>A flipped bit made a rotation of the return: its upper half is gone, the lower one turned, and the CPU stands behind it, where there is no code.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(12)]
    public void A_return_that_was_none_is_made(int turned)
    {
        using var g = new CrashedGuest(new CrashSpec { Entry = "asm_exc_double_fault", Function = "ct_returns", Chain = ["do_syscall_64", "ksys_write", "vfs_write", "ct_more"] });
        ulong stack = g.Evidence.Crash.Sp;
        RepairPlan plan = new RetryStrategy().Evaluate(g.Evidence with { Crash = g.Evidence.Crash.With(Gpr.Rsp, uint.RotateRight(unchecked((uint)stack), turned)), InService = -1 }).Plan!;
        IReadOnlyList<PlannedRegister> end = plan.Continuations[^1].Registers;
        Assert.Equal((g.Guest["ct_returns:returns"], stack), (Value(end, WritableRegister.Rip), Value(end, WritableRegister.Rsp)));
    }

    /// <summary>An interrupt that found no stack is in service until its handler acknowledges it: it is what comes next. In an interrupt's handler it may be that handler's own.</summary>
    [Theory]
    [InlineData(0xec, 0u, 0x1_0246ul, true)]
    [InlineData(0xec, 0x1_0000u, 0x1_0246ul, false)]
    [InlineData(0xec, 0u, 0x1_0046ul, false)]
    [InlineData(-1, 0u, 0x1_0246ul, false)]
    [InlineData(14, 0u, 0x1_0246ul, false)]
    [InlineData(0xed, 0u, 0x1_0246ul, null)]
    [InlineData(null, 0u, 0x1_0246ul, null)]
    public void An_interrupt_that_could_not_be_delivered_goes_to_its_handler(int? vector, uint preempt, ulong flags, bool? isDelivered)
    {
        const string handler = "asm_exc_general_protection";
        ulong Table(SyntheticKernel kernel)
        {
            ulong table = kernel.Allocate(4096, 4096);
            foreach (int gate in (int[])[14, 0xec])
                kernel.Write(table + ((ulong)gate * 16), TrapGatesTests.Gate(kernel[handler]));
            return table;
        }

        using var g = new CrashedGuest(new CrashSpec { Entry = "asm_exc_double_fault", Function = "ct_lost_stack", Preempt = preempt, Flags = flags }, trapTable: Table);
        ulong stack = g.Evidence.Crash.Sp, ip = g.Guest["ct_lost_stack:fault"];
        StrategyVerdict verdict = new RetryStrategy().Evaluate(g.Evidence with { Crash = g.Evidence.Crash.With(Gpr.Rsp, stack ^ (1UL << 40)).With(Gpr.Rax, 0x1000), InService = vector });
        if (isDelivered is not { } delivers)
        {
            // It would never come again, nor would any that is less urgent.
            Assert.Contains("could not be delivered", verdict.WhyNot, StringComparison.Ordinal);
            return;
        }

        RepairPlan plan = verdict.Plan!;
        IReadOnlyList<PlannedRegister> end = plan.Continuations[^1].Registers;
        if (!delivers)
        {
            Assert.Equal((ip, stack), (Value(end, WritableRegister.Rip), Value(end, WritableRegister.Rsp)));
            Assert.Empty(plan.Writes);
            return;
        }

        ulong frame = (stack & ~15UL) - 40;
        Assert.Equal((g.Guest[handler], frame, 0ul), (Value(end, WritableRegister.Rip), Value(end, WritableRegister.Rsp), Value(end, WritableRegister.Rflags) & 0x200));
        PlannedWrite pushed = plan.Writes.Single(w => w.Address.Value == frame);
        Assert.Equal([ip, 0x10, flags & ~0x1_0000ul, stack, 0x18], System.Runtime.InteropServices.MemoryMarshal.Cast<byte, ulong>(pushed.Bytes.Span).ToArray());
    }

    private CrashEvidence Lost(ulong stackPointer, ulong from) => _guest.Evidence with { Crash = _guest.Evidence.Crash.With(Gpr.Rsp, stackPointer).With(Gpr.Rax, from), InService = -1 };

    private static ulong Value(IReadOnlyList<PlannedRegister> registers, WritableRegister register) => registers.Single(r => r.Register == register).Value;
}
