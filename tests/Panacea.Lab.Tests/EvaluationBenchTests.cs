using System.Diagnostics;
using System.Text.Json;
using Panacea.Lab.Bench;
using Panacea.Lab.Bench.Overhead;
using Panacea.Lab.Bench.Scale;
using Panacea.Lab.Bench.Service;
using Panacea.Lab.Workloads;
using Spectre.Console.Testing;

namespace Panacea.Lab.Tests;

/// <summary>The benchmarks of the evaluation, without guests.</summary>
public sealed class EvaluationBenchTests
{
    private static readonly DateTimeOffset At = new(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);

    private static GuardFootprint Footprint => new(0.0021, 52 << 20, 40 << 20);

    private static OverheadReport Overhead => new()
    {
        At = At, Command = "./panacea bench overhead --rounds 20 --kernels 6.1 --update-docs", Host = Samples.Bench.Host, Idle = [new IdleFigures("6.1", Footprint)],
        Work =
        [
            new OverheadFigures("6.1", "arithmetic", "multiplications", 123.4, new MedianInterval(20, 0.999, 0.998, 1.001), new MedianInterval(20, 1, 0.9999, 1.0001), null, Footprint, []),
            new OverheadFigures("6.1", "bank", "a transfer", 5.4, new MedianInterval(20, 0.96, 0.90, 1.02), new MedianInterval(20, 0.98, 0.97, 0.99), new MedianInterval(20, 0.985, 0.98, 0.995), Footprint, []),
        ],
    };

    private static ScaleReport Scale => new()
    {
        At = At, Command = "./panacea bench scale --crashes 5 --kernels 6.1 --update-docs", Host = Samples.Bench.Host,
        Guests =
        [
            new ScaleFigures("6.1", "memory", 512, Figures.Of([50_000L]), 7 << 20, 200, 1700, Figures.Of([1700L, 1500]), Figures.Of([40_000L]), Footprint, []),
            new ScaleFigures("6.1", "memory", 65536, Figures.Of([51_000L]), 7 << 20, 200, 1800, Figures.Of([1800L, 1600]), Figures.Of([41_000L]), Footprint, []),
            new ScaleFigures("6.1", "tasks", 20000, Figures.Of([51_000L]), 7 << 20, 200, 1800, Figures.Of([1800L, 1600]), Figures.Of([410_000L]), Footprint, []),
            new ScaleFigures("6.1", "vcpus", 16, null, 0, null, null, null, null, null, ["no image"]),
        ],
        Vms = [new VmsFigures("6.1", 20, 2_500_000, Footprint, Figures.Of([1700L, 1500]), [])],
    };

    private static ServiceReport Service => new()
    {
        At = At, Command = "./panacea bench service --rounds 5 --kernels 6.1 --update-docs", Host = Samples.Bench.Host,
        Services =
        [
            new ServiceFigures
            {
                Line = "6.1", Service = "redis", Operation = "an INCR", Crashes = [new CrashFigures("null-write@syscall", 2, 2, ["error-return"], Figures.Of([1500L, 1700]), Figures.Of([40_000L, 60_000])), new CrashFigures("loop@irqs-off", 2, 0, [], null, null)],
                QuietGapUs = Figures.Of([20_000L]), RebootGapUs = Figures.Of([5_000_000L]), RebootLost = Figures.Of([0L]), SnapshotGapUs = Figures.Of([300_000L]), SnapshotLost = Figures.Of([1200L]), SnapshotAgeSeconds = 5, Failures = [],
            },
            new ServiceFigures { Line = "6.1", Service = "forks", Operation = "a fork", Crashes = [], SnapshotAgeSeconds = 5, Failures = ["null-write@syscall: the guard says \"declined\""] },
        ],
    };

    [Fact]
    public void Every_row_of_a_document_has_all_of_its_cells()
    {
        foreach (string text in (string[])[OverheadRendering.Document(Overhead), ScaleRendering.Document(Scale), ServiceRendering.Document(Service)])
        {
            Assert.Contains("2026-01-02", text, StringComparison.Ordinal);
            Assert.Contains("    ./panacea bench ", text, StringComparison.Ordinal);
            foreach (string table in text.Split("\n\n").Where(part => part.StartsWith('|')))
                Assert.Single(table.Trim().Split('\n').Select(line => line.Count(c => c == '|')).Distinct());
        }
    }

