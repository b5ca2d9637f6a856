using System.Text.Json.Serialization;
using Panacea.Diagnosis.DebugInfo;
using Panacea.Diagnosis.KnownIssues;
using Panacea.Formats.ConsoleLog;
using Panacea.Formats.Dwarf;

namespace Panacea.Diagnosis.ConsoleLog;

/// <summary>What a report of a log is to the others.</summary>
[JsonConverter(typeof(KebabEnumConverter<LogRank>))]
public enum LogRank
{
    /// <summary>The first that went wrong in its boot, as far as the log shows.</summary>
    FirstCause,
    /// <summary>Follows from an earlier one.</summary>
    Consequence,
    /// <summary>The same again.</summary>
    Repeat,
    /// <summary>Nothing shows that it has to do with another.</summary>
    Independent,
    /// <summary>No crash: what was going on around it.</summary>
    Circumstance,
}

/// <summary>A place in the kernel's code as a log names it: symbolic, as a rule without an address.</summary>
/// <param name="Function">Function; null where the log has only an address.</param>
/// <param name="Offset">Bytes from its start.</param>
/// <param name="Size">Its size in bytes; 0 where it is not told.</param>
/// <param name="Module">Module, or null for the kernel itself.</param>
/// <param name="Address">Address; null where it is not told.</param>
public sealed record LogLocation(string? Function, ulong Offset, ulong Size, string? Module, ulong? Address)
{
    /// <summary>The line of source that stands in <see cref="Function"/>; null without debug information.</summary>
    public SourceLine? Source { get; init; }

    /// <summary>Functions that the compiler has put into it there, innermost first; empty without debug information.</summary>
    public IReadOnlyList<InlinedCall> Inlined { get; init; } = [];

    internal static LogLocation Of(LogFrame frame) => new(frame.Function, frame.Offset, frame.Size, frame.Module, frame.Address);

    /// <summary>As the kernel prints it.</summary>
    public override string ToString() => Function is null ? $"0x{Address ?? 0:x}" : $"{Function}+0x{Offset:x}/0x{Size:x}{(Module is null ? "" : $" [{Module}]")}";
}

/// <summary>One entry of a stack, innermost first.</summary>
/// <param name="Location">Where.</param>
/// <param name="Reliable">False where the kernel marked it with a question mark.</param>
/// <param name="IsTrap">Execution was interrupted here.</param>
/// <param name="Stack">Which stack it lies on: task, irq, nmi, softirq, #df …; null where the log does not tell.</param>
public sealed record LogStackEntry(LogLocation Location, bool Reliable, bool IsTrap, string? Stack);

/// <summary>Another stack of a report: where an object was allocated or freed, another processor, the other side of a race.</summary>
/// <param name="Title">The kernel's own line above it; empty where there is none.</param>
/// <param name="Entries">Innermost first.</param>
public sealed record LogStack(string Title, IReadOnlyList<LogStackEntry> Entries);

/// <summary>The diagnosis of one report in a log. Its words are those of <see cref="CrashReport"/>.</summary>
public sealed record LogCrash
{
    /// <summary>One line a person can search for; that of <see cref="CrashReport.Title"/> for the same crash.</summary>
    public required string Title { get; init; }

    /// <summary>Equal for the same bug; that of <see cref="CrashReport.Bucket"/> for the same crash.</summary>
    public required string Bucket { get; init; }

    /// <summary>Kind.</summary>
    public required CrashKind Kind { get; init; }

    /// <summary>The cause in one sentence.</summary>
    public required string Cause { get; init; }

    /// <summary>What the processor was running for.</summary>
    public required CrashContext Context { get; init; }

    /// <summary>How sure the function at fault is.</summary>
    public required Confidence Confidence { get; init; }

    /// <summary>The function at fault, generic helpers skipped; null where the report names none.</summary>
    public LogLocation? Location { get; init; }

    /// <summary>What it is to the other reports.</summary>
    public LogRank Rank { get; init; } = LogRank.Independent;

    /// <summary>Why, in words.</summary>
    public string RankReason { get; init; } = "";

    /// <summary>Index in <see cref="LogDiagnosis.Reports"/> of the report that this one follows from or repeats; null where there is none.</summary>
    public int? FollowsFrom { get; init; }

