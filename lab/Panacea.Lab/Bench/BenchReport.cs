using System.Text.Json.Serialization;

namespace Panacea.Lab.Bench;

/// <summary>Everything that <c>bench recovery</c> measured; its JSON is this, members in snake_case. Durations are in microseconds, sizes in bytes.</summary>
public sealed record BenchReport
{
    /// <summary>When, UTC.</summary>
    public required DateTimeOffset At { get; init; }

    /// <summary>The command that repeats it.</summary>
    public required string Command { get; init; }

    /// <summary>Where.</summary>
    public required BenchHost Host { get; init; }

    /// <summary><c>panacea --version</c>, from before its start to after its end.</summary>
    public required Figures ColdStartUs { get; init; }

    /// <summary>Each kernel.</summary>
    public required IReadOnlyList<KernelFigures> Kernels { get; init; }

    /// <summary>Every crash was recovered from and nothing was lost.</summary>
    public bool Ok => Kernels.Count > 0 && Kernels.All(k => k.Failures.Count == 0);
}

/// <summary>The machine of a benchmark.</summary>
/// <param name="Cpu">CPU model.</param>
/// <param name="Cpus">Logical CPUs.</param>
/// <param name="Kernel">Kernel release of the host.</param>
/// <param name="Qemu">QEMU's version.</param>
/// <param name="Panacea">Panacea's version.</param>
/// <param name="Load">Load average of the last minute when the benchmark began: figures of a busy machine say little.</param>
public sealed record BenchHost(string Cpu, int Cpus, string Kernel, string Qemu, string Panacea, double Load);

/// <summary>What was measured with one kernel.</summary>
public sealed record KernelFigures
{
    /// <summary>The line, as 6.1.</summary>
    public required string Line { get; init; }

    /// <summary>The release.</summary>
    public required string Kernel { get; init; }

    /// <summary><c>kvm</c> or <c>tcg</c>.</summary>
    public required string Accelerator { get; init; }

    /// <summary>Crashes made under guard.</summary>
    public required int Crashes { get; init; }

    /// <summary>Those recovered from.</summary>
    public required int Recovered { get; init; }

    /// <summary>Standstill per recovered crash.</summary>
    public Figures? StoppedUs { get; init; }

    /// <summary>Standstill at the first crash after the guard's start.</summary>
    public long? FirstUs { get; init; }

    /// <summary>Standstill at the first crash of the same kind after nine others; null with fewer than ten.</summary>
    public long? TenthUs { get; init; }

    /// <summary>The same by kind of crash.</summary>
    public required IReadOnlyList<KindFigures> Kinds { get; init; }

    /// <summary>The longest gap between two answers of redis that the client saw, per crash.</summary>
    public Figures? ClientGapUs { get; init; }

    /// <summary>From the crash until everything that the record says of the machine was read, the guest running meanwhile.</summary>
    public Figures? ReportUs { get; init; }

    /// <summary>The client's longest gap per window of the same length without a crash.</summary>
    public required Figures QuietGapUs { get; init; }

    /// <summary>From a crash without Panacea until redis answered again, the guest rebooting at once.</summary>
    public Figures? RebootUs { get; init; }

    /// <summary>Median of <see cref="RebootUs"/> over median of <see cref="StoppedUs"/>.</summary>
    public double? Ratio { get; init; }

    /// <summary>Size of the repair image's file.</summary>
    public required long ImageBytes { get; init; }

    /// <summary>Time to build it while the guest ran.</summary>
    public long? ImageBuildUs { get; init; }

    /// <summary>Time for which building it held the guest.</summary>
    public long? ImageStoppedUs { get; init; }

    /// <summary>Time for which arming held the guest.</summary>
    public long? ArmStoppedUs { get; init; }

    /// <summary>Seconds for which the armed guard was watched with nothing to do; the guest was at work.</summary>
    public required double IdleSeconds { get; init; }

    /// <summary>CPU seconds that the guard used in that time, to a hundredth.</summary>
    public required double IdleCpuSeconds { get; init; }

    /// <summary>Resident memory of the armed, idle guard.</summary>
    public required long IdleResidentBytes { get; init; }

    /// <summary>The most resident memory that the guard had up to the end.</summary>
    public required long PeakResidentBytes { get; init; }

    /// <summary>What was not as it should be, a sentence each: crashes not recovered from, promises broken.</summary>
    public required IReadOnlyList<string> Failures { get; init; }
}

/// <summary>What one kind of crash came to.</summary>
/// <param name="Kind">Name of the crash, as the crash-test driver has it.</param>
/// <param name="Repair">The repair that the guard chose.</param>
/// <param name="StoppedUs">Standstill.</param>
public sealed record KindFigures(string Kind, string Repair, Figures StoppedUs);

/// <summary>JSON shape of a benchmark.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true)]
[JsonSerializable(typeof(BenchReport))]
public sealed partial class BenchJson : JsonSerializerContext;
