using System.Globalization;
using OxyPlot;
using OxyPlot.Annotations;
using OxyPlot.Axes;
using OxyPlot.Legends;
using OxyPlot.Series;
using Panacea.Lab.Bench;

namespace Panacea.Lab.Campaign.Report;

/// <summary>A plot of a report.</summary>
/// <param name="Title">What it shows.</param>
/// <param name="Note">How it is to be read.</param>
/// <param name="Svg">An SVG element, complete.</param>
internal sealed record CampaignPlot(string Title, string Note, string Svg);

/// <summary>The plots of a campaign. Points are added one by one: what the library can read out of objects by the names of their members does not exist in the native binary.</summary>
internal static class CampaignPlots
{
    private const int Width = 760, RowHeight = 27;

    /// <summary>Most steps of a line: a campaign of a week has a hundred thousand incidents.</summary>
    private const int MaxSteps = 400;

    /// <summary>The plots of a section, as SVG; empty where there is nothing to be drawn.</summary>
    public static IReadOnlyList<CampaignPlot> Of(ReportPlot plot, CampaignStatistics statistics) => plot switch
    {
        ReportPlot.Recovery => Recovery(statistics),
        ReportPlot.Outcomes => [.. ((CampaignArm[])[CampaignArm.StockPanic, CampaignArm.Ladder]).SelectMany(arm => Outcomes(statistics, arm))],
        ReportPlot.Stopped => Stopped(statistics),
        _ => [],
    };

    /// <summary>Recovered, of what crashed or hung: a bar for each arm, with its interval.</summary>
    private static IReadOnlyList<CampaignPlot> Recovery(CampaignStatistics statistics)
    {
        ArmFigures[] arms = [.. statistics.Whole.Arms.Where(a => a.Recovery.IsKnown)];
        if (arms.Length == 0)
            return [];
        PlotModel model = Model();
        model.Axes.Add(Categories(arms.Select(a => string.Create(CultureInfo.InvariantCulture, $"{ArmFigures.Name(a.Arm)}: {a.Recovered} of {a.Manifested}"))));
        model.Axes.Add(Percent());
        var bars = new BarSeries { StrokeColor = OxyColors.Undefined };
        var intervals = new LineSeries { Color = PlotSvg.Color(PlotInk.Ink), StrokeThickness = 1.5, LineStyle = LineStyle.Solid, MinimumSegmentLength = 0 };
        for (int i = 0; i < arms.Length; i++)
        {
            double lower = 100 * arms[i].Recovery.Lower, upper = 100 * arms[i].Recovery.Upper;
            bars.Items.Add(new BarItem(100 * arms[i].Recovery.Rate, i) { Color = PlotSvg.Color(Of(arms[i].Arm)) });
            foreach ((double x, double y) in ((double, double)[])[(lower, i - 0.15), (lower, i + 0.15), (lower, i), (upper, i), (upper, i - 0.15), (upper, i + 0.15)])
                intervals.Points.Add(new DataPoint(x, y));
            intervals.Points.Add(DataPoint.Undefined);
        }

        model.Series.Add(bars);
        model.Series.Add(intervals);
        model.Annotations.Add(Goal(CampaignGoal.Percent, PlotInk.Ink));
        return [Draw(
            model, "plot-recovery", "Crashes and hangs that are recovered, by arm", string.Create(CultureInfo.InvariantCulture, $"With 95 % intervals. The broken line is the goal, {CampaignGoal.Percent} %."),
            $"{string.Join("; ", arms.Select(a => $"{ArmFigures.Name(a.Arm)}: {a.Recovery.Counted}, {a.Recovery.Interval}"))}.", 60 + RowHeight * arms.Length)];
    }

