using System.Globalization;
using System.Text;
using System.Text.Json;
using Panacea.Diagnosis.Rendering;
using Spectre.Console;

namespace Panacea.Lab.Bench;

/// <summary>Shows the benchmark of diagnosis.</summary>
public static class DiagnosisRendering
{
    private const string None = "–";

    /// <summary>As one JSON object.</summary>
    public static string Json(DiagnosisReport report) => JsonSerializer.Serialize(report, DiagnosisBenchJson.Default.DiagnosisReport);

    /// <summary>As a table; fits 80 columns.</summary>
    public static void Show(DiagnosisReport report, IAnsiConsole console)
    {
        foreach (string[] row in Rows(report).Prepend(Headers))
            console.WriteLine($"{row[0],-13} {row[1],-8} {row[2],10} {row[3],10} {row[5],10} {row[6],14}");
        foreach (string failure in Failures(report))
            console.MarkupLine($"[red]✗[/] {Safe.Markup(failure)}");
    }

    /// <summary>As the generated part of docs/performance.md.</summary>
    public static string Document(DiagnosisReport report)
    {
        var text = new StringBuilder();
        BenchMarkdown.Heading(text, report.At, report.Host, report.Command, report.Programs);
        text.Append("One ELF core of QEMU is read by all of them, by turns: `panacea diagnose DUMP --json`, the whole report, and `panacea inspect DUMP` with `bt --all`, `ps` and `dmesg`, both without debug files; ");
        text.Append("crash with `bt -a`, `ps` and `log`, and drgn with a script that says the same, both with the kernel's debug package. The last column compares these with `inspect`, which does the same work. Wall time from the program's start to its end, median of the rounds. Cold: nothing of the dump in the page cache ");
        text.Append("(`posix_fadvise`); programs and debug files stay in it, which favours those that need debug files. Warm: the same again at once. Resident: the most that `wait4` reports. ");
        text.Append("The guest died of a NULL write with redis and a counter at work. Pages of zeros in the dumps of 16 GiB are holes.\n\n");
        BenchMarkdown.Head(text, Headers, 2);
        foreach (string[] row in Rows(report))
            BenchMarkdown.Row(text, row);
        text.Append("\nGoals: 1 GiB in 1 s cold and in 200 MiB; 16 GiB within twice that; five times as fast as crash and as drgn.\n\n");
        BenchMarkdown.Failures(text, Failures(report));
        return text.ToString();
    }

    private static string[] Headers { get; } = ["dump", "program", "cold", "warm", "CPU", "resident", "× inspect"];

    private static IEnumerable<string[]> Rows(DiagnosisReport report) => report.Dumps.SelectMany(dump => dump.Readers.Select((reader, i) => (string[])
    [
        i == 0 ? string.Create(CultureInfo.InvariantCulture, $"{dump.Line}, {dump.MemoryMiB / 1024} GiB") : "", reader.Name, BenchRows.Time(reader.ColdUs?.Median), BenchRows.Time(reader.WarmUs?.Median),
        BenchRows.Time(reader.CpuUs?.Median), reader.PeakBytes is { } peak ? string.Create(CultureInfo.InvariantCulture, $"{peak.Max / 1048576.0:0} MiB") : None,
        i == 0 || reader.ColdUs is null || Same(dump) is not { ColdUs: not null } same || reader == same ? "" : $"{Times(reader.ColdUs, same.ColdUs)} / {Times(reader.WarmUs, same.WarmUs)}",
    ]));

    /// <summary>What does the same work as the others.</summary>
    private static ReaderFigures? Same(DumpFigures dump) => dump.Readers.FirstOrDefault(r => r.Name == "inspect");

    private static IEnumerable<string> Failures(DiagnosisReport report) =>
        report.Dumps.SelectMany(d => d.Readers.Where(r => r.Failure is not null).Select(r => $"{d.Line}, {d.MemoryMiB / 1024} GiB, {r.Name}: {r.Failure}"));

    private static string Times(Figures? theirs, Figures? ours) =>
        theirs is null || ours is null ? None : (theirs.Median / ours.Median).ToString(theirs.Median < 10 * ours.Median ? "0.0" : "0", CultureInfo.InvariantCulture);
}
