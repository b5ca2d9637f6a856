using System.Text.Json;
using Panacea.Diagnosis.Rendering;
using Spectre.Console;

namespace Panacea.Lab.Bench;

/// <summary>Shows a benchmark.</summary>
public static class BenchRendering
{
    /// <summary>As one JSON object.</summary>
    public static string Json(BenchReport report) => JsonSerializer.Serialize(report, BenchJson.Default.BenchReport);

    /// <summary>As a table; fits 80 columns with two kernels.</summary>
    public static void Show(BenchReport report, IAnsiConsole console)
    {
        Table table = new Table().Border(TableBorder.Horizontal).BorderStyle(Style.Parse("grey"));
        table.AddColumn(Column(""));
        foreach (KernelFigures kernel in report.Kernels)
            table.AddColumn(Column($"{kernel.Line} ({kernel.Accelerator})").RightAligned());
        table.AddColumn(Column("goal"));
        foreach (BenchRow row in BenchRows.Of(report))
            table.AddRow([Safe.Markup(row.What), .. row.Values.Select(v => Safe.Markup(v)), $"[grey]{Safe.Markup(row.Goal)}[/]"]);
        console.Write(table);
        foreach (KernelFigures kernel in report.Kernels)
        {
            foreach (KindFigures kind in kernel.Kinds)
                console.MarkupLine($"[grey]{kernel.Line}  {Safe.Markup(kind.Kind),-18} {Safe.Markup(kind.Repair),-13}[/] {BenchRows.Time(kind.StoppedUs.Median)} (median of {kind.StoppedUs.Count})");
        }

        foreach (KernelFigures kernel in report.Kernels)
        {
            foreach (string failure in kernel.Failures)
                console.MarkupLine($"[red]✗[/] {kernel.Line}: {Safe.Markup(failure)}");
        }
    }

    private static TableColumn Column(string header) => new($"[grey]{Safe.Markup(header)}[/]") { Padding = new Padding(0, 0, 1, 0) };
}
