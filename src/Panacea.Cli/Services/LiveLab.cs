using System.Globalization;
using Panacea.Cli.Output;
using Panacea.Injection;
using Panacea.Lab;
using Panacea.Lab.Bench;
using Panacea.Lab.Campaign;
using Panacea.Lab.Campaign.Report;
using Panacea.Lab.Setup;
using Panacea.Lab.Tour;
using Spectre.Console;

namespace Panacea.Cli.Services;

/// <summary>The tour and the benchmarks, on guests of our own.</summary>
internal sealed class LiveLab : ILab
{
    public int Demo(DemoRequest request, CliConsole console, CancellationToken cancel)
    {
        ITourView view = request.Json ? new JsonTourView(console.Out, Watched(console)) : new ScreenTourView(console.OutScreen);
        return Run(async () =>
        {
            var options = new TourOptions { Panacea = PanaceaProgram.Self(), Line = request.Kernel, AssumeYes = request.Yes, Ask = Asking(console) };
            SummaryStep summary = await new TourRun(options, view).RunAsync(cancel);
            return summary.Ok ? ExitCodes.Ok : ExitCodes.Failure;
        });
    }

    public int Bench(BenchRequest request, CliConsole console, CancellationToken cancel) => Run(async () =>
        await LiveBench.RunAsync(request, Asking(console), console, cancel) ? ExitCodes.Ok : ExitCodes.Failure);

    public int Campaign(CampaignRequest request, CliConsole console, CancellationToken cancel) => Run(() =>
    {
        var options = new CampaignOptions
        {
            Lines = request.Kernels, Workloads = [.. request.Workloads.Select(w => CampaignWorkload.Find(w)!)], Trials = request.Trials, Seed = request.Seed,
            Types = request.Faults.Count == 0 ? FaultChoice.Usual : [.. request.Faults.Select(f => FaultKinds.Find(f)!.Type)], At = request.At, IsPersistent = request.IsPersistent, Arms = ArmsOf(request.Arms),
            WhereManifested = ArmsOf(request.WhereManifested), Panacea = PanaceaProgram.Self(), Directory = request.Directory,
        };
        return CampaignAsync(options, CommandOf(request), request.Yes, console, cancel);
    });

    public int CampaignReplay(CampaignReplayRequest request, CliConsole console, CancellationToken cancel) => Run(() =>
    {
        CampaignArm[] arms = ArmsOf(request.Arms);
        CampaignRecord[] all = [.. CampaignResults.Read(request.Campaign).Records.Where(r => r.Fault is not null && r.Arm is not null && request.Kernels.Any(line => KernelPackages.IsOf(r.Kernel, line)))];
        if (request.Only.FirstOrDefault(o => !Array.Exists(all, r => r.Workload == o.Workload && r.Trial == o.Trial)) is { Workload: not null } missing)
            throw new LabException($"{request.Campaign} has no fault {missing.Workload}:{missing.Trial} that was run");
        CampaignRecord[] again = request.Only.Count > 0 ? [.. all.Where(r => request.Only.Contains((r.Workload, r.Trial)))] : [.. all.Where(r => arms.Contains(r.Arm!.Value) && ArmFigures.HasManifested(r) && !r.Lives)];
        if (again.Length == 0)
            throw new LabException($"{request.Campaign} has no guest that was not saved in {string.Join(", ", request.Arms)}; name faults with --only");
        var options = new CampaignOptions
        {
            Lines = request.Kernels, Workloads = [.. CampaignWorkload.All.Where(w => Array.Exists(again, r => r.Workload == w.Name))], Trials = 0, Seed = again[0].CampaignSeed ?? 0, IsPersistent = again[0].IsPersistent, Again = again,
            Arms = arms, Panacea = PanaceaProgram.Self(), Directory = request.Directory,
        };
        string only = request.Only.Count == 0 ? "" : $" --only {string.Join(',', request.Only.Select(o => string.Create(CultureInfo.InvariantCulture, $"{o.Workload}:{o.Trial}")))}";
        return CampaignAsync(options, $"panacea campaign replay {request.Campaign} --output DIR --kernels {string.Join(',', request.Kernels)} --arms {string.Join(',', request.Arms)}{only}", request.Yes, console, cancel);
    });

