using Panacea.Diagnosis;
using Panacea.Kernel.Unwind;
using Panacea.Repair.Strategies;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Repair.Tests.Strategies;

public sealed class HealStrategyTests
{
    [Theory]
    [MemberData(nameof(CrashedGuest.Lines), MemberType = typeof(CrashedGuest))]
    public void A_damaged_instruction_that_trapped_is_restored_and_tried_again(KernelShape shape)
    {
        using var g = new CrashedGuest(new CrashSpec(), new SyntheticKernelOptions { Shape = shape });
        byte before = Damage(g, "ct_int:fault", 0);
        RepairPlan plan = Plan(g);
        Assert.Contains("the code of ct_int, which was damaged", plan.Explanation, StringComparison.Ordinal);
        Assert.EndsWith("nothing is lost", plan.Explanation);
        Assert.Equal((g.Guest["ct_int:fault"], before), (plan.Writes[0].Address.Value, Assert.Single(plan.Writes[0].Bytes.ToArray())));
        PtRegs next = PtRegs.Read(plan.Writes[^1].Bytes.Span);
        Assert.Equal((g.Guest["ct_int:fault"], g.Crash.FaultSp), (next.Ip, next.Sp));
        Assert.Empty(plan.Lost);
    }

    [Fact]
    public void Behind_a_handler_that_signals_all_registers_are_set_again()
    {
        using var g = new CrashedGuest(new CrashSpec { Entry = "asm_exc_invalid_op", Function = "ct_bug", Registers = new Dictionary<Gpr, ulong> { [Gpr.Rsi] = 0x51, [Gpr.R9] = 0x99, [Gpr.Rax] = 0xaa } });
        Damage(g, "ct_bug:fault", 1);
        PlannedContinuation next = Assert.Single(Plan(g).Continuations);
        Dictionary<WritableRegister, ulong> set = next.Registers.ToDictionary(r => r.Register, r => r.Value);
        Assert.Equal((g.Guest["ct_bug:fault"], 0x51UL, 0x99UL, 0xaaUL), (set[WritableRegister.Rip], set[WritableRegister.Rsi], set[WritableRegister.R9], set[WritableRegister.Rax]));
    }

    /// <summary>Damage that has been executed has done what it has done: the function is healed for the next call, and returns an error from this one.</summary>
    [Fact]
    public void Damage_elsewhere_in_the_function_is_restored_and_the_function_returns()
    {
        using var g = new CrashedGuest(new CrashSpec());
        Damage(g, "ct_int", 1);
        RepairPlan plan = Plan(g);
        Assert.Contains("ct_int returns -EIO", plan.Explanation, StringComparison.Ordinal);
        Assert.Equal(g.Guest["ct_int"] + 1, plan.Writes[0].Address.Value);
        Assert.Equal(g.Crash.ReturnAddress, PtRegs.Read(plan.Writes[^1].Bytes.Span).Ip);
    }

    /// <summary>Who experiments with a guest has put a mistake into it, and no damage.</summary>
    [Fact]
    public void What_was_injected_counts_as_what_the_kernel_was_built_with()
    {
        using var g = new CrashedGuest(new CrashSpec());
        Damage(g, "ct_int:fault", 0);
        ulong at = g.Guest["ct_int:fault"];
        CrashEvidence evidence = new CrashCapture(g.Image, TargetLimits.Default).Capture(g.Guest.Memory, g.Crash.Vcpu, g.Point);
        Assert.Contains("what it was", new HealStrategy().Evaluate(evidence with { Injected = [(at, 1)] }).WhyNot, StringComparison.Ordinal);
        Assert.Null(new HealStrategy().Evaluate(evidence with { Injected = [(at + 1, 1), (at - 1, 1)] }).WhyNot);
    }

    [Fact]
    public void Code_that_is_what_it_was_declines()
    {
        using var g = new CrashedGuest(new CrashSpec());
        Assert.Contains("what it was", new HealStrategy().Evaluate(g.Evidence).WhyNot);
    }

    /// <summary>Breakpoints and probes are the kernel's own.</summary>
    [Theory]
    [InlineData(0xcc)]
    [InlineData(0xe9)]
    public void What_the_kernel_patches_itself_is_no_damage(byte patch)
    {
        using var g = new CrashedGuest(new CrashSpec());
        g.Guest.Memory.Write(g.Guest.Physical(g.Guest["ct_int:fault"]), [patch]);
        CrashEvidence again = new CrashCapture(g.Image, TargetLimits.Default).Capture(g.Guest.Memory, g.Crash.Vcpu, g.Point);
        Assert.Null(new HealStrategy().Evaluate(again).Plan);
    }

    private static byte Damage(CrashedGuest g, string place, int offset)
    {
        ulong at = g.Guest[place] + (ulong)offset;
        byte[] before = new byte[1];
        Assert.True(g.Image.TryReadCode(at, before));
        g.Guest.Memory.Write(g.Guest.Physical(at), [(byte)(before[0] ^ 0x40)]);
        return before[0];
    }

    private static RepairPlan Plan(CrashedGuest g)
    {
        CrashEvidence evidence = new CrashCapture(g.Image, TargetLimits.Default).Capture(g.Guest.Memory, g.Crash.Vcpu, g.Point);
        StrategyVerdict verdict = new HealStrategy().Evaluate(evidence);
        Assert.True(verdict.Plan is not null, verdict.WhyNot);
        return verdict.Plan!;
    }
}
