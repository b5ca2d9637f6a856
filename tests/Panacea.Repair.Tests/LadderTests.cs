using Panacea.Diagnosis;
using Panacea.Kernel.Code;
using Panacea.Repair.Strategies;
using Panacea.TestKit.Linux;

namespace Panacea.Repair.Tests;

public sealed class LadderTests
{
    private static readonly RungBar Bar = new(RungVerdict.NotAllowed, "not allowed: by somebody");

    [Fact]
    public void The_rung_that_loses_least_comes_first() =>
        Assert.Equal([RepairKind.GoOn, RepairKind.Heal, RepairKind.Retry, RepairKind.ErrorReturn, RepairKind.Unwind, RepairKind.Kill, RepairKind.Kill, RepairKind.Freeze], Ladder.All.Select(s => s.Kind));

    [Fact]
    public void The_first_rung_with_a_plan_is_taken_and_no_other_is_asked()
    {
        using var g = new CrashedGuest(new CrashSpec());
        RepairPlan? plan = Ladder.Choose(g.Evidence, (_, _) => null, out IReadOnlyList<LadderVerdict> verdicts);
        Assert.Equal(RepairKind.ErrorReturn, plan?.Kind);
        Assert.Same(plan, verdicts[^1].Verdict.Plan);
        Assert.Equal([RepairKind.GoOn, RepairKind.Heal, RepairKind.Retry, RepairKind.ErrorReturn], verdicts.Select(v => v.Kind));
    }

