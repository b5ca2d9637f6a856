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

    [Fact]
    public void Another_panic_is_none_of_its_business()
    {
        using var panic = new CrashedGuest(new CrashSpec { Entry = null, Function = "ct_panic" });
        Assert.Null(new SettingStrategy().Evaluate(panic.Evidence).Plan);
        using var oops = new CrashedGuest(new CrashSpec());
        Assert.Null(new SettingStrategy().Evaluate(oops.Evidence).Plan);
    }
}
