using Panacea.Diagnosis;
using Panacea.Repair.Strategies;
using Panacea.TestKit.Linux;

namespace Panacea.Repair.Tests.Strategies;

/// <summary>Crashes that may be meant: the process that ran into one is taken out, whatever else would be possible.</summary>
public sealed class AttackTests
{
    [Theory]
    [InlineData(CrashKind.Usercopy)]
    [InlineData(CrashKind.StackCorruption)]
    [InlineData(CrashKind.ControlProtection)]
    [InlineData(CrashKind.ReadOnlyWrite)]
    [InlineData(CrashKind.Refcount)]
    public void The_process_does_not_go_on(CrashKind kind)
    {
        using var g = new CrashedGuest(new CrashSpec());
        CrashEvidence evidence = g.Evidence with { Kind = kind };
        Assert.Contains("may be an attack", new ErrorReturnStrategy().Evaluate(evidence).WhyNot);
        Assert.Contains("may be an attack", new UnwindStrategy().Evaluate(evidence).WhyNot);
        Assert.NotNull(new KillStrategy().Evaluate(evidence).Plan);
    }

    [Fact]
    public void A_canary_is_told_by_the_function_that_found_it()
    {
        using var g = new CrashedGuest(new CrashSpec { Entry = null, Function = "ct_stack_chk", Inner = ["__stack_chk_fail"] });
        Assert.Equal(CrashKind.StackCorruption, g.Evidence.Kind);
        Assert.Contains("canary", new UnwindStrategy().Evaluate(g.Evidence).WhyNot);
    }

    [Fact]
    public void Other_crashes_are_no_sign_of_one()
    {
        using var g = new CrashedGuest(new CrashSpec());
        Assert.Null(Attacks.WhatItMeans(g.Evidence));
        Assert.NotNull(new ErrorReturnStrategy().Evaluate(g.Evidence).Plan);
    }

    /// <summary>In an interrupt there is no process that could be taken out; the kernel's own work goes on.</summary>
    [Fact]
    public void In_an_interrupt_the_kernel_goes_on()
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_void", Chain = ["do_syscall_64", "call_timer_fn"], Preempt = 0x100 });
        Assert.NotNull(new UnwindStrategy().Evaluate(g.Evidence with { Kind = CrashKind.ReadOnlyWrite }).Plan);
    }
}