    [Fact]
    public void A_rung_that_declines_says_why_and_the_next_is_asked()
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_void" });
        RepairPlan? plan = Ladder.Choose(g.Evidence, (kind, _) => kind == RepairKind.Unwind ? Bar : null, out IReadOnlyList<LadderVerdict> verdicts);
        Assert.Equal(RepairKind.Kill, plan?.Kind);
        Assert.Equal([RepairKind.GoOn, RepairKind.Heal, RepairKind.Retry, RepairKind.ErrorReturn, RepairKind.Unwind, RepairKind.Kill], verdicts.Select(v => v.Kind));
        Assert.Contains("void", verdicts[3].Verdict.WhyNot);
    }

    [Fact]
    public void A_rung_that_is_not_allowed_is_not_asked_and_says_so()
    {
        using var g = new CrashedGuest(new CrashSpec());
        var asked = new List<(RepairKind, CrashEvidence)>();
        RepairPlan? plan = Ladder.Choose(
            g.Evidence,
            (kind, evidence) =>
            {
                asked.Add((kind, evidence));
                return kind == RepairKind.Kill ? null : Bar;
            },
            out IReadOnlyList<LadderVerdict> verdicts);
        Assert.Equal(RepairKind.Kill, plan?.Kind);
        Assert.Equal([(RepairKind.GoOn, g.Evidence), (RepairKind.Heal, g.Evidence), (RepairKind.Retry, g.Evidence), (RepairKind.ErrorReturn, g.Evidence), (RepairKind.Unwind, g.Evidence), (RepairKind.Kill, g.Evidence)], asked);
        Assert.Equal([Bar, Bar, Bar, Bar, Bar, null], verdicts.Select(v => v.Bar));
        Assert.Equal((null, Bar.Why), (verdicts[0].Verdict.Plan, verdicts[0].Verdict.WhyNot));
        Assert.Null(Ladder.Choose(g.Evidence, (_, _) => Bar, out verdicts));

        // Killing has two strategies, and is one rung.
        Assert.Equal([RepairKind.GoOn, RepairKind.Heal, RepairKind.Retry, RepairKind.ErrorReturn, RepairKind.Unwind, RepairKind.Kill, RepairKind.Freeze], verdicts.Select(v => v.Kind));
    }

    /// <summary>All rungs together look at the same few functions: each is decoded once with what is known of control flow, once without, and walked once.</summary>
    [Theory]
    [InlineData("ct_int")]
    [InlineData("ct_mutexed")]
    [InlineData("ct_locked")]
    public void Rungs_share_what_they_find_out_of_the_code(string function)
    {
        using var g = new CrashedGuest(new CrashSpec { Function = function });
        var code = Assert.IsType<AnalysedCode>(g.Evidence.Analysis.Code);
        AskAll();
        Assert.InRange(code.Decoded, 1, 2 * g.Evidence.Stack.Frames.Count);
        Assert.InRange(code.Walked, 1, g.Evidence.Stack.Frames.Count);
        (int decoded, int walked) = (code.Decoded, code.Walked);
        AskAll();
        Assert.Equal((decoded, walked), (code.Decoded, code.Walked));

        void AskAll()
        {
            foreach (IRepairStrategy strategy in Ladder.All)
                strategy.Evaluate(g.Evidence);
        }
    }

    [Fact]
    public void Where_no_rung_applies_all_of_them_say_why()
    {
        using var g = new CrashedGuest(new CrashSpec { Preempt = 0x10_0000 });
        Assert.Null(Ladder.Choose(g.Evidence, (_, _) => null, out IReadOnlyList<LadderVerdict> verdicts));
        Assert.Equal(Ladder.All.Count, verdicts.Count);
        Assert.All(verdicts, v => Assert.False(string.IsNullOrEmpty(v.Verdict.WhyNot)));
    }

    [Theory]
    [InlineData("asm_exc_page_fault", true)]
    [InlineData("asm_exc_general_protection", true)]
    [InlineData("asm_exc_invalid_op", false)]
    [InlineData("asm_exc_divide_error", false)]
    public void Only_handlers_that_signal_nobody_are_silent(string entry, bool silent)
    {
        using var g = new CrashedGuest(new CrashSpec { Entry = entry });
        Assert.Equal((entry, silent), (g.Evidence.TrapEntry, TrapReturn.IsSilent(g.Evidence)));
        Assert.False(TrapReturn.IsSilent(g.Evidence with { TrapEntry = null }));
    }

    [Fact]
    public void Flags_of_the_abandoned_code_are_cleared_and_no_others() =>
        Assert.Equal(0xffff_ffff_fffb_faffUL, TrapReturn.CleanFlags(ulong.MaxValue));

    /// <summary>From plan to plan: places further out within a rung, then the next rung, and no plan twice.</summary>
    [Fact]
    public void The_rungs_are_climbed_one_after_the_other_and_each_to_its_end()
    {
        using var g = new CrashedGuest(new CrashSpec());
        var climb = new LadderClimb(g.Evidence, (_, _) => null);
        var plans = new List<RepairPlan>();
        while (climb.Next() is { } plan)
        {
            plans.Add(plan);
            Assert.Same(plan, climb.Said[^1].Verdict.Plan);
            Assert.Equal(plan.Kind, climb.Said[^1].Kind);
        }

        Assert.Null(climb.Next());
        Assert.Equal(Ladder.Choose(g.Evidence, (_, _) => null, out _)?.Explanation, plans[0].Explanation);
        Assert.Equal(plans.Select(p => p.Kind).Order(), plans.Select(p => p.Kind));
        Assert.Equal(plans.Count, plans.Select(p => p.Explanation).Distinct().Count());
        Assert.Equal(plans.Count, climb.Said.Count(v => v.Verdict.Plan is not null));
        Assert.Equal([RepairKind.ErrorReturn, RepairKind.Unwind, RepairKind.Kill, RepairKind.Freeze], plans.Select(p => p.Kind).Distinct());
    }

    /// <summary>What has failed before is used all the same where nothing else is left; what may not be used is not.</summary>
    [Theory]
    [InlineData(true, false)]
    [InlineData(true, true)]
    [InlineData(false, false)]
    public void A_rung_that_is_barred_may_be_used_rather_than_none(bool isLifted, bool isAnother)
    {
        using var g = new CrashedGuest(new CrashSpec());
        var climb = new LadderClimb(g.Evidence, (kind, _) => kind switch
        {
            RepairKind.ErrorReturn => new RungBar(RungVerdict.FailedBefore, "failed before") { IsLiftedAtLast = isLifted },
            RepairKind.Kill when isAnother => null,
            _ => new RungBar(RungVerdict.NotAllowed, "not allowed"),
        });
        RepairPlan? plan = climb.Next();
        Assert.Equal(isAnother ? RepairKind.Kill : isLifted ? RepairKind.ErrorReturn : null, plan?.Kind);
        Assert.Contains(climb.Said, v => v is { Kind: RepairKind.ErrorReturn, Bar: not null });
        if (plan is null)
            return;
        Assert.Same(plan, climb.Said[^1].Verdict.Plan);
        while (climb.Next() is { } more)
            Assert.Equal(plan.Kind, more.Kind);
    }

    [Fact]
    public void A_plan_that_was_refined_stands_for_its_rung()
    {
        using var g = new CrashedGuest(new CrashSpec());
        var climb = new LadderClimb(g.Evidence, (_, _) => null);
        RepairPlan first = climb.Next()!, refined = first with { Explanation = "more" };
        climb.Refine(refined);
        Assert.Same(refined, climb.Said[^1].Verdict.Plan);
        Assert.NotEqual(first.Kind, climb.Next()!.Kind);
        Assert.Contains(climb.Said, v => ReferenceEquals(v.Verdict.Plan, refined));
    }
}
