using System.Globalization;
using System.Text;
using System.Text.Json;
using Panacea.Diagnosis.Rendering;
using Spectre.Console;

namespace Panacea.Lab.Bench;

/// <summary>Shows the benchmark of rehearsals.</summary>
public static class RehearsalRendering
{
    private static readonly string[] Headers = ["guest", "crash", "plans", "stopped, median", "min", "max", "a plan, median"];

    /// <summary>As one JSON object.</summary>
    public static string Json(RehearsalReport report) => JsonSerializer.Serialize(report, RehearsalBenchJson.Default.RehearsalReport);

    /// <summary>As a table; fits 80 columns.</summary>
    public static void Show(RehearsalReport report, IAnsiConsole console)
    {
        foreach (string[] row in Rows(report).Prepend(Headers))
            console.WriteLine($"{row[0],-15} {row[1],-15} {row[2],5} {row[3],15} {row[5],10} {row[6],14}");
        foreach (string failure in Failures(report))
            console.MarkupLine($"[red]✗[/] {Safe.Markup(failure)}");
    }

    /// <summary>As the generated part of docs/performance.md.</summary>
    public static string Document(RehearsalReport report)
    {
        var text = new StringBuilder();
        BenchMarkdown.Heading(text, report.At, report.Host, report.Command);
        text.Append("The guests run under emulation where the host has no KVM, with 2 vCPUs, memory in a memfd, redis and a counter at work. Each plan is tried on a copy of its own, one after the other where there are not twice as many ");
        text.Append("processors as vCPUs; the one that a copy lives with goes to the guest. `stubborn` has a caller that dies of an error, `stubborn-twice` two. Beside it, in the same run: the same crash without rehearsals. ");
        text.Append("Time stopped is the time between QEMU's own STOP and RESUME.\n\n");
        BenchMarkdown.Head(text, Headers, 2);
        foreach (string[] row in Rows(report))
            BenchMarkdown.Row(text, row);
        text.Append("\nGoals: 400 ms with one plan, 1 s with three, whatever the size of the guest.\n\n");
        BenchMarkdown.Failures(text, Failures(report));
        return text.ToString();
    }

    private static IEnumerable<string[]> Rows(RehearsalReport report) => report.Rows.Select(r => (string[])
    [
        string.Create(CultureInfo.InvariantCulture, $"{r.Line}, {(r.MemoryMiB % 1024 == 0 ? $"{r.MemoryMiB / 1024} GiB" : $"{r.MemoryMiB} MiB")}"), r.Crash,
        r.Plans == 0 ? "none" : r.Plans.ToString(CultureInfo.InvariantCulture), BenchRows.Time(r.StoppedUs?.Median), BenchRows.Time(r.StoppedUs?.Min), BenchRows.Time(r.StoppedUs?.Max), BenchRows.Time(r.PlanUs?.Median),
    ]);

    private static IEnumerable<string> Failures(RehearsalReport report) => report.Rows.SelectMany(r => r.Failures.Select(f => $"{r.Line}, {r.MemoryMiB} MiB, {r.Crash}: {f}"));
}
