using System.Globalization;
using Panacea.Daemon;
using Panacea.Diagnosis.Rendering;
using Spectre.Console;

namespace Panacea.Lab.Tour;

/// <summary>The tour for a person at a terminal: what is done, what came of it, and one table at the end. Fits 80 columns.</summary>
/// <param name="console">The terminal.</param>
public sealed class ScreenTourView(IAnsiConsole console) : ITourView
{
    private const int Label = 10;

    private static readonly (string Name, int Width)[] Columns =
        [("", 1), ("crash", 7), ("cause", 20), ("repair", 10), ("stopped", 8), ("client's gap", 8), ("lost", 11)];

    private readonly ProgressLine _progress = new(console);
    private bool _begun, _afterCrash;

    /// <inheritdoc/>
    public Task<T> DuringAsync<T>(string what, Func<Action<string>, Task<T>> work)
    {
        if (!_begun)
            console.MarkupLine("[bold]A Linux server at work. Its kernel crashes four times.[/]\n");
        _begun = true;
        return _progress.DuringAsync(what, work);
    }

    /// <inheritdoc/>
    public void Show(TourStep step)
    {
        if (_afterCrash && step is not CrashStep)
            console.WriteLine();
        _afterCrash = step is CrashStep;
        switch (step)
        {
            case GuestStep e:
                Done("guest", $"Debian {e.Kernel}, {(e.Accelerator == "kvm" ? "KVM" : "emulated")}; up in {Time(e.TookUs)}");
                break;
            case WorkStep e:
                Done("work", "redis (each write fsynced), a recorder on ext4, a counter in memory");
                Done("client", $"INCRs redis from this host without a pause; longest gap {Time(e.QuietGapUs)}");
                break;
            case ImageStep e:
                Done("image", $"repair image of {Size(e.Bytes)}{(e.BuildUs is { } us ? $", built in {Time(us)}" : "")} while the guest ran");
                break;
            case GuardStep e:
                Done("guard", $"armed; the guest was held for {Time(e.StoppedUs)}");
                Note($"$ {e.Command}");
                break;
            case CrashStep e:
                Crash(e);
                break;
            case DetachStep e:
                Mark(e.ExitCode == 0, "guard", "interrupted; it let go of the guest, which runs on without it");
                break;
            case CheckStep e:
                Mark(e.Ok, "check", $"{e.What}: {e.Detail}");
                break;
            case SummaryStep e:
                Summary(e);
                break;
        }
    }

    private void Crash(CrashStep e)
    {
        console.WriteLine();
        console.MarkupLine($"[bold]{e.Number}[/]  [bold]{Safe.Markup(Capital(e.What))}[/]");
        Note($"$ {e.Command}", 3);
        Field("cause", e.Cause ?? "not told");
        if (e.Guarded)
        {
            Field("repair", e.Repair == "kill" ? "quarantine: the offending process is killed, the OS goes on" : $"{RepairText(e.Repair)}: {e.Process}");
            Field("stopped", $"{(e.StoppedUs is { } us ? Time(us) : "not told")}; the client's longest gap was {Time(e.ClientGapUs)}");
        }
        else
        {
            Field("repair", "none: the OS panics and reboots");
            Field("away", $"redis answers again after {Time(e.AwayUs ?? 0)}");
        }

        Field("lost", Lost(e));
        foreach (string failure in e.Failures)
            Mark(false, "not as expected", failure);
    }

    private void Summary(SummaryStep e)
    {
        console.WriteLine();
        if (e.Crashes.Count > 0)
            console.Write(SummaryTable(e.Crashes));
        console.WriteLine();
        foreach (string failure in e.Failures)
            Mark(false, "failed", failure);
        if (!e.Ok)
        {
            console.MarkupLine("[red]The tour did not go as it should.[/]");
            return;
        }

        long stopped = e.Crashes.Sum(c => c.StoppedUs ?? 0), away = e.Crashes.Sum(c => c.AwayUs ?? 0);
        int guarded = e.Crashes.Count(c => c.Guarded);
        Wrapped($"{guarded} crashes under Panacea's guard: {Time(stopped)} of standstill in all. One without: {Time(away)} until redis answered again"
            + (e.Ratio is { } ratio ? $", {Ratio(ratio)} times the median standstill." : "."));
    }

