using System.Globalization;
using Panacea.Injection;
using Panacea.Lab.Bench;

namespace Panacea.Lab.Campaign.Report;

/// <summary>What the reports of a campaign say, whatever they are written in.</summary>
internal static class CampaignSections
{
    /// <summary>Most items of a section.</summary>
    public const int MaxItems = 200;

    /// <summary>Most incidents, failures and losses of an item.</summary>
    private const int MaxValues = 5;

    /// <summary>What is shown where there is nothing to show.</summary>
    private const string Nothing = "–";

    private static readonly CampaignArm[] Compared = [CampaignArm.StockPanic, CampaignArm.StockOops, CampaignArm.Ladder];

    /// <summary>What a campaign is. Text as it came.</summary>
    public static string Introduction =>
        "Faults of the kinds that recovery has been tried with since Rio and Nooks (flipped bits in code, stacks, heap and registers, wrong operands, deleted branches and initialisations, wrong loops, overrun copies, failed "
        + "allocations, frees too early or not at all) are put into kernels that run, one to a run. Each fault is tried in every arm, on copies of the same machine at the same moment. Nobody protects the guest in stock-panic (the kernel "
        + "panics on an oops) and stock-oops (it kills the task and goes on). Panacea does in quarantine (the offending process is taken out, and nothing else), ladder (all that it can do) and rehearsal (the same, tried on "
        + "copies first). A fault has manifested where the kernel crashed or the guest hung. That is recovered where the guest then does all that servers do, and nothing is lost that the workload had been promised. A fault is not "
        + "activated where nobody comes by it; such faults are not run. Shares are rounded down; intervals are Wilson's of 95 %, rounded outwards.";

    /// <summary>How much there is of it. Text as it came.</summary>
    public static string Extent(CampaignStatistics s)
    {
        string repeated = s.Repeated == 0 ? "" : string.Create(CultureInfo.InvariantCulture, $" Results that came again for the same fault and arm, and are not counted: {s.Repeated}.");
        string idle = s.Idle == 0 || s.NotForIdle.Count == 0 ? "" : string.Create(CultureInfo.InvariantCulture,
            $" {s.Idle} {(s.Idle == 1 ? "fault" : "faults")} that did nothing in {string.Join(" and ", s.Arms.Except(s.NotForIdle).Select(ArmFigures.Name))} {(s.Idle == 1 ? "was" : "were")} not run in {string.Join(", ", s.NotForIdle.Select(ArmFigures.Name))}, and {(s.Idle == 1 ? "is" : "are")} not counted there.");
        string tried = string.Create(CultureInfo.InvariantCulture, $"{s.Whole.Faults} faults, {s.Whole.NotRun} of them not activated; {s.NoPlace} more had no place to be put.{idle}{repeated}");
        return s.Runs == 0 ? $"There are no runs. {tried}"
            : string.Create(CultureInfo.InvariantCulture, $"{s.Runs} runs of {tried} All of it took {s.Time.TotalHours:0.0} hours{(s.RunsPerHour is { } rate ? $", {rate:0} runs an hour" : "")}.");
    }

    /// <summary>All sections that there is something to say in; the goals come first, and always.</summary>
    public static IReadOnlyList<ReportSection> Of(CampaignStatistics s)
    {
        List<ReportSection> sections =
        [
            new ReportSection("Goals", "Held against the figures as they are, not as they are rounded.")
                { Tables = [new ReportTable(["goal", "figure", "verdict"], 3, [.. s.Goals.Select(g => Row(g.Goal, g.Figure.Length == 0 ? Nothing : g.Figure, g.Verdict))]) { HasVerdict = true }] },
        ];
        if (s.Runs == 0)
            return sections;
        sections.Add(Arms(s));
        if (Paired(s) is { Tables.Count: > 0 } paired)
            sections.Add(paired);
        sections.AddRange([Types(s), Drivers(s), Groups("By workload", "What the guest was doing.", "workload", s.ByWorkload, s.Arms), Groups("By kernel", "", "kernel", s.ByKernel, s.Arms)]);
        if (s.BySeed.Count > 1)
            sections.Add(Groups("By campaign", "Campaigns with seeds of their own, one after the other.", "seed", s.BySeed, s.Arms));
        if (s.Rungs.Count > 0)
            sections.Add(Rungs(s));
        if (s.Stopped.Count > 0)
            sections.Add(Stopped(s));
        if (s.Arms.Any(ArmFigures.IsGuarded))
            sections.AddRange([.. s.Causes.Count > 0 ? (ReportSection[])[Causes(s)] : [], Failures(s), Corruptions(s)]);
        return sections;
    }

