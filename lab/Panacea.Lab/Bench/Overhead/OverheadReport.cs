using System.Text.Json.Serialization;

namespace Panacea.Lab.Bench.Overhead;

/// <summary>Everything that <c>bench overhead</c> measured; its JSON is this, members in snake_case.</summary>
public sealed record OverheadReport
{
    /// <summary>When, UTC.</summary>
    public required DateTimeOffset At { get; init; }

    /// <summary>The command that repeats it.</summary>
    public required string Command { get; init; }

    /// <summary>Where.</summary>
    public required BenchHost Host { get; init; }

    /// <summary>Each kind of work on each kernel.</summary>
    public required IReadOnlyList<OverheadFigures> Work { get; init; }

    /// <summary>The guard of each kernel's guest while that has nothing to do.</summary>
    public required IReadOnlyList<IdleFigures> Idle { get; init; }

    /// <summary>Everything could be measured.</summary>
    public bool Ok => Work.Count > 0 && Work.All(w => w.Failures.Count == 0);
}

/// <summary>What a guard takes from one kind of work.</summary>
/// <param name="Line">The kernel line, as 6.1.</param>
/// <param name="Work">The work.</param>
/// <param name="Operation">What one operation of it is.</param>
/// <param name="Rate">Operations a second without a guard, median of the rounds; null where nothing was measured.</param>
/// <param name="ByTime">Operations a second with a guard over those without, a value for each round.</param>
/// <param name="ByProcessor">The same for operations per second of QEMU's processor time.</param>
/// <param name="BreakpointsByProcessor">The same where nobody guards, and QEMU has the guard's breakpoints all the same.</param>
/// <param name="Guard">The guard meanwhile.</param>
/// <param name="Failures">What was not as it should be.</param>
public sealed record OverheadFigures(
    string Line, string Work, string Operation, double? Rate, MedianInterval? ByTime, MedianInterval? ByProcessor, MedianInterval? BreakpointsByProcessor, GuardFootprint? Guard, IReadOnlyList<string> Failures);

/// <summary>A guard whose guest has nothing to do.</summary>
/// <param name="Line">The kernel line.</param>
/// <param name="Guard">The guard.</param>
public sealed record IdleFigures(string Line, GuardFootprint Guard);

/// <summary>JSON shape of that benchmark.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true)]
[JsonSerializable(typeof(OverheadReport))]
public sealed partial class OverheadBenchJson : JsonSerializerContext;