    [Fact]
    public void They_fit_the_terminal()
    {
        using var console = new TestConsole();
        console.Profile.Width = 80;
        OverheadRendering.Show(Overhead, console);
        ScaleRendering.Show(Scale, console);
        ServiceRendering.Show(Service, console);
        Assert.All(console.Output.Split('\n'), line => Assert.InRange(line.TrimEnd().Length, 0, 80));
    }

    [Fact]
    public void Their_json_is_what_they_measured()
    {
        JsonElement work = JsonDocument.Parse(OverheadRendering.Json(Overhead)).RootElement.GetProperty("work")[0];
        Assert.Equal(0.999, work.GetProperty("by_time").GetProperty("median").GetDouble());
        Assert.Equal(0.0021, work.GetProperty("guard").GetProperty("cpu_share").GetDouble());
        JsonElement scale = JsonDocument.Parse(ScaleRendering.Json(Scale)).RootElement;
        Assert.Equal(65536, scale.GetProperty("guests")[1].GetProperty("size").GetInt32());
        Assert.Equal(20, scale.GetProperty("vms")[0].GetProperty("vms").GetInt32());
        JsonElement service = JsonDocument.Parse(ServiceRendering.Json(Service)).RootElement.GetProperty("services")[0];
        Assert.Equal(50_000, service.GetProperty("crashes")[0].GetProperty("gap_us").GetProperty("median").GetDouble());
        Assert.Equal(1200, service.GetProperty("snapshot_lost").GetProperty("median").GetDouble());
    }

    [Fact]
    public void Any_failure_is_one_and_so_is_nothing()
    {
        Assert.True(Overhead.Ok);
        Assert.False((Overhead with { Work = [] }).Ok);
        Assert.False((Overhead with { Work = [Overhead.Work[0] with { Failures = ["the client's connection broke"] }] }).Ok);
        Assert.False(Scale.Ok);
        Assert.True((Scale with { Guests = [.. Scale.Guests.Take(3)] }).Ok);
        Assert.True((Scale with { Guests = [] }).Ok);
        Assert.False((Scale with { Guests = [], Vms = [] }).Ok);
        Assert.False(Service.Ok);
        Assert.True((Service with { Services = [Service.Services[0]] }).Ok);
        Assert.Contains("Not as it should be: 6.1, forks: ", ServiceRendering.Document(Service), StringComparison.Ordinal);
        Assert.Contains("Not as it should be: 6.1, 16 vCPUs: no image", ScaleRendering.Document(Scale), StringComparison.Ordinal);
    }

    // Ratios of the work with a guard to that without; the goal is a loss of less than 0.5 %.
    [Theory]
    [InlineData(0.996, 1.01, "met")]
    [InlineData(0.98, 0.994, "missed")]
    [InlineData(0.98, 0.995, "missed")]
    [InlineData(0.98, 1.02, "open")]
    public void The_goal_is_held_against_the_whole_interval(double low, double high, string verdict) =>
        Assert.Equal(verdict, OverheadRendering.Verdict(new MedianInterval(20, (low + high) / 2, low, high)));

    [Fact]
    public void Too_few_rounds_say_nothing()
    {
        Assert.Equal("–", OverheadRendering.Verdict(null));
        Assert.Equal("–", OverheadRendering.Verdict(MedianInterval.Of([0.5, 0.5])));
    }

    [Fact]
    public void What_is_lost_is_told_with_its_interval_the_right_way_round()
    {
        string text = OverheadRendering.Document(Overhead);
        Assert.Contains("| 6.1 | bank | 5.4 | 4.00 % | −2.00 to 10.00 % | open | 2.00 % | 1.00 to 3.00 % | 1.50 % | 0.50 to 2.00 % | 2.1 ms/s | 40 MiB |", text, StringComparison.Ordinal);
        Assert.Contains("| 6.1 | none | – |", text, StringComparison.Ordinal);
    }

    [Fact]
    public void Alternatives_are_compared_with_the_same_crash()
    {
        string text = ServiceRendering.Document(Service);
        Assert.Contains("| 5.00 s (5.00 s – 5.00 s) | 0 | 300.0 ms (300.0 ms – 300.0 ms) | 1200 | 100× | 6.0× |", text, StringComparison.Ordinal);
        Assert.Contains("| 6.1 | redis | loop@irqs-off | 0 of 2 | – | – | – | – | – |", text, StringComparison.Ordinal);
    }

