using Panacea.GuestTests.Harness;
using Panacea.Lab.Bench;
using Panacea.Lab.Bench.Overhead;
using Panacea.Lab.Bench.Scale;
using Panacea.Lab.Bench.Service;
using Panacea.Lab.Tour;
using Panacea.Lab.Workloads;
using Spectre.Console;

namespace Panacea.GuestTests;

/// <summary>Each benchmark of the evaluation once, with as little as it can be: nothing here is about how long things take.</summary>
[Collection(nameof(Guest612))]
public sealed class BenchTests
{
    private static BenchOptions Small => new()
    {
        Panacea = new PanaceaProgram(PanaceaCommand.Program), Lines = ["6.12"], Crashes = 1, Rounds = 1, Reboots = 1, Idle = TimeSpan.FromSeconds(0.5), Window = TimeSpan.FromSeconds(2), HealthWindow = TimeSpan.FromSeconds(0.5),
    };

    private static ProgressLine Nobody => new(AnsiConsole.Create(new AnsiConsoleSettings { Interactive = InteractionSupport.No, Out = new AnsiConsoleOutput(TextWriter.Null) }));

    [Fact]
    public async Task A_service_goes_on_under_guard_and_comes_back_without()
    {
        ServiceReport report = await new ServiceBench(Small with { Services = [MeasuredService.Find("records")!] }, Nobody).RunAsync(TestContext.Current.CancellationToken);
        ServiceFigures records = Assert.Single(report.Services);
        Assert.True(report.Ok, string.Join('\n', records.Failures));
        Assert.All(records.Crashes, c => Assert.Equal((1, 1), (c.Made, c.Recovered)));
        Assert.Contains(records.Crashes, c => c.Crash == "loop@irqs-off");

        // What was on the disk is there after a reboot; what came after the snapshot is not.
        Assert.Equal(0, records.RebootLost!.Max);
        Assert.True(records.SnapshotLost!.Min > 0, $"{records.SnapshotLost}");
        Assert.NotNull(records.RebootGapUs);
        Assert.NotNull(records.SnapshotGapUs);
    }

    [Fact]
    public async Task Work_is_measured_with_a_guard_and_without()
    {
        OverheadReport report = await new OverheadBench(Small with { Services = [MeasuredService.Arithmetic, MeasuredService.Find("redis")!] }, Nobody).RunAsync(TestContext.Current.CancellationToken);
        Assert.True(report.Ok, string.Join('\n', report.Work.SelectMany(w => w.Failures)));
        Assert.All(report.Work, w => Assert.True(w is { Rate: > 0, ByTime.Count: 1, ByProcessor.Count: 1, BreakpointsByProcessor.Count: 1, Guard.ProportionalBytes: > 0 }, $"{w}"));
        Assert.Single(report.Idle);
    }

    [Fact]
    public async Task Guests_are_made_larger_and_more()
    {
        var sizes = new ScaleSizes { MemoryMiB = [4096], Tasks = [11, 30], Modules = [2, 3], Vcpus = [1], Vms = [1, 2] };
        ScaleReport report = await new ScaleBench(Small with { Sizes = sizes, Crashes = 2 }, Nobody).RunAsync(TestContext.Current.CancellationToken);
        Assert.True(report.Ok, string.Join('\n', report.Guests.SelectMany(g => g.Failures).Concat(report.Vms.SelectMany(v => v.Failures))));
        Assert.Equal([("memory", 4096), ("tasks", 11), ("tasks", 30), ("modules", 2), ("modules", 3), ("vcpus", 1)], report.Guests.Select(g => (g.What, g.Size)));
        Assert.All(report.Guests, g => Assert.True(g is { ImageBuildUs.Count: > 0, ImageBytes: > 0, StoppedUs.Count: 2, Guard: not null }, $"{g}"));
        Assert.Equal([1, 2], report.Vms.Select(v => v.Vms));
        Assert.All(report.Vms, v => Assert.Equal(2, v.StoppedUs?.Count));
    }
}
