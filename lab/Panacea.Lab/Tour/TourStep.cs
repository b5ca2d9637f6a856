using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Panacea.Lab.Tour;

/// <summary>A finished step of the tour: one JSON object a line under <c>demo --json</c>, members in snake_case, durations in microseconds.</summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "step")]
[JsonDerivedType(typeof(GuestStep), "guest")]
[JsonDerivedType(typeof(WorkStep), "work")]
[JsonDerivedType(typeof(ImageStep), "image")]
[JsonDerivedType(typeof(GuardStep), "guard")]
[JsonDerivedType(typeof(CrashStep), "crash")]
[JsonDerivedType(typeof(DetachStep), "detach")]
[JsonDerivedType(typeof(CheckStep), "check")]
[JsonDerivedType(typeof(SummaryStep), "summary")]
public abstract record TourStep;

/// <summary>The guest is up.</summary>
/// <param name="Kernel">Its kernel's release.</param>
/// <param name="Accelerator"><c>kvm</c> or <c>tcg</c> (emulation).</param>
/// <param name="Vcpus">Its vCPUs.</param>
/// <param name="MemoryMib">Its RAM in MiB.</param>
/// <param name="Qmp">Its QMP socket, as <c>panacea guard</c> takes it.</param>
/// <param name="BootAttempts">1, or more where emulation lost a race in early boot and the guest was started again.</param>
/// <param name="TookUs">Time to boot.</param>
public sealed record GuestStep(string Kernel, string Accelerator, int Vcpus, int MemoryMib, string Qmp, int BootAttempts, long TookUs) : TourStep;

/// <summary>The guest works, and the client on the host with it.</summary>
/// <param name="RedisPort">Port of its redis on 127.0.0.1.</param>
/// <param name="RedisPid">redis' pid in the guest.</param>
/// <param name="CounterPid">The counter's pid in the guest.</param>
/// <param name="QuietGapUs">The client's longest gap in the first moments, with no crash: what the gaps below are to be compared with.</param>
public sealed record WorkStep(int RedisPort, int RedisPid, int CounterPid, long QuietGapUs) : TourStep;

/// <summary>The repair image is built.</summary>
/// <param name="Command">What was run.</param>
/// <param name="Bytes">Size of the image's file.</param>
/// <param name="BuildUs">Time to build it, while the guest ran.</param>
/// <param name="StoppedUs">Time for which building held the guest; null where it was not told.</param>
public sealed record ImageStep(string Command, long Bytes, long? BuildUs, long? StoppedUs) : TourStep;

/// <summary>The guard is armed.</summary>
/// <param name="Command">What was run.</param>
/// <param name="Kernel">The kernel that it recognised.</param>
/// <param name="StoppedUs">Time for which arming held the guest.</param>
/// <param name="TookUs">From the start of its process to being armed.</param>
public sealed record GuardStep(string Command, string Kernel, long StoppedUs, long TookUs) : TourStep;

/// <summary>One crash and what came of it.</summary>
public sealed record CrashStep : TourStep
{
    /// <summary>1 to 4.</summary>
    public required int Number { get; init; }

    /// <summary>Its name, in two words.</summary>
    public required string Crash { get; init; }

    /// <summary>What crashes, in a sentence.</summary>
    public required string What { get; init; }

    /// <summary>What was run in the guest.</summary>
    public required string Command { get; init; }

    /// <summary>Panacea was guarding.</summary>
    public required bool Guarded { get; init; }

    /// <summary>The diagnosis in one line; null where nobody diagnosed.</summary>
    public string? Cause { get; init; }

    /// <summary>The repair: error-return, unwind, kill, or none.</summary>
    public required string Repair { get; init; }

    /// <summary>recovered, declined, failed; <c>rebooted</c> without Panacea.</summary>
    public required string Outcome { get; init; }

    /// <summary>Time for which the guest stood still; null where it did not stand but died.</summary>
    public long? StoppedUs { get; init; }

    /// <summary>From the crash until redis answered again after the reboot; null where there was no reboot.</summary>
    public long? AwayUs { get; init; }

    /// <summary>The longest time between two answers of redis that the client saw around this crash.</summary>
    public required long ClientGapUs { get; init; }

