using Panacea.Repair.Strategies;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Repair.Tests.Strategies;

public sealed class SettingStrategyTests
{
    /// <summary>WARN() with panic_on_warn: the function that asks for the setting returns, in whatever context.</summary>
    [Theory]
    [InlineData(0u)]
    [InlineData(0x1_0000u)]
    [InlineData(0x10_0000u)]
    public void A_panic_that_a_setting_asked_for_goes_on(uint preempt)
    {
        using var g = new CrashedGuest(new CrashSpec { Entry = null, Function = "ct_warned", Inner = ["check_panic_on_warn"], Preempt = preempt });
        StrategyVerdict verdict = new SettingStrategy().Evaluate(g.Evidence);
        Assert.True(verdict.Plan is not null, verdict.WhyNot);
        RepairPlan plan = verdict.Plan!;
        Assert.Equal((RepairKind.GoOn, "check_panic_on_warn returns, as it does where panic_on_warn is not set; nothing is lost"), (plan.Kind, plan.Explanation));
        Assert.Empty(plan.Lost);
        Assert.Equal(g.Guest["ct_warned:back:check_panic_on_warn"], plan.Registers.Single(r => r.Register == WritableRegister.Rip).Value);
    }

    /// <summary>The watchdog's timer goes on; where memory has run out the setting itself is cleared, or the kernel would come by again and again.</summary>
    [Theory]
    [InlineData("watchdog_timer_fn", "softlockup_panic", false)]
    [InlineData("out_of_memory", "panic_on_oom", true)]
    public void A_function_with_a_result_returns_what_it_returns_without_the_setting(string function, string setting, bool clears)
    {
        using var g = new CrashedGuest(new CrashSpec { Entry = null, Function = function, Preempt = clears ? 0u : 0x1_0000 });
        RepairPlan plan = new SettingStrategy().Evaluate(g.Evidence).Plan!;
        Assert.Contains(setting, plan.Explanation, StringComparison.Ordinal);
        Assert.Equal(1UL, plan.Registers.Single(r => r.Register == WritableRegister.Rax).Value);
        Assert.Equal(clears, plan.Writes.Any(w => w.Address.Value == g.Guest["sysctl_panic_on_oom"] && w.Bytes.Span is [0, 0, 0, 0]));
        Assert.Equal(clears, plan.Lost.Count == 1);
    }

    /// <summary>Compilers inline what asks for the setting into what calls it, down to what a tick calls.</summary>
    [Theory]
    [InlineData("rcu_sched_clock_irq")]
    [InlineData("rcu_pending")]
    public void A_stall_that_was_noticed_further_in_goes_on(string function)
    {
        using var g = new CrashedGuest(new CrashSpec { Entry = null, Function = function, Preempt = 0x1_0000 });
        RepairPlan plan = new SettingStrategy().Evaluate(g.Evidence).Plan!;
        Assert.Contains("panic_on_rcu_stall", plan.Explanation, StringComparison.Ordinal);
        Assert.Empty(plan.Lost);
        Assert.Equal(0UL, plan.Registers.Single(r => r.Register == WritableRegister.Rax).Value);
        Assert.Equal(g.Crash.ReturnAddress, plan.Registers.Single(r => r.Register == WritableRegister.Rip).Value);
    }

    /// <summary>The scheduler forgets how often a task that sleeps where it must not had disabled preemption: it finds its count as it was when it wakes up.</summary>
    [Theory]
    [InlineData("check_panic_on_warn", 3u, 2u)]
    [InlineData(null, 2u, 1u)]
    public void Who_sleeps_where_he_must_not_keeps_his_preempt_count(string? inner, uint preempt, uint restored)
    {
        using var g = new CrashedGuest(new CrashSpec
        {
            Entry = null, Function = "__schedule_bug", Inner = inner is null ? [] : [inner], Chain = ["do_syscall_64", "ksys_write", "vfs_write", "ct_sleeper", "schedule_timeout", "schedule", "__schedule"], Preempt = preempt,
        });
        RepairPlan plan = new SettingStrategy().Evaluate(g.Evidence).Plan!;
        PlannedContinuation woken = Assert.Single(plan.Continuations);
        Assert.Equal((g.Guest.Text["schedule_timeout:back:schedule"], restored, true), (woken.Address, woken.PreemptCount, woken.IsOptional));
        int frame = g.Evidence.Stack.Frames.ToList().FindIndex(f => f.Ip == woken.Address);
        Assert.Equal(g.Evidence.Stack.Frames[frame].Sp, woken.StackPointer);
    }

    [Fact]
    public void Another_panic_is_none_of_its_business()
    {
        using var panic = new CrashedGuest(new CrashSpec { Entry = null, Function = "ct_panic" });
        Assert.Null(new SettingStrategy().Evaluate(panic.Evidence).Plan);
        using var oops = new CrashedGuest(new CrashSpec());
        Assert.Null(new SettingStrategy().Evaluate(oops.Evidence).Plan);
    }
}