    private static ReportSection Arms(CampaignStatistics s) => new(
        "By arm", "Each fault stands under one outcome. The last two columns are runs that lost what the workload had been promised, and those among them that do everything again after a crash or hang: they do not count as recovered. "
        + "A failure is no crash and no hang, but something does not work any more; the second table counts it as one that was not recovered. A bystander is a process that is not the workload's, and that was taken out or killed: the guest lives without it.")
    {
        Plot = ReportPlot.Recovery,
        Tables =
        [
            new ReportTable(
                ["arm", "faults", "not activated", "no effect", "crash", "hang", "failure", "silent corruption", "manifested", "recovered", "share", "95 % interval", "lost writes", "of these, works again"], 1,
                [.. s.Whole.Arms.Select(a => Row(
                    ArmFigures.Name(a.Arm), Number(a.Faults), Number(a.NotActivated), Number(a.NoEffect), Number(a.Crash), Number(a.Hang), Number(a.Failure), Number(a.SilentCorruption), Number(a.Manifested), Number(a.Recovered),
                    a.Recovery.Percent, a.Recovery.Interval, Number(a.Lost), Number(a.LostThoughWorking)))]),
            new ReportTable(
                ["arm", "recovered, of crashes, hangs and failures", "share", "95 % interval", "of the recovered: disk checked", "of the recovered: a bystander is gone"], 1,
                [.. s.Whole.Arms.Select(a => Row(
                    ArmFigures.Name(a.Arm), Part(a.RecoveryOfAll), a.RecoveryOfAll.Percent, a.RecoveryOfAll.Interval, Number(a.RecoveredAndChecked), Number(a.RecoveredWithoutBystander)))]),
        ],
    };

    private static string Part(Proportion p) => p.Whole == 0 ? Nothing : string.Create(CultureInfo.InvariantCulture, $"{p.Part} of {p.Whole}");

    private static ReportSection Paired(CampaignStatistics s)
    {
        List<ReportTable> tables = [];
        if (s.Survival.Count > 0)
        {
            tables.Add(new ReportTable(
                ["arm", "of the faults that bring stock-panic down", "the guest lives", "share", "95 % interval"], 1,
                [.. s.Survival.Select(v => Row(ArmFigures.Name(v.Arm), Number(v.Lives.Whole), Number(v.Lives.Part), v.Lives.Percent, v.Lives.Interval))]));
        }

        if (s.Comparisons.Count > 0)
        {
            tables.Add(new ReportTable(
                ["one arm", "the other", "faults", "live in both", "only in the one", "only in the other", "in none", "p"], 2,
                [.. s.Comparisons.Select(c => Row(
                    ArmFigures.Name(c.Arm), ArmFigures.Name(c.Versus), Number(c.Faults), Number(c.Both), Number(c.OnlyArm), Number(c.OnlyVersus), Number(c.Neither), Probability(c.P)))]));
        }

        return new ReportSection(
            "The same faults in each arm", "Of faults that bring the guest down where nobody protects it (stock-panic; all, where that arm was not run): whether it lives at the end, whatever happened to it on the way. p is of McNemar's exact test, two-sided: how probable so large a difference would be by chance alone.")
        {
            Tables = tables,
        };
    }

    private static ReportSection Types(CampaignStatistics s)
    {
        CampaignArm[] arms = [.. Compared.Where(s.Arms.Contains)];
        if (arms.Length == 0)
            arms = [.. s.Arms];
        return new ReportSection("By kind of fault", "In each arm: no effect / crash / hang / failure / silent corruption, and how many of the crashes and hangs are recovered.")
        {
            Plot = ReportPlot.Outcomes,
            Tables =
            [
                new ReportTable(
                    ["fault", "faults", "not activated", .. arms.SelectMany(arm => (string[])[ArmFigures.Name(arm), "recovered"])], 1,
                    [.. s.ByType.Select(g => Row([g.Name, Number(g.Faults), Number(g.NotRun), .. arms.SelectMany(arm => Outcomes(g.Find(arm)))]))]),
            ],
        };
    }

    private static ReportSection Drivers(CampaignStatistics s) => new("Drivers", "Crashes and hangs of faults in code of the modules that drive devices, beside all others.")
    {
        Tables =
        [
            new ReportTable(
                ["fault", "arm", "faults", "manifested", "recovered", "share", "95 % interval"], 2,
                [.. ((CampaignGroup[])[s.Drivers, s.Elsewhere]).SelectMany(g => g.Arms.Select(a => Row(
                    g.Name, ArmFigures.Name(a.Arm), Number(a.Faults), Number(a.Manifested), Number(a.Recovered), a.Recovery.Percent, a.Recovery.Interval)))]),
        ],
    };

    private static ReportSection Groups(string title, string note, string what, IReadOnlyList<CampaignGroup> groups, IReadOnlyList<CampaignArm> arms) =>
        new(title, $"{note} In each arm: recovered, of the crashes and hangs.".Trim())
        {
            Tables =
            [
                new ReportTable(
                    [what, "faults", "not activated", .. arms.Select(ArmFigures.Name)], 1,
                    [.. groups.Select(g => Row([g.Name, Number(g.Faults), Number(g.NotRun), .. arms.Select(arm => g.Find(arm)?.Recovery.Counted ?? Nothing)]))]),
            ],
        };