    /// <summary>What was lost; empty where nothing.</summary>
    public required IReadOnlyList<string> Lost { get; init; }

    /// <summary>What the process that crashed the kernel saw of it.</summary>
    public required string Process { get; init; }

    /// <summary>Directory of the incident's record; gone after the tour unless it keeps its files.</summary>
    public string? Record { get; init; }

    /// <summary>What was not as the tour expects; empty where all was.</summary>
    public IReadOnlyList<string> Failures { get; init; } = [];
}

/// <summary>The guard has let go of the guest, which runs on without protection.</summary>
/// <param name="ExitCode">The guard's exit code.</param>
public sealed record DetachStep(int ExitCode) : TourStep;

/// <summary>One check that nothing was lost.</summary>
/// <param name="What">What was checked.</param>
/// <param name="Ok">It holds.</param>
/// <param name="Detail">The figures, or what is wrong.</param>
public sealed record CheckStep(string What, bool Ok, string Detail) : TourStep;

/// <summary>The end: the whole tour in one object.</summary>
public sealed record SummaryStep : TourStep
{
    /// <summary>Every expectation of the tour held.</summary>
    public required bool Ok { get; init; }

    /// <summary>Those that did not, a sentence each.</summary>
    public required IReadOnlyList<string> Failures { get; init; }

    /// <summary>The guest's kernel; null where none booted.</summary>
    public string? Kernel { get; init; }

    /// <summary>From the start of the tour until the first crash was recovered from; null where it was not reached.</summary>
    public long? FirstCrashUs { get; init; }

    /// <summary>From the start of the tour to its end.</summary>
    public required long TookUs { get; init; }

    /// <summary>How many times longer the reboot took than the median stop for a repair; null where one of the two is missing.</summary>
    public double? Ratio { get; init; }

    /// <summary>The crashes, in order.</summary>
    public required IReadOnlyList<CrashStep> Crashes { get; init; }

    /// <summary>The checks, in order.</summary>
    public required IReadOnlyList<CheckStep> Checks { get; init; }

    /// <summary>Puts together what a tour has shown.</summary>
    /// <param name="steps">All steps so far.</param>
    /// <param name="ended">Why the tour ended before its end; null where it did not.</param>
    /// <param name="firstCrashUs">From the start until the first crash was recovered from.</param>
    /// <param name="tookUs">From the start until now.</param>
    public static SummaryStep Of(IReadOnlyList<TourStep> steps, string? ended, long? firstCrashUs, long tookUs)
    {
        CrashStep[] crashes = [.. steps.OfType<CrashStep>()];
        CheckStep[] checks = [.. steps.OfType<CheckStep>()];
        var failures = new List<string>(crashes.SelectMany(c => c.Failures.Select(f => $"crash {c.Number}: {f}")));
        failures.AddRange(checks.Where(c => !c.Ok).Select(c => $"{c.What}: {c.Detail}"));
        if (steps.OfType<DetachStep>().FirstOrDefault(d => d.ExitCode != 0) is { } detach)
            failures.Add($"panacea guard ended with exit code {detach.ExitCode}");
        if (ended is not null)
            failures.Add(ended);
        double[] stops = [.. crashes.Where(c => c.StoppedUs > 0).Select(c => (double)c.StoppedUs!.Value)];
        long? away = crashes.LastOrDefault(c => c.AwayUs is not null)?.AwayUs;
        return new SummaryStep
        {
            Ok = failures.Count == 0,
            Failures = failures,
            Kernel = steps.OfType<GuestStep>().FirstOrDefault()?.Kernel,
            FirstCrashUs = firstCrashUs,
            TookUs = tookUs,
            Ratio = stops.Length > 0 && away is { } us ? Math.Round(us / Bench.Figures.Of(stops).Median, 1) : null,
            Crashes = crashes,
            Checks = checks,
        };
    }
}

/// <summary>JSON shape of the tour.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(TourStep))]
public sealed partial class TourJson : JsonSerializerContext
{
    /// <summary>One line; only what JSON itself needs is escaped, so that commands and quotes stay readable.</summary>
    public static TourJson Readable { get; } = new(new JsonSerializerOptions
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    });
}
