using System.Globalization;
using System.Text;
using System.Text.Json;
using Panacea.Diagnosis.Rendering;
using Spectre.Console;

namespace Panacea.Lab.Bench.Scale;

/// <summary>Shows the benchmark of scale.</summary>
public static class ScaleRendering
{
    private const string None = "–";

    private static readonly string[] GuestHeaders =
        ["kernel", "guest", "image, built in", "image, size", "held by arming", "first crash", "stopped, median", "min / max", "machine read, median", "guard: CPU", "PSS"];

    private static readonly string[] VmsHeaders = ["kernel", "VMs", "all armed after", "guard: PSS", "for each VM", "CPU", "for each VM", "stopped, median", "min / max"];

    /// <summary>As one JSON object.</summary>
    public static string Json(ScaleReport report) => JsonSerializer.Serialize(report, ScaleBenchJson.Default.ScaleReport);

    /// <summary>As a table; fits 80 columns.</summary>
    public static void Show(ScaleReport report, IAnsiConsole console)
    {
        foreach (string[] row in GuestRows(report).Prepend(GuestHeaders))
            console.WriteLine($"{row[0],-6} {row[1],-14} {row[2],15} {row[5],12} {row[6],15} {row[10],8}");
        console.WriteLine();
        foreach (string[] row in VmsRows(report).Prepend(VmsHeaders))
            console.WriteLine($"{row[0],-6} {row[1],4} {row[2],15} {row[3],11} {row[5],11} {row[7],15}");
        foreach (string failure in Failures(report))
            console.MarkupLine($"[red]✗[/] {Safe.Markup(failure)}");
    }

    /// <summary>What holds for all parts, as Markdown.</summary>
    public static string Explanation { get; } = """

        One thing is made larger at a time; else a guest has 512 MiB and 2 vCPUs. Memory: a memfd, most of which is never touched. Tasks: the guest has 4 GiB, so many processes and threads sleep in it besides its own, and one process writes and fsyncs without a pause (somebody always sleeps uninterruptibly
        then, and the guard has to look at the tasks). Modules: so many are loaded besides its own. VMs: many in one `panacea guard`, guests of 256 MiB with one vCPU, booted each by itself, which have nothing to do; one after the other crashes. The crash is a NULL write in a process's write(). Time stopped is the
        time between QEMU's own STOP and RESUME; the machine is read for the report after that, while the guest runs. The guard's processor time is for each second, in milliseconds, while nothing crashes.


        """;

    /// <summary>The generated part of docs/evaluation-figures.md for some of what can be made larger.</summary>
    public static string Document(ScaleReport report)
    {
        var text = new StringBuilder();
        BenchMarkdown.Heading(text, report.At, report.Host, report.Command);
        if (report.Guests.Count > 0)
        {
            BenchMarkdown.Head(text, GuestHeaders, 2);
            foreach (string[] row in GuestRows(report))
                BenchMarkdown.Row(text, row);
            text.Append('\n');
        }

        if (report.Vms.Count > 0)
        {
            BenchMarkdown.Head(text, VmsHeaders, 1);
            foreach (string[] row in VmsRows(report))
                BenchMarkdown.Row(text, row);
            text.Append('\n');
        }

        BenchMarkdown.Failures(text, Failures(report));
        return text.ToString();
    }

    private static IEnumerable<string[]> GuestRows(ScaleReport report) => report.Guests.Select(g => (string[])
    [
        g.Line, Named(g), BenchRows.Time(g.ImageBuildUs?.Median), g.ImageBytes > 0 ? Size(g.ImageBytes, "0.0") : None, BenchRows.Time(g.ArmStoppedUs), BenchRows.Time(g.FirstUs), BenchRows.Time(g.StoppedUs?.Median), Spread(g.StoppedUs),
        BenchRows.Time(g.ReportUs?.Median), Cpu(g.Guard?.CpuShare), g.Guard is { } guard ? Size(guard.ProportionalBytes, "0") : None,
    ]);

    private static IEnumerable<string[]> VmsRows(ScaleReport report) => report.Vms.Select(v => (string[])
    [
        v.Line, v.Vms.ToString(CultureInfo.InvariantCulture), BenchRows.Time(v.ArmedUs), v.Guard is { } guard ? Size(guard.ProportionalBytes, "0") : None, v.Guard is { } each ? Size(each.ProportionalBytes / v.Vms, "0.0") : None,
        Cpu(v.Guard?.CpuShare), Cpu(v.Guard?.CpuShare / v.Vms), BenchRows.Time(v.StoppedUs?.Median), Spread(v.StoppedUs),
    ]);

    private static string Named(ScaleFigures figures) => figures.What == "memory"
        ? figures.Size % 1024 == 0 ? string.Create(CultureInfo.InvariantCulture, $"{figures.Size / 1024} GiB") : string.Create(CultureInfo.InvariantCulture, $"{figures.Size} MiB")
        : string.Create(CultureInfo.InvariantCulture, $"{figures.Size:#,0} {(figures.What != "vcpus" ? figures.What : figures.Size == 1 ? "vCPU" : "vCPUs")}");

    private static string Spread(Figures? us) => us is null ? None : $"{BenchRows.Time(us.Min)} / {BenchRows.Time(us.Max)}";

    private static string Cpu(double? share) => share is { } s ? string.Create(CultureInfo.InvariantCulture, $"{1000 * s:0.0} ms/s") : None;

    private static string Size(long bytes, string format) => string.Create(CultureInfo.InvariantCulture, $"{(bytes / 1048576.0).ToString(format, CultureInfo.InvariantCulture)} MiB");

    private static IEnumerable<string> Failures(ScaleReport report) =>
        [.. report.Guests.SelectMany(g => g.Failures.Select(f => $"{g.Line}, {Named(g)}: {f}")), .. report.Vms.SelectMany(v => v.Failures.Select(f => $"{v.Line}, {v.Vms} VMs: {f}"))];
}
