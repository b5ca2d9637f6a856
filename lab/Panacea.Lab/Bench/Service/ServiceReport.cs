using System.Text.Json.Serialization;

namespace Panacea.Lab.Bench.Service;

/// <summary>Everything that <c>bench service</c> measured; its JSON is this, members in snake_case. Durations are in microseconds.</summary>
public sealed record ServiceReport
{
    /// <summary>When, UTC.</summary>
    public required DateTimeOffset At { get; init; }

    /// <summary>The command that repeats it.</summary>
    public required string Command { get; init; }

    /// <summary>Where.</summary>
    public required BenchHost Host { get; init; }

    /// <summary>Each service on each kernel.</summary>
    public required IReadOnlyList<ServiceFigures> Services { get; init; }

    /// <summary>Every crash was recovered from, no acknowledged work was lost by it, and the alternatives could be measured.</summary>
    public bool Ok => Services.Count > 0 && Services.All(s => s.Failures.Count == 0);
}

/// <summary>What the client of one service saw.</summary>
public sealed record ServiceFigures
{
    /// <summary>The kernel line, as 6.1.</summary>
    public required string Line { get; init; }

    /// <summary>The service.</summary>
    public required string Service { get; init; }

    /// <summary>What one operation of it is.</summary>
    public required string Operation { get; init; }

    /// <summary>Each crash under guard.</summary>
    public required IReadOnlyList<CrashFigures> Crashes { get; init; }

    /// <summary>The client's longest pause in windows with no crash.</summary>
    public Figures? QuietGapUs { get; init; }

    /// <summary>The client's pause where the guest reboots.</summary>
    public Figures? RebootGapUs { get; init; }

    /// <summary>Acknowledged operations that are gone after the reboot, per reboot; null where they are not kept anyway.</summary>
    public Figures? RebootLost { get; init; }

    /// <summary>The client's pause where the VM is set back to a snapshot.</summary>
    public Figures? SnapshotGapUs { get; init; }

    /// <summary>Acknowledged operations that are gone after that; null where they are not kept anyway.</summary>
    public Figures? SnapshotLost { get; init; }

    /// <summary>Seconds of work since the snapshot.</summary>
    public required double SnapshotAgeSeconds { get; init; }

    /// <summary>What was not as it should be.</summary>
    public required IReadOnlyList<string> Failures { get; init; }
}

/// <summary>What one crash came to under guard.</summary>
/// <param name="Crash">Cause and context, as the crash-test driver has them.</param>
/// <param name="Made">How often it was made.</param>
/// <param name="Recovered">How often it was recovered from.</param>
/// <param name="Repairs">Repairs that were used.</param>
/// <param name="StoppedUs">Time for which the guest stood, by QEMU's STOP and RESUME; null where nothing was recovered from.</param>
/// <param name="GapUs">The client's longest pause between two acknowledged operations around it.</param>
public sealed record CrashFigures(string Crash, int Made, int Recovered, IReadOnlyList<string> Repairs, Figures? StoppedUs, Figures? GapUs);

/// <summary>JSON shape of that benchmark.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true)]
[JsonSerializable(typeof(ServiceReport))]
public sealed partial class ServiceBenchJson : JsonSerializerContext;
