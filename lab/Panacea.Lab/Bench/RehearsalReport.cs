using System.Text.Json;
using System.Text.Json.Serialization;

namespace Panacea.Lab.Bench;

/// <summary>Everything that <c>bench rehearsal</c> measured; its JSON is this, members in snake_case. Durations are in microseconds.</summary>
public sealed record RehearsalReport
{
    /// <summary>When, UTC.</summary>
    public required DateTimeOffset At { get; init; }

    /// <summary>The command that repeats it.</summary>
    public required string Command { get; init; }

    /// <summary>Where.</summary>
    public required BenchHost Host { get; init; }

    /// <summary>Each kind of crash on each guest.</summary>
    public required IReadOnlyList<RehearsalFigures> Rows { get; init; }

    /// <summary>Every crash was recovered from, with the plans that were expected.</summary>
    public bool Ok => Rows.Count > 0 && Rows.All(r => r.Failures.Count == 0);
}

/// <summary>What was measured of one kind of crash on one guest.</summary>
/// <param name="Line">The kernel line, as 6.1.</param>
/// <param name="MemoryMiB">RAM of the guest.</param>
/// <param name="Crash">The crash.</param>
/// <param name="Plans">Plans that were rehearsed, the last of which went to the guest; 0 where the guard rehearses nothing.</param>
/// <param name="StoppedUs">Time for which the guest stood, by QEMU's STOP and RESUME; null where no crash was recovered from.</param>
/// <param name="PlanUs">What each plan took, the copy's start included; null where none was rehearsed.</param>
/// <param name="Failures">What was not as it should be.</param>
public sealed record RehearsalFigures(
    string Line, [property: JsonPropertyName("memory_mib")] int MemoryMiB, string Crash, int Plans, Figures? StoppedUs, Figures? PlanUs, IReadOnlyList<string> Failures);

/// <summary>JSON shape of that benchmark.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true)]
[JsonSerializable(typeof(RehearsalReport))]
public sealed partial class RehearsalBenchJson : JsonSerializerContext;
