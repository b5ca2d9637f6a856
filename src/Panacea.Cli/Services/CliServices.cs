using Panacea.Cli.CommandLine;
using Panacea.Cli.Output;
using Panacea.Cli.Prompt;
using Panacea.Cli.Services.Inspection;
using Panacea.Daemon;
using Panacea.Diagnosis.ConsoleLog;
using Panacea.Diagnosis.KnownIssues;
using Panacea.Diagnosis.Machine;
using Panacea.Diagnosis.Validators;
using Panacea.Kernel.Subsystems;
using Panacea.Sessions;
using Panacea.Sessions.Control;
using Panacea.Sessions.Dumping;

namespace Panacea.Cli.Services;

/// <summary>What the commands stand on; tests give their own.</summary>
internal sealed record CliServices
{
    /// <summary>Guarding.</summary>
    public required IGuardFactory Guards { get; init; }

    /// <summary>Repair images.</summary>
    public required IImageService Images { get; init; }

    /// <summary>Looking into a guest.</summary>
    public required IInspectionService Inspection { get; init; }

    /// <summary>Diagnosing a guest or a dump.</summary>
    public required IDiagnosisService Diagnosis { get; init; }

    /// <summary>Dumping a guest.</summary>
    public required IDumpService Dumps { get; init; }

    /// <summary>Copying a running VM.</summary>
    public required ICloneService Clones { get; init; }

    /// <summary>Fuses and the quarantine.</summary>
    public required IGuestRequestService Requests { get; init; }

    /// <summary>Checking the structures of a guest or a dump.</summary>
    public required ICheckUpService CheckUps { get; init; }

    /// <summary>The demonstration and the benchmark.</summary>
    public required ILab Lab { get; init; }

    /// <summary>Where lines are read for the prompt of <c>inspect</c>.</summary>
    public required Func<IPromptTerminal> Terminal { get; init; }

    /// <summary>Where that prompt keeps its history; null where it keeps none.</summary>
    public string? History { get; init; }

    /// <summary>Clock.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>The real ones.</summary>
    public static CliServices Real() => new()
    {
        Guards = new LiveGuards(),
        Images = new LiveImages(),
        Inspection = new KernelInspections(),
        Diagnosis = new KernelDiagnosis(),
        Dumps = new LiveDumps(),
        Clones = new LiveClones(),
        Requests = new LiveRequests(),
        CheckUps = new KernelCheckUps(),
        Lab = new LiveLab(),
        Terminal = () => new ProcessTerminal(),
        History = StatePaths.InspectHistory,
    };
}

/// <summary>Makes guard sessions.</summary>
internal interface IGuardFactory
{
    /// <summary>Prepares the guarding of one VM; touches nothing yet.</summary>
    GuardedVm Create(TargetName target, GuardOptions options);
}

/// <summary>Builds, reads and compares repair images.</summary>
internal interface IImageService
{
    /// <summary>Builds the image of a running guest and writes it to <paramref name="file"/>.</summary>
    ImageSummary Build(TargetName target, string file, CancellationToken cancel);

    /// <summary>Describes an image file.</summary>
    ImageSummary Show(string file);

    /// <summary>Describes the image that a running guest would get; writes no file.</summary>
    ImageSummary Show(TargetName target, CancellationToken cancel);

    /// <summary>Compares an image file with a running guest.</summary>
    ImageMatch Verify(string file, TargetName target, CancellationToken cancel);
}

/// <summary>Diagnoses.</summary>
internal interface IDiagnosisService
{
    /// <summary>Says everything about a running guest, a dump or a console log.</summary>
    /// <param name="source">What is to be diagnosed.</param>
    /// <param name="options">What else it is to be held against.</param>
    /// <param name="cancel">Ends it.</param>
    DiagnosisAnswer Diagnose(SourceName source, DiagnosisOptions options, CancellationToken cancel);
}

/// <summary>What a diagnosis is to be held against.</summary>
/// <param name="KnownIssues">Rules of known issues.</param>
/// <param name="DebugInfo">Directories and files with debug information; empty for none.</param>
internal sealed record DiagnosisOptions(KnownIssueMatcher KnownIssues, IReadOnlyList<string> DebugInfo);

/// <summary>What was said: of a machine, or of a log.</summary>
/// <param name="Machine">Of a machine; null for a log.</param>
/// <param name="Log">Of a log; null for a machine.</param>
internal sealed record DiagnosisAnswer(MachineReport? Machine, LogDiagnosis? Log);

/// <summary>Dumps guests.</summary>
internal interface IDumpService
{
    /// <summary>Writes a dump of a guest, which stands still meanwhile and goes on afterwards if it ran before.</summary>
    /// <param name="target">The guest.</param>
    /// <param name="request">What is to be written.</param>
    /// <param name="progress">Told how far it is, while the guest stands.</param>
    /// <param name="cancel">Ends it; nothing is left of the file then.</param>
    DumpAnswer Dump(TargetName target, DumpRequest request, Action<DumpProgress> progress, CancellationToken cancel);
}

/// <summary>Copies VMs.</summary>
internal interface ICloneService
{
    /// <summary>Makes a copy of a VM.</summary>
    /// <param name="target">The VM.</param>
    /// <param name="run">The copy runs; else it stands where the original stood.</param>
    IClonedVm Clone(TargetName target, bool run);
}