    /// <summary>What the faults of each kind do in an arm, of those that were activated.</summary>
    private static IReadOnlyList<CampaignPlot> Outcomes(CampaignStatistics statistics, CampaignArm arm)
    {
        (string Type, ArmFigures Arm)[] types = [.. statistics.ByType.Select(g => (g.Name, Arm: g.Find(arm)!)).Where(t => t.Arm is not null && Activated(t.Arm) > 0)];
        if (types.Length == 0)
            return [];
        PlotModel model = Model();
        model.Legends.Add(Legend());
        model.Axes.Add(Categories(types.Select(t => string.Create(CultureInfo.InvariantCulture, $"{t.Type} ({Activated(t.Arm)})"))));
        model.Axes.Add(Percent());
        foreach ((PlotInk ink, string name, Func<ArmFigures, int> count) in Parts)
        {
            var bars = new BarSeries { Title = name, IsStacked = true, FillColor = PlotSvg.Color(ink), StrokeColor = PlotSvg.Color(PlotInk.Paper), StrokeThickness = 1 };
            for (int i = 0; i < types.Length; i++)
            {
                if (count(types[i].Arm) is > 0 and int number)
                    bars.Items.Add(new BarItem(100.0 * number / Activated(types[i].Arm), i));
            }

            if (bars.Items.Count > 0)
                model.Series.Add(bars);
        }

        string each = string.Join("; ", types.Select(t => $"{t.Type}: {string.Join(", ", Parts.Where(p => p.Count(t.Arm) > 0).Select(p => string.Create(CultureInfo.InvariantCulture, $"{p.Name} {p.Count(t.Arm)}")))}"));
        return [Draw(
            model, $"plot-outcomes-{ArmFigures.Name(arm)}", $"What faults do in the arm {ArmFigures.Name(arm)}, by kind",
            "Of the faults that were activated, whose number stands beside each kind; crash and hang are those that are not recovered.", $"{each}.", 90 + RowHeight * types.Length)];
    }

    /// <summary>How many incidents stop the guest for at most so long, on a logarithmic axis.</summary>
    private static IReadOnlyList<CampaignPlot> Stopped(CampaignStatistics statistics)
    {
        if (statistics.Stopped.Count == 0)
            return [];
        PlotModel model = Model();
        model.Legends.Add(Legend());
        double first = statistics.Stopped.Min(t => Math.Max(1, t.Figures.Min)), last = statistics.Stopped.Max(t => t.Figures.Max);
        double from = Math.Floor(Math.Log10(Math.Min(first, 1000))), to = Math.Ceiling(Math.Log10(Math.Max(last, 1_000_000)));
        Axis time = Inked(new LogarithmicAxis
        {
            Position = AxisPosition.Bottom, Minimum = Math.Pow(10, from), Maximum = 1.001 * Math.Pow(10, to), PowerPadding = false, LabelFormatter = Decade, MajorGridlineStyle = LineStyle.Solid,

            // One label for each power of ten.
            IntervalLength = Width / (1.5 * (to - from)),
        });
        model.Axes.Add(time);
        LinearAxis part = Percent();
        part.Position = AxisPosition.Left;
        model.Axes.Add(part);
        foreach (StoppedTimes times in statistics.Stopped)
            model.Series.Add(Steps(times, Math.Pow(10, to)));
        if (statistics.Stopped.Any(t => t.Arm == CampaignArm.Ladder))
            model.Annotations.Add(Goal(CampaignGoal.LadderUs, PlotInk.Ladder));
        if (statistics.Stopped.Any(t => t.Arm == CampaignArm.Rehearsal))
            model.Annotations.Add(Goal(CampaignGoal.RehearsalUs, PlotInk.Rehearsal));
        return [Draw(
            model, "plot-stopped", "Incidents for which the guest stands still at most so long, by arm",
            "The broken lines are goals: half of the incidents are to be on the left of 5 ms with the ladder, of 400 ms with rehearsals.",
            $"{string.Join("; ", statistics.Stopped.Select(t => $"{ArmFigures.Name(t.Arm)}: median {BenchRows.Time(t.Figures.Median)}, p99 {BenchRows.Time(t.Figures.P99)}, longest {BenchRows.Time(t.Figures.Max)}"))}.",
            340)];
    }

    /// <summary>What an arm's activated faults are divided into, and what each part is called.</summary>
    private static IReadOnlyList<(PlotInk Ink, string Name, Func<ArmFigures, int> Count)> Parts { get; } =
    [
        (PlotInk.NoEffect, "no effect", a => a.NoEffect), (PlotInk.Recovered, "recovered", a => a.Recovered), (PlotInk.Crash, "crash", a => a.Crash - a.RecoveredCrash), (PlotInk.Hang, "hang", a => a.Hang - a.RecoveredHang),
        (PlotInk.Failure, "failure", a => a.Failure), (PlotInk.SilentCorruption, "silent corruption", a => a.SilentCorruption),
    ];

