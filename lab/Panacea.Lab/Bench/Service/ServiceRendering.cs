using System.Globalization;
using System.Text;
using System.Text.Json;
using Panacea.Diagnosis.Rendering;
using Spectre.Console;

namespace Panacea.Lab.Bench.Service;

/// <summary>Shows the benchmark of services.</summary>
public static class ServiceRendering
{
    private const string None = "–";

    private static readonly string[] Ways =
        ["kernel", "work", "pause without a crash", "pause with Panacea", "pause with a reboot", "lost", "pause with a snapshot", "lost", "reboot over Panacea", "snapshot over Panacea"];

    private static readonly string[] CrashHeaders = ["kernel", "work", "crash", "recovered", "repair", "stopped, median", "min / max", "pause, median", "min / max"];

    /// <summary>As one JSON object.</summary>
    public static string Json(ServiceReport report) => JsonSerializer.Serialize(report, ServiceBenchJson.Default.ServiceReport);

    /// <summary>As a table; fits 80 columns.</summary>
    public static void Show(ServiceReport report, IAnsiConsole console)
    {
        console.WriteLine($"{"",-6} {"work",-8} {"crash",-22} {"recovered",9} {"stopped",9} {"pause",9}");
        foreach (string[] row in CrashRows(report))
            console.WriteLine($"{row[0],-6} {row[1],-8} {row[2],-22} {row[3],9} {row[5],9} {row[7],9}");
        console.WriteLine();
        console.WriteLine($"{"",-6} {"work",-8} {"none",10} {"Panacea",10} {"reboot",10} {"snapshot",10} {"lost",10}");
        foreach (string[] row in WayRows(report))
            console.WriteLine($"{row[0],-6} {row[1],-8} {Median(row[2]),10} {Median(row[3]),10} {Median(row[4]),10} {Median(row[6]),10} {row[7],10}");
        foreach (string failure in Failures(report))
            console.MarkupLine($"[red]✗[/] {Safe.Markup(failure)}");

        static string Median(string cell) => cell.Split(" (")[0];
    }

    /// <summary>What holds for all parts, as Markdown.</summary>
    public static string Explanation { get; } = """

        Guests with 2 vCPUs and 384 MiB, `panic_on_oops=1` and `panic=1`. A client on the host has one kind of operation done after the other, without a pause. The pause is its longest between two acknowledged operations around the crash (in parentheses: smallest and
        largest); without a crash, in windows of a second. With Panacea: `null-write@syscall`, no acknowledged operation may be lost, and the connection may not break. It is longer than the
        standstill: the kernel writes its report before it comes to where Panacea stops it, and afterwards the guard reads the machine for its own, on processors that the guest works on too.

        With a reboot: the same crash; the kernel panics, reboots a second later, boots, and serves. With a snapshot: the VM was saved some seconds earlier (memory and devices by migration to a file, the disk by a copy); as soon as QEMU tells of the panic it is replaced by one that goes on from
        there. Both times the client is told at once that its server is gone, and connects anew until it is served: a client in the field has to find that out first. Lost: acknowledged operations that are not there any more, median.

        By crash: stopped is the time between QEMU's own STOP and RESUME, of a hang all of its stops together. A loop with interrupts off is seen after two seconds of its processor time; a stock kernel never ends it (without a hardware watchdog), so that there is nothing to compare it with.


        """;

    /// <summary>The generated part of docs/evaluation-figures.md for some services.</summary>
    public static string Document(ServiceReport report)
    {
        var text = new StringBuilder();
        BenchMarkdown.Heading(text, report.At, report.Host, report.Command);
        text.AppendJoin("; ", report.Services.Select(s => (s.Service, s.Operation)).Distinct().Select(s => $"`{s.Service}`: {Safe.Markdown(s.Operation, leadsLine: false)}"));
        text.Append(CultureInfo.InvariantCulture, $". The snapshot was {report.Services.Select(s => s.SnapshotAgeSeconds).FirstOrDefault():0.#} s old.\n\n");
        BenchMarkdown.Head(text, Ways, 2);
        foreach (string[] row in WayRows(report))
            BenchMarkdown.Row(text, row);
        text.Append('\n');
        BenchMarkdown.Head(text, CrashHeaders, 3);
        foreach (string[] row in CrashRows(report))
            BenchMarkdown.Row(text, row);
        text.Append('\n');
        BenchMarkdown.Failures(text, Failures(report));
        return text.ToString();
    }

    private static IEnumerable<string[]> WayRows(ServiceReport report) => report.Services.Select(s =>
    {
        Figures? ours = s.Crashes.Count > 0 ? s.Crashes[0].GapUs : null;
        return (string[])
        [
            s.Line, s.Service, Spread(s.QuietGapUs), Spread(ours), Spread(s.RebootGapUs), Lost(s.RebootLost), Spread(s.SnapshotGapUs), Lost(s.SnapshotLost), Times(s.RebootGapUs, ours), Times(s.SnapshotGapUs, ours),
        ];
    });

    private static IEnumerable<string[]> CrashRows(ServiceReport report) => report.Services.SelectMany(s => s.Crashes.Select(c => (string[])
    [
        s.Line, s.Service, c.Crash, string.Create(CultureInfo.InvariantCulture, $"{c.Recovered} of {c.Made}"), c.Repairs.Count == 0 ? None : string.Join(", ", c.Repairs), BenchRows.Time(c.StoppedUs?.Median), Range(c.StoppedUs),
        BenchRows.Time(c.GapUs?.Median), Range(c.GapUs),
    ]));

    private static string Spread(Figures? us) => us is null ? None : $"{BenchRows.Time(us.Median)} ({BenchRows.Time(us.Min)} – {BenchRows.Time(us.Max)})";

    private static string Range(Figures? us) => us is null ? None : $"{BenchRows.Time(us.Min)} / {BenchRows.Time(us.Max)}";

    private static string Lost(Figures? lost) => lost is null ? None : lost.Median.ToString("0", CultureInfo.InvariantCulture);

    private static string Times(Figures? theirs, Figures? ours) =>
        theirs is null || ours is null ? None : (theirs.Median / ours.Median).ToString(theirs.Median < 10 * ours.Median ? "0.0" : "0", CultureInfo.InvariantCulture) + "×";

    private static IEnumerable<string> Failures(ServiceReport report) => report.Services.SelectMany(s => s.Failures.Select(f => $"{s.Line}, {s.Service}: {f}"));
}
