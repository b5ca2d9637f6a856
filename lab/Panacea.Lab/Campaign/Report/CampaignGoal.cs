using System.Globalization;

namespace Panacea.Lab.Campaign.Report;

/// <summary>A goal of the project that a campaign can tell of.</summary>
/// <param name="Goal">What is to be reached.</param>
/// <param name="Figure">What was; empty where nothing is known.</param>
/// <param name="IsMet">It is reached; null where nothing is known. Held against the figures as they are, not as they are shown.</param>
public sealed record CampaignGoal(string Goal, string Figure, bool? IsMet)
{
    /// <summary>The longest that a guest may stand still, half of them, in microseconds: with the ladder, and with rehearsals.</summary>
    internal const long LadderUs = 5_000, RehearsalUs = 400_000;

    /// <summary>Percent of crashes and hangs that are to be recovered: of all, and of those in code of drivers.</summary>
    internal const int Percent = 97, DriverPercent = 99;

    /// <summary>In a word or two: <c>met</c>, <c>missed</c>, <c>no data</c>.</summary>
    public string Verdict => IsMet switch { true => "met", false => "missed", null => "no data" };

    /// <summary>All goals.</summary>
    internal static IReadOnlyList<CampaignGoal> All(CampaignStatistics statistics)
    {
        ArmFigures[] guarded = [.. statistics.Whole.Arms.Where(a => ArmFigures.IsGuarded(a.Arm))];
        int working = guarded.Sum(a => a.Recovered + a.LostThoughWorking), runs = guarded.Sum(a => a.Runs);
        bool hasStock = statistics.Arms.Any(arm => !ArmFigures.IsGuarded(arm));
        return
        [
            Share("crashes and hangs are recovered, ladder", Percent, statistics.Find(CampaignArm.Ladder)),
            Share("crashes and hangs in code of drivers are recovered, ladder", DriverPercent, statistics.Drivers.Find(CampaignArm.Ladder)),
            None("no acknowledged write is lost where the guest works again, under Panacea", guarded, a => a.LostThoughWorking, working),
            None("no silent corruption under Panacea that the arms without it do not show", guarded, a => statistics.Corruptions.Count(c => !c.IsShownUnprotected && c.Run.Arm == a.Arm), hasStock ? runs : 0, guarded.Sum(a => a.Checked)),
            Median("the guest stands still, ladder: median at most 5 ms", LadderUs, statistics.Stopped.FirstOrDefault(s => s.Arm == CampaignArm.Ladder)),
            Median("the guest stands still, rehearsal: median at most 400 ms", RehearsalUs, statistics.Stopped.FirstOrDefault(s => s.Arm == CampaignArm.Rehearsal)),
        ];
    }

    private static CampaignGoal Share(string what, int percent, ArmFigures? arm) => arm is { Recovery: { IsKnown: true } recovery }
        ? new CampaignGoal(Name(what, percent), $"{recovery.Counted}, 95 % interval {recovery.Interval}", recovery.IsAtLeast(percent))
        : new CampaignGoal(Name(what, percent), "", null);

    private static string Name(string what, int percent) => string.Create(CultureInfo.InvariantCulture, $"at least {percent} % of {what}");

    private static CampaignGoal None(string goal, ArmFigures[] arms, Func<ArmFigures, int> count, int of, int? disks = null)
    {
        if (of == 0)
            return new CampaignGoal(goal, "", null);
        int all = arms.Sum(count);
        string where = all == 0 ? "" : $": {string.Join(", ", arms.Select(a => string.Create(CultureInfo.InvariantCulture, $"{ArmFigures.Name(a.Arm)} {count(a)}")))}";
        return new CampaignGoal(goal, string.Create(CultureInfo.InvariantCulture, $"{all} in {of} runs{(disks is { } looked ? $" ({looked} of them with the disk checked)" : "")}{where}"), all == 0);
    }

    /// <summary>Shown to the microsecond: rounded, 5.04 ms would look like a goal that is met.</summary>
    private static CampaignGoal Median(string goal, long atMost, StoppedTimes? stopped) => stopped is null
        ? new CampaignGoal(goal, "", null)
        : new CampaignGoal(goal, string.Create(CultureInfo.InvariantCulture, $"{stopped.Figures.Median / 1000:0.000#} ms of {stopped.Figures.Count} incidents"), stopped.Figures.Median <= atMost);
}