    /// <summary>crash, cause, repair, time stopped, the client's longest gap, what was lost.</summary>
    private Table SummaryTable(IReadOnlyList<CrashStep> crashes)
    {
        Table table = new Table().Border(TableBorder.Horizontal).BorderStyle(Style.Parse("grey"));
        foreach ((string name, int width) in Columns)
        {
            // The narrowest terminal that is in use gets a table made for it; a wide one needs no help.
            var column = new TableColumn($"[grey]{name}[/]") { Padding = new Padding(0, 0, 1, 0), Width = console.Profile.Width < 110 ? width : null };
            if (name is "stopped" or "client's gap")
                column.RightAligned();
            table.AddColumn(column);
        }

        foreach (CrashStep e in crashes)
        {
            bool asExpected = e.Failures.Count == 0;
            string colour = !asExpected ? "red" : e.Guarded ? "green" : "yellow";
            string stopped = e.StoppedUs is { } us ? Time(us) : e.AwayUs is { } away ? $"{Time(away)} away" : Safe.Nothing;
            table.AddRow(
                $"[{colour}]{e.Number}[/]", Safe.Markup(e.Crash), Safe.Markup(e.Cause ?? Safe.Nothing), Safe.Markup(e.Guarded ? RepairText(e.Repair) : "none"),
                $"[{colour}]{stopped}[/]", Time(e.ClientGapUs), Safe.Markup(Lost(e)));
        }

        return table;
    }

    internal static string Time(long us) => IncidentReport.Duration(us);

    internal static string Size(long bytes) => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1048576.0:0.0} MiB");

    internal static string Ratio(double ratio) =>
        ratio >= 100 ? Math.Round(ratio / 10).ToString("0", CultureInfo.InvariantCulture) + "0" : ratio.ToString("0.#", CultureInfo.InvariantCulture);

    private static string RepairText(string repair) => repair switch
    {
        "error-return" => "error return",
        "unwind" => "unwinding",
        "kill" or "freeze" => "quarantine",
        _ => repair,
    };

    private static string Lost(CrashStep e) => e.Lost.Count == 0 ? "nothing" : string.Join(", ", e.Lost);

    private static string Capital(string text) => text.Length == 0 ? text : char.ToUpperInvariant(text[0]) + text[1..];

    private void Done(string label, string text) => Mark(true, label, text);

    private void Mark(bool ok, string label, string text) => Row(ok ? "[green]✓[/]" : "[red]✗[/]", label, text);

    private void Field(string label, string text) => Row(" ", label, text);

    private void Note(string text, int indent = Label + 3) =>
        console.Write(new Padder(new Markup($"[grey]{Safe.Markup(text)}[/]"), new Padding(indent, 0, 0, 0)));

    private void Wrapped(string text) => console.Write(new Markup(Safe.Markup(text) + "\n"));

    /// <summary>A mark, a label and a text that wraps beside them.</summary>
    private void Row(string mark, string label, string text)
    {
        Grid grid = new Grid()
            .AddColumn(new GridColumn { Width = 1, Padding = new Padding(0, 0, 2, 0), NoWrap = true })
            .AddColumn(new GridColumn { Width = Math.Max(Label - 1, label.Length), Padding = new Padding(0, 0, 1, 0), NoWrap = true })
            .AddColumn(new GridColumn { Padding = new Padding(0, 0, 0, 0) });
        grid.AddRow(new Markup(mark), new Markup($"[grey]{Safe.Markup(label)}[/]"), new Markup(Safe.Markup(text)));
        console.Write(grid);
    }
}