    private static CampaignPlot Draw(PlotModel model, string id, string title, string note, string description, int height) =>
        new(title, note, PlotSvg.Of(model, id, title, $"{note} {description}", Width, height));

    private static int Activated(ArmFigures arm) => arm.Faults - arm.NotActivated;

    private static StairStepSeries Steps(StoppedTimes times, double end)
    {
        LineStyle style = times.Arm switch { CampaignArm.Ladder => LineStyle.Solid, CampaignArm.Rehearsal => LineStyle.Dash, _ => LineStyle.Dot };
        var line = new StairStepSeries { Title = ArmFigures.Name(times.Arm), Color = PlotSvg.Color(Of(times.Arm)), StrokeThickness = 2, LineStyle = style, VerticalLineStyle = style };
        int count = times.Sorted.Count, steps = Math.Min(count, MaxSteps);
        line.Points.Add(new DataPoint(Math.Max(1, times.Sorted[0]), 0));
        for (int step = 1; step <= steps; step++)
        {
            int rank = (int)((long)step * count / steps);
            line.Points.Add(new DataPoint(Math.Max(1, times.Sorted[rank - 1]), 100.0 * rank / count));
        }

        line.Points.Add(new DataPoint(end, 100));
        return line;
    }

    private static PlotInk Of(CampaignArm arm) => arm switch
    {
        CampaignArm.StockPanic => PlotInk.StockPanic,
        CampaignArm.StockOops => PlotInk.StockOops,
        CampaignArm.Quarantine => PlotInk.Quarantine,
        CampaignArm.Ladder => PlotInk.Ladder,
        _ => PlotInk.Rehearsal,
    };

    private static PlotModel Model() => new()
    {
        Culture = CultureInfo.InvariantCulture, DefaultFont = "Helvetica", DefaultFontSize = 12, TextColor = PlotSvg.Color(PlotInk.Ink), PlotAreaBorderColor = PlotSvg.Color(PlotInk.Line), Padding = new OxyThickness(4, 8, 24, 4),
    };

    private static Legend Legend() => new()
    {
        LegendPlacement = LegendPlacement.Outside, LegendPosition = LegendPosition.TopLeft, LegendOrientation = LegendOrientation.Horizontal, LegendTextColor = PlotSvg.Color(PlotInk.Ink), LegendMargin = 0, LegendPadding = 4,
        LegendSymbolLength = 24,
    };

    private static Axis Categories(IEnumerable<string> names)
    {
        var axis = new CategoryAxis { Position = AxisPosition.Left, StartPosition = 1, EndPosition = 0, GapWidth = 0.5, TickStyle = TickStyle.None };
        axis.Labels.AddRange(names);
        return Inked(axis);
    }

    private static LinearAxis Percent() => Inked(new LinearAxis
    {
        Position = AxisPosition.Bottom, Minimum = 0, Maximum = 100, MajorStep = 20, MinorTickSize = 0, MajorGridlineStyle = LineStyle.Solid, LabelFormatter = v => string.Create(CultureInfo.InvariantCulture, $"{v:0} %"),
    });

    private static T Inked<T>(T axis)
        where T : Axis
    {
        axis.TextColor = PlotSvg.Color(PlotInk.Ink);
        axis.TicklineColor = axis.MinorTicklineColor = axis.AxislineColor = PlotSvg.Color(PlotInk.Soft);
        axis.MajorGridlineColor = axis.MinorGridlineColor = PlotSvg.Color(PlotInk.Line);
        return axis;
    }

    /// <summary>A goal. Its words are in the caption: at the line they would lie over bars and curves.</summary>
    private static LineAnnotation Goal(double at, PlotInk ink) => new() { Type = LineAnnotationType.Vertical, X = at, Color = PlotSvg.Color(ink), StrokeThickness = 1.2, LineStyle = LineStyle.LongDash };

    /// <summary>A power of ten of microseconds.</summary>
    private static string Decade(double us) => us switch
    {
        < 1e3 => string.Create(CultureInfo.InvariantCulture, $"{us:0} µs"),
        < 1e6 => string.Create(CultureInfo.InvariantCulture, $"{us / 1e3:0} ms"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{us / 1e6:0} s"),
    };
}
