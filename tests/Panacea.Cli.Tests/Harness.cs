using Panacea.Cli.CommandLine;
using Panacea.Cli.Output;
using Panacea.Cli.Services;
using Panacea.Cli.Services.Inspection;
using Panacea.Daemon;
using Panacea.Diagnosis.Validators;
using Panacea.Sessions;
using Panacea.Sessions.Control;
using Panacea.Sessions.Dumping;

namespace Panacea.Cli.Tests;

/// <summary>What a run of the program wrote and exited with.</summary>
internal sealed record Outcome(int ExitCode, string Out, string Error);

/// <summary>Runs the program in this process, over services that a test controls.</summary>
internal sealed class Harness : IGuardFactory, IImageService, IInspectionService, IDiagnosisService, ICheckUpService, IDumpService, ICloneService, IGuestRequestService, ILab
{
    public Func<TargetName, GuardOptions, ISessionSink, IGuardSession>? Guard { get; init; }

    public Func<TargetName, string, ImageSummary>? BuildImage { get; init; }

    public Func<string, ImageSummary>? ShowFile { get; init; }

    public Func<string, TargetName, ImageMatch>? VerifyImage { get; init; }

    public Func<SourceName, IInspectionSession>? Inspect { get; init; }

    public FakeTerminal Terminal { get; init; } = new();

    public string? History { get; init; }

    /// <summary>Everything that the program stands on.</summary>
    public CliServices Services => new() { Guards = this, Images = this, Inspection = this, Diagnosis = Diagnosis ?? this, CheckUps = this, Dumps = this, Clones = this, Requests = this, Lab = this, Terminal = () => Terminal, History = History };

    /// <summary>In the place of <see cref="Says"/>.</summary>
    public IDiagnosisService? Diagnosis { get; init; }

    public Func<SourceName, DiagnosisAnswer>? Says { get; init; }

    public Func<SourceName, IReadOnlyList<string>, string?, CheckUpReport>? Checks { get; init; }

    public Func<TargetName, DumpRequest, Action<DumpProgress>, DumpAnswer>? Dumps { get; init; }

    public Func<TargetName, bool, IClonedVm>? Clones { get; init; }

    public Func<TargetName, GuestRequest, GuestAnswer>? Answers { get; init; }

    public GuestAnswer Ask(TargetName target, GuestRequest request, CancellationToken cancel) => Answers!(target, request);

    public Func<DemoRequest, int>? RunDemo { get; init; }

    public Outcome Run(params string[] args)
    {
        var output = new StringWriter { NewLine = "\n" };
        var error = new StringWriter { NewLine = "\n" };
        int code = CliApplication.Run(args, new CliConsole(output, error, colourOut: false, colourError: false), Services);
        return new Outcome(code, output.ToString(), error.ToString());
    }

    public GuardedVm Create(TargetName target, GuardOptions options) => new(target.Text, sink => Guard!(target, options, sink));

    public ImageSummary Build(TargetName target, string file, CancellationToken cancel) => BuildImage!(target, file);

    public ImageSummary Show(string file) => ShowFile!(file);

    public ImageSummary Show(TargetName target, CancellationToken cancel) => BuildImage!(target, "");

    public ImageMatch Verify(string file, TargetName target, CancellationToken cancel) => VerifyImage!(file, target);

    public IInspectionSession Open(SourceName source, CancellationToken cancel) => Inspect!(source);

    public DiagnosisAnswer Diagnose(SourceName source, DiagnosisOptions options, CancellationToken cancel)
    {
        Options = options;
        return Says!(source);
    }

    /// <summary>What the last diagnosis was to be held against.</summary>
    public DiagnosisOptions? Options { get; private set; }

    public CheckUpReport Check(SourceName source, IReadOnlyList<string> only, string? image, CancellationToken cancel) => Checks!(source, only, image);

    public IClonedVm Clone(TargetName target, bool run) => Clones!(target, run);

    public DumpAnswer Dump(TargetName target, DumpRequest request, Action<DumpProgress> progress, CancellationToken cancel) => Dumps!(target, request, progress);

    public int Demo(DemoRequest request, CliConsole console, CancellationToken cancel) => RunDemo!(request);

    public int Bench(BenchRequest request, CliConsole console, CancellationToken cancel)
    {
        Benched = request;
        return 0;
    }

    /// <summary>The last benchmark that was asked for.</summary>
    public BenchRequest? Benched { get; private set; }

    public int Campaign(CampaignRequest request, CliConsole console, CancellationToken cancel)
    {
        Campaigned = request;
        return 0;
    }

    /// <summary>The last campaign that was asked for.</summary>
    public CampaignRequest? Campaigned { get; private set; }

    public int CampaignReplay(CampaignReplayRequest request, CliConsole console, CancellationToken cancel)
    {
        Replayed = request;
        return ExitCodes.Ok;
    }

    public CampaignReplayRequest? Replayed { get; private set; }

    public int CampaignReport(CampaignReportRequest request, CliConsole console)
    {
        Reported = request;
        return ExitCodes.Ok;
    }

    public CampaignReportRequest? Reported { get; private set; }
}
