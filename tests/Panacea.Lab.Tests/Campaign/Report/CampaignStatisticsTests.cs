using Panacea.Lab.Campaign;
using Panacea.Lab.Campaign.Report;

namespace Panacea.Lab.Tests.Campaign.Report;

/// <summary>A campaign is counted as its records have it.</summary>
public sealed class CampaignStatisticsTests
{
    private static readonly CampaignStatistics Small = CampaignStatistics.Of(CampaignSamples.Small);

    [Fact]
    public void Each_fault_stands_under_one_outcome_in_each_arm()
    {
        ArmFigures ladder = Small.Find(CampaignArm.Ladder)!;
        Assert.Equal((4, 5), (ladder.Runs, ladder.Faults));
        Assert.Equal((1, 1, 1, 1, 1), (ladder.NotActivated, ladder.NoEffect, ladder.Crash, ladder.Hang, ladder.SilentCorruption));
        Assert.Equal((2, 1, 1, 0), (ladder.Manifested, ladder.Recovered, ladder.RecoveredCrash, ladder.RecoveredHang));
        Assert.Equal(new Proportion(1, 2), ladder.Recovery);
        Assert.All(Small.Whole.Arms, arm => Assert.Equal(5, arm.Faults));
        Assert.Equal(Enum.GetValues<CampaignArm>(), Small.Arms);
    }

    [Fact]
    public void What_was_not_run_is_counted_once()
    {
        Assert.Equal((5, 1, 1), (Small.Whole.Faults, Small.Whole.NotRun, Small.NoPlace));
        Assert.Equal(20, Small.Runs);
    }

    [Fact]
    public void Arms_that_were_left_out_for_what_did_nothing_are_named()
    {
        CampaignArm[] all = [CampaignArm.StockPanic, CampaignArm.Ladder, CampaignArm.Rehearsal];
        CampaignStatistics s = CampaignStatistics.Of([.. all.Select(a => CampaignSamples.Run(0, a, TrialOutcome.Crash)), .. all[..2].Select(a => CampaignSamples.Run(1, a, TrialOutcome.NoEffect))]);
        Assert.Equal((1, CampaignArm.Rehearsal), (s.Idle, Assert.Single(s.NotForIdle)));
        Assert.Contains("1 fault that did nothing in stock-panic and ladder was not run in rehearsal, and is not counted there.", CampaignSections.Extent(s), StringComparison.Ordinal);
        Assert.Equal((0, 0), (Small.Idle, Small.NotForIdle.Count));
    }

    [Fact]
    public void A_run_in_which_nobody_came_by_is_not_activated()
    {
        ArmFigures arm = CampaignStatistics.Of([CampaignSamples.Run(0, CampaignArm.Ladder, TrialOutcome.NotActivated)]).Find(CampaignArm.Ladder)!;
        Assert.Equal((1, 1, 0), (arm.Runs, arm.NotActivated, arm.Manifested));
    }

    [Fact]
    public void What_is_tried_again_gets_no_better()
    {
        Assert.Equal(1, Small.Repeated);
        Assert.Contains(Small.Failures, r => r is { Trial: 1, Arm: CampaignArm.Ladder });
    }

    [Fact]
    public void Faults_are_grouped_by_what_they_have_in_common()
    {
        Assert.Equal([("pointer", 1), ("branch", 4)], Small.ByType.Select(g => (g.Name, g.Faults)));
        Assert.Equal([("redis", 4), ("bank", 1)], Small.ByWorkload.Select(g => (g.Name, g.Faults)));
        Assert.Equal([("6.1.0", 4), ("6.12.0", 1)], Small.ByKernel.Select(g => (g.Name, g.Faults)));
        Assert.Equal(new Proportion(1, 1), Small.Drivers.Find(CampaignArm.Ladder)!.Recovery);
        Assert.Equal(new Proportion(0, 1), Small.Elsewhere.Find(CampaignArm.Ladder)!.Recovery);
        Assert.Equal((1, 0), (Small.ByType[1].NotRun, Small.ByType[0].NotRun));
    }