    /// <summary>Which boot of the log it belongs to: index in <see cref="LogDiagnosis.Boots"/>.</summary>
    public required int Boot { get; init; }

    /// <summary>Line of the log at which it begins, from 1.</summary>
    public required long Line { get; init; }

    /// <summary>Nanoseconds since boot; null where the log has no such stamps.</summary>
    public ulong? TimestampNs { get; init; }

    /// <summary>Date as the log has it; null where it has none.</summary>
    public string? WallClock { get; init; }

    /// <summary>The kernel's number of the processor.</summary>
    public int? Cpu { get; init; }

    /// <summary>Thread id of the current task.</summary>
    public int? Pid { get; init; }

    /// <summary>Name of the current task, as the log has it.</summary>
    public string? Comm { get; init; }

    /// <summary>The work that a kworker was doing.</summary>
    public string? Workqueue { get; init; }

    /// <summary>Taint letters, or none; null where the log does not tell.</summary>
    public string? Taint { get; init; }

    /// <summary>Kernel release.</summary>
    public string? KernelRelease { get; init; }

    /// <summary>The kernel's banner of that boot, <c>Linux version …</c>; null where the log does not have it.</summary>
    public string? Banner { get; init; }

    /// <summary>Build: what follows the release, such as <c>#1 Debian 6.1.158-1</c>.</summary>
    public string? KernelBuild { get; init; }

    /// <summary>Hardware name and firmware.</summary>
    public string? Hardware { get; init; }

    /// <summary>Source file and line, where the kernel names them.</summary>
    public string? Source { get; init; }

    /// <summary>The access that failed, where the crash is one.</summary>
    public ReportFault? Fault { get; init; }

    /// <summary>What panic() said: of this report, or of the panic that followed from it.</summary>
    public string? PanicMessage { get; init; }

    /// <summary>The stack, innermost first.</summary>
    public required IReadOnlyList<LogStackEntry> Stack { get; init; }

    /// <summary>Other stacks of the report.</summary>
    public IReadOnlyList<LogStack> OtherStacks { get; init; } = [];

    /// <summary>Registers by their usual names in lower case; only those that the log has.</summary>
    public required IReadOnlyDictionary<string, ulong> Registers { get; init; }

    /// <summary>The code bytes of the log as instructions.</summary>
    public IReadOnlyList<string> Disassembly { get; init; } = [];

    /// <summary>Modules that were loaded, with their taints in brackets.</summary>
    public IReadOnlyList<string> Modules { get; init; } = [];

    /// <summary>What else the report says, by name.</summary>
    public IReadOnlyList<LogFact> Details { get; init; } = [];

    /// <summary>Known issues that it looks like, the surest first; empty where no rules were given or none matched.</summary>
    public IReadOnlyList<KnownIssue> KnownIssues { get; init; } = [];

    /// <summary>What the log does not have, and why that matters.</summary>
    public required IReadOnlyList<string> Unavailable { get; init; }
}

/// <summary>The diagnosis of a console log. The JSON shape is docs/log-diagnosis.schema.json.</summary>
public sealed record LogDiagnosis
{
    /// <summary>Version of the JSON shape: members are added within a version, never renamed or removed.</summary>
    public int Schema { get; init; } = 1;

    /// <summary>Its reports, in the order of the log.</summary>
    public required IReadOnlyList<LogCrash> Reports { get; init; }

    /// <summary>Index of the report that a reader should begin with: the first cause of the first boot that crashed, a crash kernel's only where there is no other; null where there is no report.</summary>
    public int? First { get; init; }

    /// <summary>The kernels that wrote the log, in its order; empty where nothing in it is a kernel's.</summary>
    public IReadOnlyList<LogBoot> Boots { get; init; } = [];

    /// <summary>Lines read, boots seen, what was left out.</summary>
    public required LogStatistics Log { get; init; }

    /// <summary>Files whose debug information was used.</summary>
    public IReadOnlyList<UsedDebugFile> DebugFiles { get; init; } = [];

    /// <summary>What about the log as a whole limits the diagnosis.</summary>
    public required IReadOnlyList<string> Unavailable { get; init; }
}

/// <summary>JSON shape of a log's diagnosis: members snake_case, values of closed lists kebab-case, as in incident.json.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true)]
[JsonSerializable(typeof(LogDiagnosis))]
public sealed partial class LogDiagnosisJson : JsonSerializerContext;
