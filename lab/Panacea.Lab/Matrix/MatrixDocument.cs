using System.Globalization;
using System.Text;
using Panacea.Diagnosis.Rendering;
using Panacea.Lab.Bench;

namespace Panacea.Lab.Matrix;

/// <summary>What one kernel's run came to.</summary>
/// <param name="Kernel">The release.</param>
/// <param name="Results">Each cell, in the order in which they were run.</param>
/// <param name="Boots">Guests that it took: one, and one more for each that did not live.</param>
public sealed record KernelMatrix(string Kernel, IReadOnlyList<MatrixResult> Results, int Boots);

/// <summary>docs/recovery-matrix.md.</summary>
public static class MatrixDocument
{
    /// <summary>The document as a whole.</summary>
    /// <param name="kernels">Each kernel's run.</param>
    /// <param name="host">Where it was run.</param>
    /// <param name="at">When.</param>
    /// <param name="command">What runs it again.</param>
    public static string Of(IReadOnlyList<KernelMatrix> kernels, BenchHost host, DateTimeOffset at, string command)
    {
        var text = new StringBuilder("# Recovery matrix\n\n");
        text.Append("Crashes and hangs of the crash-test driver (`lab/crashtest/matrix_*.c`) in every context, under `panacea guard` with `panic_on_oops=1`, without Panacea the end of each of these guests. After each cell the\n");
        text.Append("guest has to do what servers do (fork and exec on every vCPU, write and fsync, connect, load and unload a module, allocate, sleep, signal), none of the driver's locks may be held, and no task may\n");
        text.Append("stay in D state; a guest that fails is replaced. The same guest goes on from cell to cell, with redis and a counter at work.\n\n");
        text.Append(CultureInfo.InvariantCulture, $"Generated {at:yyyy-MM-dd} on {Safe.Markdown(host.Cpu)}, {host.Cpus} logical CPUs, Panacea {Safe.Markdown(host.Panacea)}, QEMU {Safe.Markdown(host.Qemu)}, from `{command}`.\n\n");
        int whole = MatrixCell.All.Count + MatrixCell.Hangs.Count;
        if (kernels.Count > 0 && kernels[0].Results.Count < whole)
            text.Append(CultureInfo.InvariantCulture, $"This run is a sample: {kernels[0].Results.Count} of {whole} cells a kernel, each context and each cause among them.\n\n");
        text.Append("| | ").AppendJoin(" | ", kernels.Select(k => k.Kernel)).Append(" |\n| --- |").Append(string.Concat(kernels.Select(_ => " ---: |"))).Append('\n');
        Row("cells recovered", k => $"{k.Results.Count(r => r.IsRecovered)} of {k.Results.Count} ({Percent(k.Results.Count(r => r.IsRecovered), k.Results.Count)})");
        Row("process survives, where it has not to be taken out", k => $"{k.Results.Count(r => r is { Cell.MaySurvive: true, ProcessSurvived: true, IsRecovered: true })} of {k.Results.Count(r => r.Cell.MaySurvive)}");
        Row("guest stopped by a crash, median / p99", k => Stopped(k, hangs: false));
        Row("guest stopped to break a hang, median / p99", k => Stopped(k, hangs: true));
        Row("guests that it took", k => k.Boots.ToString(CultureInfo.InvariantCulture));
        foreach (KernelMatrix kernel in kernels)
        {
            text.Append(CultureInfo.InvariantCulture, $"\n## {kernel.Kernel}\n\n| cell | outcome | repair | lost | stopped | process |\n| --- | --- | --- | --- | ---: | --- |\n");
            foreach (MatrixResult r in kernel.Results)
            {
                string outcome = r.IsRecovered ? "recovered" : $"**{r.Outcome ?? "no incident"}**: {Safe.Markdown(string.Join("; ", r.Failures))}";
                text.Append(CultureInfo.InvariantCulture, $"| {r.Cell.Name} | {outcome} | {r.Repair ?? "–"} | {Safe.Markdown(r.Lost.Count == 0 ? "nothing" : string.Join("; ", r.Lost))} | ");
                text.Append(CultureInfo.InvariantCulture, $"{BenchRows.Time(r.StoppedUs)} | {(r.ProcessSurvived switch { true => "lives", false => "killed", null => "" })} |\n");
            }
        }

        return text.ToString();

        void Row(string what, Func<KernelMatrix, string> value) => text.Append("| ").Append(what).Append(" | ").AppendJoin(" | ", kernels.Select(value)).Append(" |\n");
    }

    private static string Stopped(KernelMatrix kernel, bool hangs) => kernel.Results.Where(r => r.StoppedUs is not null && r.Cell.IsHang == hangs).Select(r => r.StoppedUs!.Value).ToList() is { Count: > 0 } all
        ? $"{BenchRows.Time(Figures.Of(all).Median)} / {BenchRows.Time(Figures.Of(all).P99)}" : "–";

    private static string Percent(int part, int all) => all == 0 ? "–" : string.Create(CultureInfo.InvariantCulture, $"{100.0 * part / all:0.0} %");
}
