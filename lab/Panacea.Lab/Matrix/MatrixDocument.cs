using System.Globalization;
using System.Text;
using Panacea.Diagnosis.Rendering;
using Panacea.Lab.Bench;

namespace Panacea.Lab.Matrix;

/// <summary>What one kernel's run came to.</summary>
/// <param name="Kernel">The release.</param>
/// <param name="Results">Each cell, in the order in which they were run.</param>
/// <param name="Boots">Guests that it took: one, and one more for each that did not live.</param>
/// <param name="Baseline">The same cells without a guard, with panic_on_oops=1 and 0; empty where they were not run.</param>
public sealed record KernelMatrix(string Kernel, IReadOnlyList<MatrixResult> Results, int Boots, IReadOnlyList<BaselineResult> Baseline);

/// <summary>docs/recovery-matrix.md.</summary>
public static class MatrixDocument
{
    /// <summary>The document as a whole.</summary>
    /// <param name="kernels">Each kernel's run.</param>
    /// <param name="host">Where it was run.</param>
    /// <param name="at">When.</param>
    /// <param name="command">What runs it again.</param>
    /// <param name="endurance">Crashes in a row; empty where they were not run.</param>
    public static string Of(IReadOnlyList<KernelMatrix> kernels, IReadOnlyList<Endurance> endurance, BenchHost host, DateTimeOffset at, string command)
    {
        var text = new StringBuilder("# Recovery matrix\n\n");
        text.Append("Crashes and hangs of the crash-test driver (`lab/crashtest/matrix_*.c`) in every context, under `panacea guard` with `panic_on_oops=1`, without Panacea the end of each of these guests. After each cell the\n");
        text.Append("guest has to do what servers do (fork and exec on every vCPU, write and fsync, connect, load and unload a module, allocate, sleep, signal), none of the driver's locks may be held, and no task may\n");
        text.Append("stay in D state, and the kernel must not complain of a CPU or a task that was left as it must not be (RCU, preempt count, interrupts); a guest that fails is replaced. The same guest goes on from cell to cell, with redis and a counter at work.\n\n");
        text.Append(CultureInfo.InvariantCulture, $"Generated {at:yyyy-MM-dd} on {Safe.Markdown(host.Cpu)}, {host.Cpus} logical CPUs, Panacea {Safe.Markdown(host.Panacea)}, QEMU {Safe.Markdown(host.Qemu)}, from `{command}`.\n\n");
        int whole = MatrixCell.All.Count + MatrixCell.Hangs.Count;
        text.Append("| | ").AppendJoin(" | ", kernels.Select(k => k.Kernel)).Append(" |\n| --- |").Append(string.Concat(kernels.Select(_ => " ---: |"))).Append('\n');
        Row("cells that were run", k => $"{k.Results.Count} of {whole}");
        Row("cells recovered", k => $"{k.Results.Count(r => r.IsRecovered)} of {k.Results.Count} ({Percent(k.Results.Count(r => r.IsRecovered), k.Results.Count)})");
        Row("process survives, where it has not to be taken out", k => $"{k.Results.Count(r => r is { Cell.MaySurvive: true, ProcessSurvived: true, IsRecovered: true })} of {k.Results.Count(r => r.Cell.MaySurvive)}");
        Row("guest stopped by a crash, median / p99", k => Stopped(k, hangs: false));
        Row("guest stopped to break a hang, median / p99", k => Stopped(k, hangs: true));
        foreach (bool panics in (bool[])[true, false])
        {
            if (kernels.Any(k => k.Baseline.Any(b => b.PanicOnOops == panics)))
                Row($"without Panacea, panic_on_oops={(panics ? 1 : 0)}: guest lives as before", k => Unguarded([.. k.Baseline.Where(b => b.PanicOnOops == panics)]));
        }

        Row("cells worse than without Panacea", Worse);
        Row("guests that it took", k => k.Boots.ToString(CultureInfo.InvariantCulture));
        if (endurance.Count > 0)
            text.Append('\n').Append(EnduranceRun.Section(endurance).TrimEnd()).Append('\n');
        foreach (KernelMatrix kernel in kernels)
        {
            bool paired = kernel.Baseline.Count > 0;
            text.Append(CultureInfo.InvariantCulture, $"\n## {kernel.Kernel}\n\n| cell | outcome | repair | lost | stopped | process |{(paired ? " without, panic_on_oops=1 | =0 |" : "")}\n| --- | --- | --- | --- | ---: | --- |{(paired ? " --- | --- |" : "")}\n");
            foreach (MatrixResult r in kernel.Results)
            {
                string outcome = r.IsRecovered ? "recovered" : $"**{r.Outcome ?? "no incident"}**: {Safe.Markdown(string.Join("; ", r.Failures))}";
                text.Append(CultureInfo.InvariantCulture, $"| {r.Cell.Name} | {outcome} | {r.Repair ?? "–"} | {Safe.Markdown(r.Lost.Count == 0 ? "nothing" : string.Join("; ", r.Lost))} | ");
                text.Append(CultureInfo.InvariantCulture, $"{BenchRows.Time(r.StoppedUs)} | {(r.ProcessSurvived switch { true => "lives", false => "killed", null => "" })} |");
                if (paired)
                    text.Append(CultureInfo.InvariantCulture, $" {Without(kernel, r.Cell, panics: true)} | {Without(kernel, r.Cell, panics: false)} |");
                text.Append('\n');
            }
        }

        return text.ToString();

        void Row(string what, Func<KernelMatrix, string> value) => text.Append("| ").Append(what).Append(" | ").AppendJoin(" | ", kernels.Select(value)).Append(" |\n");
    }

