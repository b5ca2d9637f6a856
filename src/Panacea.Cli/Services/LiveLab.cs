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

    public int Campaign(CampaignRequest request, CliConsole console, CancellationToken cancel) => Run(async () =>
    {
        CampaignArm[] ArmsOf(IReadOnlyList<string> names) => [.. Enum.GetValues<CampaignArm>().Where(a => names.Contains(CampaignFile.NameOf(a)))];
        var options = new CampaignOptions
        {
            Lines = request.Kernels, Workloads = [.. request.Workloads.Select(w => CampaignWorkload.Find(w)!)], Trials = request.Trials, Seed = request.Seed,
            Types = request.Faults.Count == 0 ? FaultChoice.Usual : [.. request.Faults.Select(f => FaultKinds.Find(f)!.Type)], At = request.At, IsPersistent = request.IsPersistent, Arms = ArmsOf(request.Arms),
            WhereManifested = ArmsOf(request.WhereManifested), Panacea = PanaceaProgram.Self(), Directory = request.Directory,
        };
        IReadOnlyList<Prerequisite> missing = Prerequisites.Missing(PrerequisiteUse.Guests);
        await Prerequisites.EnsureAsync(PrerequisiteUse.Guests, request.Yes || (missing.Count > 0 && Asking(console)?.Invoke(missing) == true), null, console.Note, cancel);
        BenchHost host = await HostFacts.ReadAsync((await PanaceaProgram.Self().StartColdAsync(cancel)).Version, cancel);
        string processors = string.Create(CultureInfo.InvariantCulture, $"{host.Cpu}, {host.Cpus} logical CPUs");
        Directory.CreateDirectory(request.Directory);
        CampaignResults.Describe(request.Directory, new CampaignDescription(CommandOf(request), request.Seed, DateOnly.FromDateTime(DateTime.UtcNow), processors, host.Qemu, host.Panacea));
        await new FaultCampaign(options, console.Note).RunAsync(cancel);
        Write([request.Directory], request.Directory, console);
        return ExitCodes.Ok;
    });

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
