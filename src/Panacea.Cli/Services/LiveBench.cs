using Panacea.Cli.Output;
using Panacea.Lab.Bench;
using Panacea.Lab.Bench.Overhead;
using Panacea.Lab.Bench.Scale;
using Panacea.Lab.Bench.Service;
using Panacea.Lab.Setup;
using Panacea.Lab.Tour;
using Panacea.Lab.Workloads;
using Spectre.Console;

namespace Panacea.Cli.Services;

/// <summary>Runs a benchmark and shows what it came to.</summary>
internal static class LiveBench
{
    /// <summary>How long guards are watched where there are many of them.</summary>
    private static readonly TimeSpan Watched = TimeSpan.FromSeconds(5);

    /// <summary>Runs it.</summary>
    /// <param name="request">What was asked for.</param>
    /// <param name="ask">Shows what is missing and asks whether to install it; null where nobody can be asked.</param>
    /// <param name="console">Where to.</param>
    /// <param name="cancel">Gives up.</param>
    /// <returns>Everything was as it should be.</returns>
    public static async Task<bool> RunAsync(BenchRequest request, Func<IReadOnlyList<Prerequisite>, bool>? ask, CliConsole console, CancellationToken cancel)
    {
        // Before the guests boot, not after they have crashed for minutes.
        string? docs = request.UpdateDocs ? GeneratedDocument.Find(Environment.CurrentDirectory, BenchRequest.DocumentOf(request.Kind)) : null;
        var options = new BenchOptions { Panacea = PanaceaProgram.Self(), Lines = request.Kernels, AssumeYes = request.Yes, Ask = ask, Crashes = request.Count, Rounds = request.Count };
        if (request.Kind is BenchKind.Overhead or BenchKind.Scale)
            options = options with { Idle = Watched };
        if (request.Workloads.Count > 0)
            options = options with { Services = [.. request.Workloads.Select(w => MeasuredService.Find(w)!)] };
        var progress = new ProgressLine(request.Json ? console.ErrorScreen : console.OutScreen);
        return request.Kind switch
        {
            BenchKind.Recovery => Finish(await new RecoveryBench(options, progress).RunAsync(cancel), r => r.Ok, BenchRendering.Json, BenchRendering.Show, PerformanceDocument.Update),
            BenchKind.Rehearsal => Finish(await new RehearsalBench(options, progress).RunAsync(cancel), r => r.Ok, RehearsalRendering.Json, RehearsalRendering.Show, PerformanceDocument.Update),
            BenchKind.Diagnosis => Finish(await new DiagnosisBench(options, progress).RunAsync(cancel), r => r.Ok, DiagnosisRendering.Json, DiagnosisRendering.Show, PerformanceDocument.Update),
            BenchKind.Service => Finish(await new ServiceBench(options, progress).RunAsync(cancel), r => r.Ok, ServiceRendering.Json, ServiceRendering.Show, EvaluationDocument.Update),
            BenchKind.Overhead => Finish(await new OverheadBench(options, progress).RunAsync(cancel), r => r.Ok, OverheadRendering.Json, OverheadRendering.Show, EvaluationDocument.Update),
            BenchKind.Scale => Finish(await new ScaleBench(options with { Sizes = new ScaleSizes().Only(request.Only) }, progress).RunAsync(cancel), r => r.Ok, ScaleRendering.Json, ScaleRendering.Show, EvaluationDocument.Update),
            _ => throw new ArgumentOutOfRangeException(nameof(request), request.Kind, "no benchmark"),
        };

        bool Finish<T>(T report, Func<T, bool> isOk, Func<T, string> json, Action<T, IAnsiConsole> show, Action<string, T> update)
        {
            if (request.Json)
                console.Out.WriteLine(json(report));
            else
                show(report, console.OutScreen);
            if (docs is not null)
            {
                update(docs, report);
                console.Note($"wrote {docs}");
            }

            return isOk(report);
        }
    }
}
