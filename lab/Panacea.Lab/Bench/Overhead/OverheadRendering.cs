using System.Globalization;
using System.Text;
using System.Text.Json;
using Panacea.Diagnosis.Rendering;
using Spectre.Console;

namespace Panacea.Lab.Bench.Overhead;

/// <summary>Shows the benchmark of overhead.</summary>
public static class OverheadRendering
{
    /// <summary>A guard takes at most this part of the work.</summary>
    internal const double Goal = 0.005;

    private const string None = "–";
    private static readonly string[] Headers = ["guest", "work", "operations/s", "lost by time", "95 % interval", "verdict", "lost by processor time", "95 % interval", "by breakpoints alone", "95 % interval", "guard: CPU", "PSS"];

    /// <summary>As one JSON object.</summary>
    public static string Json(OverheadReport report) => JsonSerializer.Serialize(report, OverheadBenchJson.Default.OverheadReport);

    /// <summary>As a table; fits 80 columns.</summary>
    public static void Show(OverheadReport report, IAnsiConsole console)
    {
        console.WriteLine($"{"guest",-5} {"work",-11} {"ops/s",8} {"lost",8} {"95 %",18} {"guard: CPU",11}");
        foreach (string[] row in Rows(report))
            console.WriteLine($"{row[0],-5} {row[1],-11} {row[2],8} {row[3],8} {row[4],18} {row[10],11}");
        foreach (string failure in Failures(report))
            console.MarkupLine($"[red]✗[/] {Safe.Markup(failure)}");
    }

    /// <summary>What it means, as Markdown.</summary>
    public static string Explanation { get; } = """

        One guest, 2 vCPUs, does one kind of work after the other. A round is windows of a second (more, where there are few operations): without a guard, twice with one, without; then twice with the guard's breakpoints and nobody who guards, and without. What is lost is 1 − the operations with a guard over
        those without; the figure is the median of the rounds, the interval that of the sign test. By time: per second, as a client sees it; what else runs on the host is in it. By processor time: per second of QEMU's own processor time, which leaves that out, and the guard's own. By breakpoints alone: what
        QEMU itself takes for having them. Under emulation it holds each jump whose target it does not know beforehand against its list of them; under KVM they are in the processor's own registers. Below zero is noise. The guard's processor time is for each second, in milliseconds, while the guest works; PSS
        counts shared pages by their share.

        Goal: less than 0.5 % by time. Met: the whole interval is below; missed: the whole interval is above; open: it has both.


        """;

    /// <summary>The generated part of docs/evaluation-figures.md.</summary>
    public static string Document(OverheadReport report)
    {
        var text = new StringBuilder();
        BenchMarkdown.Heading(text, report.At, report.Host, report.Command);
        BenchMarkdown.Head(text, Headers, 2);
        foreach (string[] row in Rows(report))
            BenchMarkdown.Row(text, row);
        text.Append('\n');
        BenchMarkdown.Failures(text, Failures(report));
        return text.ToString();
    }

    /// <summary>Whether the goal is met, as far as the interval tells.</summary>
    internal static string Verdict(MedianInterval? ratio) => ratio switch
    {
        null or { Low: null } or { High: null } => None,
        { Low: { } low } when 1 - low < Goal => "met",
        { High: { } high } when 1 - high >= Goal => "missed",
        _ => "open",
    };

    private static IEnumerable<string[]> Rows(OverheadReport report) =>
    [
        .. report.Idle.Select(i => (string[])[i.Line, "none", None, None, None, None, None, None, None, None, Cpu(i.Guard), Size(i.Guard)]),
        .. report.Work.Select(w => (string[])
        [
            w.Line, w.Work, w.Rate is { } rate ? rate.ToString(rate < 100 ? "0.0" : "0", CultureInfo.InvariantCulture) : None, Lost(w.ByTime?.Median), Interval(w.ByTime), Verdict(w.ByTime),
            Lost(w.ByProcessor?.Median), Interval(w.ByProcessor), Lost(w.BreakpointsByProcessor?.Median), Interval(w.BreakpointsByProcessor), Cpu(w.Guard), Size(w.Guard),
        ]),
    ];

    private static string Lost(double? ratio) => ratio is { } r ? string.Create(CultureInfo.InvariantCulture, $"{Percent(r)} %") : None;

    private static string Interval(MedianInterval? ratio) => ratio is { Low: { } low, High: { } high } ? string.Create(CultureInfo.InvariantCulture, $"{Percent(high)} to {Percent(low)} %") : None;

    private static string Percent(double ratio)
    {
        string text = (100 * (1 - ratio)).ToString("0.00", CultureInfo.InvariantCulture);
        return text == "-0.00" ? "0.00" : text.Replace('-', '−');
    }

    private static string Cpu(GuardFootprint? guard) => guard is { } g ? string.Create(CultureInfo.InvariantCulture, $"{1000 * g.CpuShare:0.0} ms/s") : None;

    private static string Size(GuardFootprint? guard) => guard is { } g ? string.Create(CultureInfo.InvariantCulture, $"{g.ProportionalBytes / 1048576.0:0} MiB") : None;

    private static IEnumerable<string> Failures(OverheadReport report) => report.Work.SelectMany(w => w.Failures.Select(f => $"{w.Line}, {w.Work}: {f}"));
}