/// <summary>A copy of a VM. Nothing is left of it when it is disposed of.</summary>
internal interface IClonedVm : IDisposable
{
    /// <summary>Where it is.</summary>
    CloneAnswer Answer { get; }

    /// <summary>It has ended by itself.</summary>
    bool HasEnded { get; }
}

/// <summary>A copy of a VM, for people and scripts.</summary>
/// <param name="Pid">Process id of its QEMU.</param>
/// <param name="Qmp">Its QMP socket.</param>
/// <param name="Gdb">The socket of its gdb stub.</param>
/// <param name="Consoles">Sockets of its serial ports and channels.</param>
/// <param name="MemoryBytes">Bytes of memory that were copied.</param>
/// <param name="StoppedUs">Microseconds for which the original stood still; null where it stood already.</param>
internal sealed record CloneAnswer(int Pid, string Qmp, string Gdb, IReadOnlyList<string> Consoles, long MemoryBytes, long? StoppedUs);

/// <summary>Asks things of guests, by their guards where they have some.</summary>
internal interface IGuestRequestService
{
    /// <summary>Asks one.</summary>
    GuestAnswer Ask(TargetName target, GuestRequest request, CancellationToken cancel);
}

/// <summary>What is to be dumped.</summary>
/// <param name="File">The file to write.</param>
/// <param name="Level">What is to be left out.</param>
/// <param name="Force">A file that is there already is replaced.</param>
internal sealed record DumpRequest(string File, PageFilterLevel Level, bool Force);

/// <summary>A dump that was written.</summary>
/// <param name="Dump">The dump.</param>
/// <param name="Stopped">How long the guest was stopped for it; null where it stood already.</param>
internal sealed record DumpAnswer(DumpRecord Dump, TimeSpan? Stopped);

/// <summary>Checks the structures of kernels.</summary>
internal interface ICheckUpService
{
    /// <summary>Runs validators over a running guest, which is not stopped, or over a dump.</summary>
    /// <param name="source">What is to be checked.</param>
    /// <param name="only">Names of validators; empty for all.</param>
    /// <param name="image">File of an image made earlier in the same boot; null for none.</param>
    /// <param name="cancel">Ends it.</param>
    CheckUpReport Check(SourceName source, IReadOnlyList<string> only, string? image, CancellationToken cancel);
}

/// <summary>What needs guests of our own.</summary>
internal interface ILab
{
    /// <summary>The tour.</summary>
    int Demo(DemoRequest request, CliConsole console, CancellationToken cancel);

    /// <summary>A benchmark.</summary>
    int Bench(BenchRequest request, CliConsole console, CancellationToken cancel);

    /// <summary>The campaign of faults.</summary>
    int Campaign(CampaignRequest request, CliConsole console, CancellationToken cancel);

    /// <summary><c>campaign replay</c>: faults of an earlier campaign, tried again.</summary>
    int CampaignReplay(CampaignReplayRequest request, CliConsole console, CancellationToken cancel);

    /// <summary><c>campaign report</c>: what campaigns that were run come to.</summary>
    int CampaignReport(CampaignReportRequest request, CliConsole console);
}

/// <summary>Options of <c>demo</c>.</summary>
/// <param name="Json">JSON lines instead of the shown tour.</param>
/// <param name="Yes">Install what is missing without asking.</param>
/// <param name="Kernel">The guest's kernel line.</param>
internal sealed record DemoRequest(bool Json, bool Yes, string Kernel);

/// <summary>Options of <c>campaign replay</c>.</summary>
/// <param name="Campaign">Directory of the earlier campaign.</param>
/// <param name="Directory">Where the new results go.</param>
/// <param name="Only">Workload and number of the faults; empty for all whose guests were not saved.</param>
/// <param name="Kernels">Kernel lines.</param>
/// <param name="Arms">Names of arms.</param>
/// <param name="Yes">Install what is missing without asking.</param>
internal sealed record CampaignReplayRequest(string Campaign, string Directory, IReadOnlyList<(string Workload, int Trial)> Only, IReadOnlyList<string> Kernels, IReadOnlyList<string> Arms, bool Yes);

/// <summary>Options of <c>campaign report</c>.</summary>
/// <param name="Campaigns">Directories of campaigns.</param>
/// <param name="Output">Where the reports go.</param>
internal sealed record CampaignReportRequest(IReadOnlyList<string> Campaigns, string Output);

/// <summary>Options of <c>campaign</c>.</summary>
/// <param name="Yes">Install what is missing without asking.</param>
/// <param name="Directory">Directory of the results.</param>
/// <param name="Trials">Faults for each kernel and workload.</param>
/// <param name="Seed">What is chosen.</param>
/// <param name="Kernels">Kernel lines.</param>
/// <param name="Workloads">Names of workloads.</param>
/// <param name="Faults">Names of kinds of faults; empty for the usual ones.</param>
/// <param name="Arms">Names of arms.</param>
/// <param name="WhereManifested">Of these, arms that are run only for faults that did something in one of the others.</param>
/// <param name="At">Where faults of code are; null by seed.</param>
/// <param name="IsPersistent">Faults of code stay for ever.</param>
internal sealed record CampaignRequest(
    bool Yes, string Directory, int Trials, ulong Seed, IReadOnlyList<string> Kernels, IReadOnlyList<string> Workloads, IReadOnlyList<string> Faults, IReadOnlyList<string> Arms, IReadOnlyList<string> WhereManifested,
    string? At, bool IsPersistent);