    private static async Task<int> CampaignAsync(CampaignOptions options, string command, bool yes, CliConsole console, CancellationToken cancel)
    {
        IReadOnlyList<Prerequisite> missing = Prerequisites.Missing(PrerequisiteUse.Guests);
        await Prerequisites.EnsureAsync(PrerequisiteUse.Guests, yes || (missing.Count > 0 && Asking(console)?.Invoke(missing) == true), null, console.Note, cancel);
        BenchHost host = await HostFacts.ReadAsync((await PanaceaProgram.Self().StartColdAsync(cancel)).Version, cancel);
        string processors = string.Create(CultureInfo.InvariantCulture, $"{host.Cpu}, {host.Cpus} logical CPUs");
        Directory.CreateDirectory(options.Directory);
        CampaignResults.Describe(options.Directory, new CampaignDescription(command, options.Seed, DateOnly.FromDateTime(DateTime.UtcNow), processors, host.Qemu, host.Panacea));
        await new FaultCampaign(options, console.Note).RunAsync(cancel);
        Write([options.Directory], options.Directory, console);
        return ExitCodes.Ok;
    }

    private static CampaignArm[] ArmsOf(IReadOnlyList<string> names) => [.. Enum.GetValues<CampaignArm>().Where(a => names.Contains(CampaignFile.NameOf(a)))];

    public int CampaignReport(CampaignReportRequest request, CliConsole console) => Run(() =>
    {
        Write(request.Campaigns, request.Output, console);
        return Task.FromResult(ExitCodes.Ok);
    });

    /// <summary>Writes the reports of one campaign, or of several together.</summary>
    private static void Write(IReadOnlyList<string> campaigns, string output, CliConsole console)
    {
        CampaignResults[] parts = [.. campaigns.Select(CampaignResults.Read)];
        CampaignStatistics statistics = CampaignStatistics.OfAll(parts);
        string[] notes =
        [
            .. parts.Select(p => p.Description).OfType<CampaignDescription>().Select(d => string.Create(CultureInfo.InvariantCulture,
                $"{(parts.Length > 1 ? $"Seed {d.Seed}: run" : "Run")} on {d.Written:yyyy-MM-dd}, on {d.Host}, QEMU {d.Qemu}, Panacea {d.Panacea}. To run it again: {d.Command}")),
        ];
        const string heading = "Fault injection";
        string markdown = Path.Combine(output, "report.md"), html = Path.Combine(output, "report.html");
        try
        {
            Directory.CreateDirectory(output);
            File.WriteAllText(markdown, CampaignMarkdown.Of(statistics, heading, notes));
            File.WriteAllText(html, CampaignHtml.Of(statistics, heading, notes));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new LabException($"the report can't be written to {output}: {e.Message}", e);
        }

        console.Out.WriteLine($"{markdown}\n{html}");
    }

    private static string CommandOf(CampaignRequest request) => string.Create(
        CultureInfo.InvariantCulture,
        $"panacea campaign --output DIR --kernels {string.Join(',', request.Kernels)} --workloads {string.Join(',', request.Workloads)} --trials {request.Trials} --seed {request.Seed} --arms {string.Join(',', request.Arms)}{(request.WhereManifested.Count > 0 ? $" --where-manifested {string.Join(',', request.WhereManifested)}" : "")}{(request.Faults.Count > 0 ? $" --faults {string.Join(',', request.Faults)}" : "")}{(request.At is { } at ? $" --at {at}" : "")}{(request.IsPersistent ? " --persistent" : "")}");

    private static int Run(Func<Task<int>> work)
    {
        try
        {
            return work().GetAwaiter().GetResult();
        }
        catch (Exception failure) when (failure is LabException or TimeoutException)
        {
            throw new CliException(ExitCodes.Failure, failure.Message, failure);
        }
    }

    private static ProgressLine? Watched(CliConsole console) => console.IsInteractive ? new ProgressLine(console.ErrorScreen) : null;

    /// <summary>Lists what is missing and asks once; null where nobody can answer.</summary>
    private static Func<IReadOnlyList<Prerequisite>, bool>? Asking(CliConsole console) => Console.IsInputRedirected || !console.IsInteractive ? null : missing =>
    {
        console.Error.WriteLine("This needs, and does not find:");
        foreach (Prerequisite each in missing)
            console.Error.WriteLine($"  {each.Package,-18}{each.Why}");
        console.Error.Write($"Install with: {Prerequisites.InstallCommand(missing)} ? [y/N] ");
        return Console.ReadLine()?.Trim().StartsWith("y", StringComparison.OrdinalIgnoreCase) == true;
    };
}