    private static string Unguarded(IReadOnlyList<BaselineResult> cells) => cells.Count == 0 ? "–" : $"{cells.Count(b => b.Lives)} of {cells.Count} ({Percent(cells.Count(b => b.Lives), cells.Count)})";

    /// <summary>The guest lives without Panacea, in either way, and does not with it; or the process lives without and not with it. Where what happened may be an attack, and the process is taken out for it, that is said
    /// by itself: it is meant.</summary>
    private static string Worse(KernelMatrix kernel)
    {
        if (kernel.Baseline.Count == 0)
            return "–";
        List<MatrixResult> worse = [.. kernel.Results.Where(r => kernel.Baseline.Any(b => b.Cell == r.Cell && b.Lives && (!r.IsRecovered || (b.ProcessSurvived == true && r.ProcessSurvived == false))))];
        List<string> meant = [.. worse.Where(r => r.IsRecovered && !r.Cell.MaySurvive).Select(r => r.Cell.Name)], bad = [.. worse.Select(r => r.Cell.Name).Except(meant)];
        string also = meant.Count == 0 ? "" : $" (in {meant.Count} more the process is taken out for what may be an attack, and lives without: {string.Join(", ", meant)})";
        return bad.Count == 0 ? $"0{also}" : $"{bad.Count}: {string.Join(", ", bad)}{also}";
    }

    private static string Without(KernelMatrix kernel, MatrixCell cell, bool panics) => kernel.Baseline.FirstOrDefault(b => b.Cell == cell && b.PanicOnOops == panics) switch
    {
        null => "",
        { Panicked: true } => "panic",
        { Lives: true } b => b.ProcessSurvived == false ? "lives, process killed" : "lives",
        { } b => Safe.Markdown(b.Failures[0].Length > 60 ? b.Failures[0][..60] + "…" : b.Failures[0]),
    };

    private static string Stopped(KernelMatrix kernel, bool hangs) => kernel.Results.Where(r => r.StoppedUs is not null && r.Cell.IsHang == hangs).Select(r => r.StoppedUs!.Value).ToList() is { Count: > 0 } all
        ? $"{BenchRows.Time(Figures.Of(all).Median)} / {BenchRows.Time(Figures.Of(all).P99)}" : "–";

    private static string Percent(int part, int all) => all == 0 ? "–" : string.Create(CultureInfo.InvariantCulture, $"{100.0 * part / all:0.0} %");
}