    [Fact]
    public void Arms_are_held_against_each_other_over_the_same_faults()
    {
        Assert.Equal(2, Small.Fatal);
        Assert.Equal(
            [
                new PairedSurvival(CampaignArm.StockOops, new Proportion(1, 2)), new PairedSurvival(CampaignArm.Quarantine, new Proportion(1, 2)), new PairedSurvival(CampaignArm.Ladder, new Proportion(1, 2)),
                new PairedSurvival(CampaignArm.Rehearsal, new Proportion(2, 2)),
            ],
            Small.Survival);
        Assert.Contains(new PairedComparison(CampaignArm.Ladder, CampaignArm.Quarantine, Both: 0, OnlyArm: 1, OnlyVersus: 1, Neither: 0), Small.Comparisons);
        Assert.Contains(new PairedComparison(CampaignArm.Rehearsal, CampaignArm.Ladder, Both: 1, OnlyArm: 1, OnlyVersus: 0, Neither: 0), Small.Comparisons);
    }

    /// <summary>Who chooses faults by what one of two arms did has chosen what is compared; where a third one says nothing, all are.</summary>
    [Fact]
    public void What_brings_nobody_down_but_the_one_is_compared_only_where_nothing_else_can_be()
    {
        CampaignRecord[] both = [CampaignSamples.Run(0, CampaignArm.Ladder, TrialOutcome.Crash), CampaignSamples.Run(0, CampaignArm.Rehearsal, TrialOutcome.NoEffect)];
        Assert.Equal(1, Assert.Single(CampaignStatistics.Of(both).Comparisons).Faults);
        Assert.Equal(0, Assert.Single(CampaignStatistics.Of([.. both, CampaignSamples.Run(0, CampaignArm.StockPanic, TrialOutcome.NoEffect)]).Comparisons).Faults);
    }

    [Fact]
    public void Failures_bystanders_and_disks_are_counted_beside_what_is_recovered()
    {
        ArmFigures arm = CampaignStatistics.Of(
        [
            CampaignSamples.Run(0, CampaignArm.Ladder, TrialOutcome.Crash, lives: true) with { WasShutDown = true, Bystanders = ["counter: process 99 counts no more"] },
            CampaignSamples.Run(1, CampaignArm.Ladder, TrialOutcome.Hang, lives: true) with { Incidents = [CampaignSamples.Incident("kill", 5) with { Lost = ["process 99 (counter)"] }] },
            CampaignSamples.Run(2, CampaignArm.Ladder, TrialOutcome.Crash, lives: true) with { Incidents = [CampaignSamples.Incident("kill", 5) with { Lost = ["process 98 (sh)"] }] },
            CampaignSamples.Run(3, CampaignArm.Ladder, TrialOutcome.Failure),
            CampaignSamples.Run(4, CampaignArm.Ladder, TrialOutcome.NoEffect) with { WasShutDown = true },
        ]).Find(CampaignArm.Ladder)!;
        Assert.Equal((new Proportion(3, 3), new Proportion(3, 4)), (arm.Recovery, arm.RecoveryOfAll));
        Assert.Equal((1, 2, 2), (arm.RecoveredAndChecked, arm.Checked, arm.RecoveredWithoutBystander));
    }

    [Fact]
    public void A_fault_that_an_arm_has_not_run_is_compared_with_nothing()
    {
        var some = CampaignStatistics.Of(
        [
            CampaignSamples.Run(0, CampaignArm.StockPanic, TrialOutcome.Crash), CampaignSamples.Run(1, CampaignArm.StockPanic, TrialOutcome.Crash), CampaignSamples.Run(1, CampaignArm.Ladder, TrialOutcome.Crash, lives: true),
            CampaignSamples.Run(1, CampaignArm.Ladder, TrialOutcome.Crash) with { Workload = "bank" },
        ]);
        Assert.Equal([new PairedSurvival(CampaignArm.Ladder, new Proportion(1, 1))], some.Survival);
        Assert.Empty(some.Comparisons);
    }

    [Fact]
    public void Lost_writes_are_told_apart_from_what_does_not_work()
    {
        Assert.Equal((1, 1), (Small.Find(CampaignArm.Rehearsal)!.Lost, Small.Find(CampaignArm.Rehearsal)!.LostThoughWorking));
        Assert.Equal((1, 0), (Small.Find(CampaignArm.Ladder)!.Lost, Small.Find(CampaignArm.Ladder)!.LostThoughWorking));
        ArmFigures dead = CampaignStatistics.Of([CampaignSamples.Run(0, CampaignArm.Ladder, TrialOutcome.Crash) with { Lost = ["x"], Failures = ["the machine has ended"] }]).Find(CampaignArm.Ladder)!;
        Assert.Equal((1, 0), (dead.Lost, dead.LostThoughWorking));
    }