    private static ReportSection Rungs(CampaignStatistics s)
    {
        CampaignArm[] arms = [.. s.Arms.Where(arm => s.Rungs.Any(r => r.Incidents.ContainsKey(arm)))];
        return new ReportSection("What repaired", "Rungs of the ladder, by incidents that the guard closed as recovered.")
        {
            Tables =
            [
                new ReportTable(["rung", .. arms.Select(ArmFigures.Name)], 1, [.. s.Rungs.Select(r => Row([r.Rung, .. arms.Select(arm => Number(r.Incidents.GetValueOrDefault(arm)))]))]),
            ],
        };
    }

    private static ReportSection Stopped(CampaignStatistics s) => new("How long guests stand still", "Of incidents that the guard closed as recovered.")
    {
        Plot = ReportPlot.Stopped,
        Tables =
        [
            new ReportTable(
                ["arm", "incidents", "median", "p99", "longest"], 1,
                [.. s.Stopped.Select(t => Row(
                    ArmFigures.Name(t.Arm), Number(t.Figures.Count), BenchRows.Time(t.Figures.Median), BenchRows.Time(t.Figures.P99), BenchRows.Time(t.Figures.Max)))]),
        ],
    };

    private static ReportSection Failures(CampaignStatistics s) => new(
        "Not recovered", s.Failures.Count == 0 ? "Every guest under Panacea that crashed or hung lives."
            : string.Create(CultureInfo.InvariantCulture, $"Runs under Panacea that crashed or hung, and the guest does not live: {s.Failures.Count}."))
    {
        Items = [.. s.Failures.Take(MaxItems).Select(r => Item(s, r, Word(r.Outcome)))],
        Omitted = Math.Max(0, s.Failures.Count - MaxItems),
    };

    private static ReportSection Corruptions(CampaignStatistics s) => new(
        "Silent corruptions", s.Corruptions.Count == 0 ? "None under Panacea."
            : string.Create(CultureInfo.InvariantCulture, $"Runs under Panacea in which nothing crashed and something was lost: {s.Corruptions.Count}. Of these, the same fault does so without Panacea, too: {s.Corruptions.Count(c => c.IsShownUnprotected)}."))
    {
        Items = [.. s.Corruptions.Take(MaxItems).Select(c => Item(s, c.Run, c.IsShownUnprotected ? "without Panacea, too" : "not without Panacea"))],
        Omitted = Math.Max(0, s.Corruptions.Count - MaxItems),
    };

    private static ReportSection Causes(CampaignStatistics s)
    {
        CampaignArm[] arms = [.. s.Arms.Where(ArmFigures.IsGuarded)];
        return new ReportSection("What is behind the failures", "Runs under Panacea that crashed or hung, and the guest does not live, by why. From their incidents and consoles, by who has looked at them.")
        {
            Tables = [new ReportTable(["why", .. arms.Select(ArmFigures.Name)], 1, [.. s.Causes.Select(c => Row([c.Name, .. arms.Select(arm => Number(c.Runs.GetValueOrDefault(arm)))]))])],
        };
    }

    private static ReportItem Item(CampaignStatistics s, CampaignRecord run, string what)
    {
        List<ReportFact> facts = [];
        if (run.Fault is { } fault)
            facts.Add(new ReportFact("fault", fault.Explanation));
        Values("incidents", [.. run.Incidents.Select(i => $"{i.Title ?? "no title"} ({i.Repair ?? "no repair"}, {i.Outcome ?? "no outcome"})")]);
        if (s.CauseOf(run) is { } cause)
            facts.Add(new ReportFact("why", $"{cause.Class}: {cause.Cause}"));
        Values("failed", run.Failures);
        Values("lost", run.Lost);
        if (run.Evidence is not null)
            facts.Add(new ReportFact("evidence", run.Evidence, IsCode: true));
        string kind = run.Fault is null ? "" : $", {FaultKinds.Of(run.Fault.Type).Name}";
        return new ReportItem(string.Create(CultureInfo.InvariantCulture, $"{run.Kernel}, {run.Workload}, {(s.BySeed.Count > 1 ? $"seed {run.CampaignSeed}, " : "")}trial {run.Trial}, {(run.Arm is { } arm ? ArmFigures.Name(arm) : "")}{kind}: {what}"), facts);

        void Values(string name, IReadOnlyList<string> all)
        {
            if (all.Count > 0)
                facts.Add(new ReportFact(name, string.Join("; ", all.Take(MaxValues)) + (all.Count > MaxValues ? string.Create(CultureInfo.InvariantCulture, $"; {all.Count - MaxValues} more") : "")));
        }
    }

    private static string[] Outcomes(ArmFigures? arm) => arm is null ? [Nothing, Nothing]
        : [string.Create(CultureInfo.InvariantCulture, $"{arm.NoEffect} / {arm.Crash} / {arm.Hang} / {arm.Failure} / {arm.SilentCorruption}"), arm.Recovery.Counted];

    private static string Word(TrialOutcome outcome) => outcome == TrialOutcome.Hang ? "hang" : "crash";

    private static string Probability(double p) => p < 0.0001 ? "< 0.0001" : p.ToString("0.0000", CultureInfo.InvariantCulture);

    private static string Number(int number) => number.ToString(CultureInfo.InvariantCulture);

    private static IReadOnlyList<string> Row(params IReadOnlyList<string> cells) => cells;
}