    [Fact]
    public void Each_has_its_part_of_the_document()
    {
        string directory = Directory.CreateTempSubdirectory("panacea-lab-tests-").FullName;
        try
        {
            string path = Path.Combine(directory, EvaluationDocument.Name);
            EvaluationDocument.Update(path, Scale);
            EvaluationDocument.Update(path, Overhead);
            EvaluationDocument.Update(path, Service);
            string text = File.ReadAllText(path);
            int[] places = [.. ((string[])["## Time to recover", "### redis", "| 6.1 | redis |", "### records", "### forks", "| 6.1 | forks |", "## Overhead", "| 6.1 | arithmetic |", "## Scale", "### memory", "| 6.1 | 64 GiB |", "### tasks", "### vms", "| 6.1 | 20 |"]).Select(part => text.IndexOf(part, StringComparison.Ordinal))];
            Assert.DoesNotContain(-1, places);
            Assert.Equal(places.Order(), places);
            EvaluationDocument.Update(path, Overhead);
            Assert.Equal(text, File.ReadAllText(path));

            // A part is measured again by itself; the others stay.
            EvaluationDocument.Update(path, Scale with { Guests = [], Vms = [Scale.Vms[0] with { Vms = 7 }] });
            Assert.Equal(text.Replace("| 6.1 | 20 |", "| 6.1 | 7 |", StringComparison.Ordinal).Replace("2.0 MiB", "5.7 MiB", StringComparison.Ordinal).Replace("0.1 ms/s", "0.3 ms/s", StringComparison.Ordinal), File.ReadAllText(path));
        }
        finally
        {
            Directory.Delete(directory, true);
        }
    }

    [Fact]
    public void Only_some_of_what_can_be_made_larger()
    {
        ScaleSizes sizes = new ScaleSizes().Only(["tasks", "vms"]);
        Assert.Equal((0, 4, 0, 0, 3), (sizes.MemoryMiB.Count, sizes.Tasks.Count, sizes.Modules.Count, sizes.Vcpus.Count, sizes.Vms.Count));
        Assert.Equal(JsonSerializer.Serialize(new ScaleSizes()), JsonSerializer.Serialize(new ScaleSizes().Only([.. ScaleSizes.Names])));
    }

    [Fact]
    public void The_command_names_services_where_they_are_not_all()
    {
        var options = new BenchOptions { Panacea = new Tour.PanaceaProgram("panacea") };
        Assert.Equal("", options.NamedServices(MeasuredService.All));
        Assert.Equal("", (options with { Services = [.. MeasuredService.All] }).NamedServices(MeasuredService.All));
        Assert.Equal(" --workloads redis,forks", (options with { Services = [MeasuredService.Find("redis")!, MeasuredService.Find("forks")!] }).NamedServices(MeasuredService.All));
        Assert.Null(MeasuredService.Find("nothing"));
    }

    [Fact]
    public void A_rate_is_that_between_two_acknowledgements()
    {
        var before = new ServiceMark(10, 100, Stopwatch.Frequency);
        Assert.Equal(15, before with { Operations = 40, At = 3 * Stopwatch.Frequency } is var after ? after.RateSince(before) : null);
        Assert.Null(before.RateSince(before));
    }

    [Fact]
    public void The_hosts_own_figures_are_read()
    {
        Assert.Equal(50703L << 10, GuardFootprint.Proportional("55ccb4b9f000-7fff4091d000 ---p 00000000 00:00 0    [rollup]\nRss:               52736 kB\nPss:               50703 kB\nPss_Dirty:         14328 kB\n"));
        Assert.Throws<LabException>(() => GuardFootprint.Proportional(""));
        Assert.Equal(22_000L << 10, HostMemory.Parse("MemTotal:       24000 kB\nMemFree:  1 kB\nMemAvailable:   22000 kB\n"));
        Assert.Throws<LabException>(() => HostMemory.Parse("MemTotal: 1 kB\n"));
        Assert.InRange(HostMemory.Available(), 1 << 20, long.MaxValue);
    }

    [Fact]
    public void Processor_time_is_that_of_the_process()
    {
        TimeSpan before = CpuClock.Of(Environment.ProcessId);
        double sum = 0;
        do
            sum += Math.Sqrt(sum + 1);
        while (CpuClock.Of(Environment.ProcessId) - before < TimeSpan.FromMilliseconds(1));
        Assert.True(sum > 0);
        TimeSpan now = CpuClock.Of(Environment.ProcessId), told = Process.GetCurrentProcess().TotalProcessorTime;
        Assert.InRange((told - now).TotalSeconds, -0.5, 60);
        Assert.Throws<LabException>(() => CpuClock.Of(int.MaxValue - 1));
    }
}
