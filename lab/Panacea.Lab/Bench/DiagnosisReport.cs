using System.Text.Json;
using System.Text.Json.Serialization;

namespace Panacea.Lab.Bench;

/// <summary>Everything that <c>bench diagnosis</c> measured; its JSON is this, members in snake_case. Durations are in microseconds, sizes in bytes.</summary>
public sealed record DiagnosisReport
{
    /// <summary>When, UTC.</summary>
    public required DateTimeOffset At { get; init; }

    /// <summary>The command that repeats it.</summary>
    public required string Command { get; init; }

    /// <summary>Where.</summary>
    public required BenchHost Host { get; init; }

    /// <summary>Programs and their versions.</summary>
    public required IReadOnlyList<string> Programs { get; init; }

    /// <summary>Each dump.</summary>
    public required IReadOnlyList<DumpFigures> Dumps { get; init; }

    /// <summary>Panacea made a report of every dump, every time.</summary>
    public bool Ok => Dumps.Count > 0 && Dumps.All(d => d.Readers.Count > 0 && d.Readers[0].Failure is null);
}

/// <summary>What was measured with one dump.</summary>
/// <param name="Line">The kernel line, as 6.1.</param>
/// <param name="Kernel">The release.</param>
/// <param name="MemoryMiB">RAM of the guest.</param>
/// <param name="Bytes">Size of the dump.</param>
/// <param name="BytesOnDisk">What of it is no hole.</param>
/// <param name="Readers">Each program; Panacea first.</param>
public sealed record DumpFigures(
    string Line, string Kernel, [property: JsonPropertyName("memory_mib")] int MemoryMiB, long Bytes, long BytesOnDisk, IReadOnlyList<ReaderFigures> Readers);

/// <summary>What one program took for one dump.</summary>
/// <param name="Name">The program.</param>
/// <param name="ColdUs">Wall time with nothing of the dump in the page cache.</param>
/// <param name="WarmUs">Wall time right after that.</param>
/// <param name="CpuUs">User and system time of the warm runs.</param>
/// <param name="PeakBytes">The most resident memory.</param>
/// <param name="Failure">What went wrong; null where nothing did.</param>
public sealed record ReaderFigures(string Name, Figures? ColdUs, Figures? WarmUs, Figures? CpuUs, Figures? PeakBytes, string? Failure);

/// <summary>JSON shape of that benchmark.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true)]
[JsonSerializable(typeof(DiagnosisReport))]
public sealed partial class DiagnosisBenchJson : JsonSerializerContext;
