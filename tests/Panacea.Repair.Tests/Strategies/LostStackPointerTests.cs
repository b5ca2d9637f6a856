using Panacea.Diagnosis;
using Panacea.Repair.Strategies;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Repair.Tests.Strategies;

/// <summary>A stack pointer that was set from the wrong register is set again.</summary>
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
        Assert.Contains("which is on no stack", new RetryStrategy().Evaluate(Lost(0, 0x1000)).WhyNot, StringComparison.Ordinal);
        Assert.Contains("the stack is used up", new RetryStrategy().Evaluate(Lost(stack, stack)).WhyNot, StringComparison.Ordinal);
        Assert.Contains("the stack is used up", new RetryStrategy().Evaluate(Lost(_guest.Guest.Victim.Stack - 4096, stack)).WhyNot, StringComparison.Ordinal);
    }

    private CrashEvidence Lost(ulong stackPointer, ulong from) => _guest.Evidence with { Crash = _guest.Evidence.Crash.With(Gpr.Rsp, stackPointer).With(Gpr.Rax, from) };

    private static ulong Value(IReadOnlyList<PlannedRegister> registers, WritableRegister register) => registers.Single(r => r.Register == register).Value;
}
