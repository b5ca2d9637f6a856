using System.Text.Json.Serialization;

namespace Panacea.Lab.Bench.Scale;

/// <summary>Everything that <c>bench scale</c> measured; its JSON is this, members in snake_case. Durations are in microseconds, sizes in bytes.</summary>
public sealed record ScaleReport
{
    /// <summary>When, UTC.</summary>
    public required DateTimeOffset At { get; init; }

    /// <summary>The command that repeats it.</summary>
    public required string Command { get; init; }

    /// <summary>Where.</summary>
    public required BenchHost Host { get; init; }

    /// <summary>Guests of which one thing was made larger.</summary>
    public required IReadOnlyList<ScaleFigures> Guests { get; init; }

    /// <summary>Guards of several VMs.</summary>
    public required IReadOnlyList<VmsFigures> Vms { get; init; }

    /// <summary>Every crash was recovered from.</summary>
    public bool Ok => Guests.Count + Vms.Count > 0 && Guests.All(g => g.Failures.Count == 0) && Vms.All(v => v.Failures.Count == 0);
}

/// <summary>What was measured with one guest.</summary>
/// <param name="Line">The kernel line, as 6.1.</param>
/// <param name="What">What was made larger: one of <see cref="ScaleSizes.Names"/>.</param>
/// <param name="Size">How large: MiB, or a number.</param>
/// <param name="ImageBuildUs">Time to build the repair image while the guest ran; null where it could not be built.</param>
/// <param name="ImageBytes">Size of its file.</param>
/// <param name="ArmStoppedUs">Time for which arming held the guest.</param>
/// <param name="FirstUs">Standstill at the first crash after the guard's start.</param>
/// <param name="StoppedUs">Standstill per crash; null where none was recovered from.</param>
/// <param name="ReportUs">From the crash until everything that the record says of the machine was read, the guest running meanwhile.</param>
/// <param name="Guard">The guard before the crashes.</param>
/// <param name="Failures">What was not as it should be.</param>
public sealed record ScaleFigures(
    string Line, string What, int Size, Figures? ImageBuildUs, long ImageBytes, long? ArmStoppedUs, long? FirstUs, Figures? StoppedUs, Figures? ReportUs, GuardFootprint? Guard, IReadOnlyList<string> Failures);

/// <summary>What was measured with one guard of several VMs.</summary>
/// <param name="Line">The kernel line.</param>
/// <param name="Vms">How many.</param>
/// <param name="ArmedUs">From the guard's start until all of them were armed.</param>
/// <param name="Guard">The guard while nothing happens.</param>
/// <param name="StoppedUs">Standstill of the one that crashed, per crash.</param>
/// <param name="Failures">What was not as it should be.</param>
public sealed record VmsFigures(string Line, int Vms, double? ArmedUs, GuardFootprint? Guard, Figures? StoppedUs, IReadOnlyList<string> Failures);

/// <summary>JSON shape of that benchmark.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true)]
[JsonSerializable(typeof(ScaleReport))]
public sealed partial class ScaleBenchJson : JsonSerializerContext;