    [Fact]
    public void A_silent_corruption_says_whether_it_is_Panaceas() => Assert.Equal(
        [(3, CampaignArm.Ladder, false), (2, CampaignArm.Quarantine, true)], Small.Corruptions.Select(c => (c.Run.Trial, c.Run.Arm!.Value, c.IsShownUnprotected)));

    [Fact]
    public void Time_and_rungs_are_of_incidents_that_were_recovered()
    {
        Assert.Equal([(CampaignArm.Ladder, 3400.0, 1), (CampaignArm.Rehearsal, 250_000.0, 2)], Small.Stopped.Select(t => (t.Arm, t.Figures.Median, t.Figures.Count)));
        Assert.Equal(["unwind", "error-return", "kill"], Small.Rungs.Select(r => r.Rung));
        Assert.Equal(2, Small.Rungs[0].Incidents[CampaignArm.Rehearsal]);
        Assert.Equal(1, Assert.Single(Small.Rungs[2].Incidents).Value);
    }

    [Fact]
    public void Failures_are_of_arms_with_Panacea() =>
        Assert.Equal([(1, CampaignArm.Ladder), (3, CampaignArm.Rehearsal), (0, CampaignArm.Quarantine)], Small.Failures.Select(r => (r.Trial, r.Arm!.Value)));

    [Fact]
    public void Runs_an_hour_are_of_all_the_time()
    {
        Assert.Equal(TimeSpan.FromSeconds(22 * 6), Small.Time);
        Assert.Equal(20 / (22 * 6 / 3600.0), Small.RunsPerHour!.Value, 6);
    }

    [Fact]
    public void Of_nothing_there_are_no_figures()
    {
        var none = CampaignStatistics.Of([]);
        Assert.Equal((0, 0), (none.Runs, none.Whole.Faults));
        Assert.Null(none.RunsPerHour);
        Assert.All(none.Goals, goal => Assert.Equal("no data", goal.Verdict));
    }

    [Theory]
    [InlineData(2424, 2500, false)]
    [InlineData(2425, 2500, true)]
    public void A_goal_is_met_exactly_or_missed(int recovered, int all, bool isMet)
    {
        CampaignGoal goal = CampaignStatistics.Of([.. Enumerable.Range(0, all).Select(i => CampaignSamples.Run(i, CampaignArm.Ladder, TrialOutcome.Crash, lives: i < recovered))]).Goals[0];
        Assert.Equal(isMet, goal.IsMet);
        Assert.StartsWith(isMet ? "2425 of 2500 (97.0 %)" : "2424 of 2500 (96.9 %)", goal.Figure, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(5000, "5.000 ms of 1 incidents", "met")]
    [InlineData(5001, "5.001 ms of 1 incidents", "missed")]
    public void A_guest_that_stands_a_microsecond_too_long_misses_the_goal(long us, string figure, string verdict)
    {
        CampaignGoal goal = CampaignStatistics.Of([CampaignSamples.Run(0, CampaignArm.Ladder, TrialOutcome.Crash, lives: true) with { Incidents = [CampaignSamples.Incident("unwind", us)] }]).Goals[4];
        Assert.Equal((figure, verdict), (goal.Figure, goal.Verdict));
    }

    [Fact]
    public void The_goals_are_held_against_the_figures()
    {
        IReadOnlyList<CampaignGoal> goals = Small.Goals;
        Assert.Equal(["missed", "met", "missed", "missed", "met", "met"], goals.Select(g => g.Verdict));
        Assert.Equal("1 in 4 runs: quarantine 0, ladder 0, rehearsal 1", goals[2].Figure);
        Assert.Equal("1 in 12 runs (0 of them with the disk checked): quarantine 0, ladder 1, rehearsal 0", goals[3].Figure);
    }

    [Fact]
    public void Without_an_unprotected_arm_nothing_is_said_of_its_corruptions()
    {
        CampaignGoal goal = CampaignStatistics.Of([CampaignSamples.Run(0, CampaignArm.Ladder, TrialOutcome.NoEffect)]).Goals[3];
        Assert.Equal("no data", goal.Verdict);
    }
}
