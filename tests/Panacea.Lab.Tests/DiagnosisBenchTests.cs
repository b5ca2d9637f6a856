using System.Text.Json;
using Panacea.Lab.Bench;
using Spectre.Console.Testing;

namespace Panacea.Lab.Tests;

/// <summary>The benchmark of diagnosis, without guests.</summary>
public sealed class DiagnosisBenchTests
{
    [Fact]
    public void Its_json_is_what_it_measured()
    {
        JsonElement report = JsonDocument.Parse(DiagnosisRendering.Json(Samples.Diagnosis)).RootElement;
        Assert.Equal(Samples.Diagnosis.Command, report.GetProperty("command").GetString());
        JsonElement dump = report.GetProperty("dumps")[1];
        Assert.Equal(16384, dump.GetProperty("memory_mib").GetInt32());
        Assert.Equal(9_000_000, dump.GetProperty("readers")[2].GetProperty("cold_us").GetProperty("median").GetDouble());
    }

    [Fact]
    public void It_fits_the_terminal()
    {
        using var console = new TestConsole();
        console.Profile.Width = 80;
        DiagnosisRendering.Show(Samples.Diagnosis, console);
        Assert.All(console.Output.Split('\n'), line => Assert.InRange(line.TrimEnd().Length, 0, 80));
        Assert.True(console.Output.Contains("90 / 90", StringComparison.Ordinal), console.Output);
    }

    [Fact]
    public void Only_panacea_has_to_succeed()
    {
        DumpFigures dump = Samples.Dump("6.1", 1024);
        Assert.True((Samples.Diagnosis with { Dumps = [dump with { Readers = [dump.Readers[0], Samples.Reader("crash", 1, "exit status 1: too new")] }] }).Ok);
        Assert.False((Samples.Diagnosis with { Dumps = [dump with { Readers = [Samples.Reader("panacea", 1, "exit status 1: no"), dump.Readers[1]] }] }).Ok);
        Assert.False((Samples.Diagnosis with { Dumps = [] }).Ok);
    }

    [Fact]
    public void Both_benchmarks_have_their_part_of_the_document()
    {
        string directory = Directory.CreateTempSubdirectory("panacea-lab-tests-").FullName;
        try
        {
            string path = Path.Combine(directory, "performance.md");
            PerformanceDocument.Update(path, Samples.Diagnosis);
            PerformanceDocument.Update(path, Samples.Bench);
            string text = File.ReadAllText(path);
            Assert.Contains("reboot over standstill", text, StringComparison.Ordinal);
            Assert.Contains("| 6.12, 16 GiB | panacea |", text, StringComparison.Ordinal);
            PerformanceDocument.Update(path, Samples.Diagnosis);
            PerformanceDocument.Update(path, Samples.Bench);
            Assert.Equal(text, File.ReadAllText(path));

            // A document from before there was the second one keeps the first.
            string old = GeneratedDocument.Replace("# Performance\n", "figures\n", "recovery");
            Assert.StartsWith(old.TrimEnd(), GeneratedDocument.Replace(old, "more\n", "diagnosis"), StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(directory, true);
        }
    }

    [Fact]
    public async Task A_program_is_measured_and_its_output_kept()
    {
        string directory = Directory.CreateTempSubdirectory("panacea-lab-tests-").FullName;
        try
        {
            string output = Path.Combine(directory, "output"), errors = Path.Combine(directory, "errors");
            MeasuredRun run = await MeasuredProcess.RunAsync(["sh", "-c", "echo \"$1\"; echo two >&2; exit 3", "sh", "one 'word'"], output, errors, CancellationToken.None);
            Assert.Equal((3, "one 'word'\n", "two\n"), (run.ExitCode, await File.ReadAllTextAsync(output), await File.ReadAllTextAsync(errors)));
            Assert.True(run.WallUs > 0 && run.PeakBytes is > 100_000 and < 1L << 30, $"{run}");
            Assert.Equal(137, (await MeasuredProcess.RunAsync(["sh", "-c", "kill -9 $$"], output, errors, CancellationToken.None)).ExitCode);
        }
        finally
        {
            Directory.Delete(directory, true);
        }
    }

    [Fact]
    public void Pages_of_zeros_become_holes()
    {
        string directory = Directory.CreateTempSubdirectory("panacea-lab-tests-").FullName;
        try
        {
            string from = Path.Combine(directory, "from"), to = Path.Combine(directory, "to");
            foreach (int size in (int[])[0, 100, 4096, (3 << 20) + 17])
            {
                byte[] bytes = new byte[size];
                for (int at = 1000; at < size; at += 700_000)
                    bytes[at] = 1;
                File.WriteAllBytes(from, bytes);
                BenchDump.WriteSparse(from, to, CancellationToken.None);
                Assert.Equal(bytes, File.ReadAllBytes(to));
            }
        }
        finally
        {
            Directory.Delete(directory, true);
        }
    }
}
