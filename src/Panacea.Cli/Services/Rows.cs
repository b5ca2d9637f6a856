using System.Text.Json;
using System.Text.Json.Serialization;

namespace Panacea.Cli.Services;

/// <summary>A repair image, described.</summary>
/// <param name="Id">Content id.</param>
/// <param name="Kernel">Kernel release.</param>
/// <param name="BuildId">GNU build id, lower-case hex; null where the kernel has none.</param>
/// <param name="File">The file, or null where it was only built in memory.</param>
/// <param name="Bytes">Bytes on disk; 0 where there is no file.</param>
/// <param name="BuildUs">Microseconds that building took.</param>
/// <param name="StoppedUs">Microseconds for which building held the guest; null for a file that was only read.</param>
/// <param name="Symbols">Symbols of the kernel proper.</param>
/// <param name="Types">Types of the kernel proper.</param>
/// <param name="UnwindRows">Unwind rows of the kernel proper.</param>
/// <param name="TextBytes">Bytes of pristine text of the kernel proper.</param>
/// <param name="Modules">Names of the modules it covers.</param>
/// <param name="DeathPoints">Symbols at which guests of this kernel are stopped.</param>
/// <param name="Without">What the kernel lacks and what that costs, in sentences.</param>
internal sealed record ImageSummary(
    string Id, string Kernel, string? BuildId, string? File, long Bytes, long? BuildUs, long? StoppedUs, long Symbols, long Types,
    long UnwindRows, long TextBytes, IReadOnlyList<string> Modules, IReadOnlyList<string> DeathPoints, IReadOnlyList<string> Without);

/// <summary>How an image compares with a guest.</summary>
/// <param name="Matches">The guest runs the kernel of the image, with its text as it was.</param>
/// <param name="Differences">What differs, one sentence each; empty where nothing.</param>
internal sealed record ImageMatch(bool Matches, IReadOnlyList<string> Differences);

/// <summary>One thread.</summary>
/// <param name="Pid">Thread id.</param>
/// <param name="Tgid">Process id.</param>
/// <param name="Ppid">Process id of the parent.</param>
/// <param name="State">State letter, as ps prints it.</param>
/// <param name="Cpu">CPU it runs or last ran on; null where unknown.</param>
/// <param name="Comm">Name.</param>
/// <param name="Kernel">It is a kernel thread.</param>
/// <param name="Address">Address of its task_struct.</param>
internal sealed record TaskRow(int Pid, int Tgid, int Ppid, string State, int? Cpu, string Comm, bool Kernel, ulong Address);

/// <summary>One loaded module.</summary>
/// <param name="Name">Name.</param>
/// <param name="Base">Address of its text.</param>
/// <param name="Bytes">Bytes of all its memory.</param>
/// <param name="State">live, coming, going, unformed.</param>
/// <param name="Taint">Taint letters it brings; empty where none.</param>
internal sealed record ModuleRow(string Name, ulong Base, long Bytes, string State, string Taint);

/// <summary>One line of the kernel log.</summary>
/// <param name="TimestampNs">Nanoseconds since boot.</param>
/// <param name="Level">Log level, 0 to 7.</param>
/// <param name="Text">The line.</param>
internal sealed record LogRow(long TimestampNs, int Level, string Text);

/// <summary>One frame.</summary>
/// <param name="Address">Address of the code.</param>
/// <param name="Location">As the kernel prints it: name+0x1/0x20 [module].</param>
/// <param name="Reliable">Proved by unwind data, not found by scanning.</param>
internal sealed record FrameRow(ulong Address, string Location, bool Reliable);

/// <summary>What a vCPU executes.</summary>
/// <param name="Vcpu">vCPU index.</param>
/// <param name="Pid">Pid of the current task; null where unreadable.</param>
/// <param name="Comm">Name of the current task; null where unreadable.</param>
/// <param name="UserMode">It was executing user code: then there is no kernel stack to show.</param>
/// <param name="Frames">Innermost first.</param>
internal sealed record BacktraceRow(int Vcpu, int? Pid, string? Comm, bool UserMode, IReadOnlyList<FrameRow> Frames);

/// <summary>One symbol.</summary>
/// <param name="Name">Name.</param>
/// <param name="Address">Address, of this boot.</param>
/// <param name="Size">Bytes to the next symbol; 0 where unknown.</param>
/// <param name="Kind">Letter as nm prints it.</param>
/// <param name="Module">Module, or null for the kernel.</param>
internal sealed record SymbolRow(string Name, ulong Address, long Size, string Kind, string? Module);

/// <summary>One type.</summary>
/// <param name="Name">Name with its keyword.</param>
/// <param name="Bytes">Size.</param>
/// <param name="C">The type as C, with offsets in comments.</param>
internal sealed record TypeText(string Name, long Bytes, string C);

/// <summary>JSON shapes of what the commands print: snake_case members, indented for a person, stable for a program.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true, Converters = [typeof(HexAddressConverter)])]
[JsonSerializable(typeof(ImageSummary))]
[JsonSerializable(typeof(ImageMatch))]
[JsonSerializable(typeof(IReadOnlyList<TaskRow>))]
[JsonSerializable(typeof(IReadOnlyList<ModuleRow>))]
[JsonSerializable(typeof(IReadOnlyList<LogRow>))]
[JsonSerializable(typeof(IReadOnlyList<BacktraceRow>))]
[JsonSerializable(typeof(IReadOnlyList<SymbolRow>))]
[JsonSerializable(typeof(TypeText))]
internal sealed partial class CliJson : JsonSerializerContext;

/// <summary>64-bit values as hexadecimal strings: many JSON readers keep only 53 bits of a number.</summary>
internal sealed class HexAddressConverter : JsonConverter<ulong>
{
    /// <inheritdoc/>
    public override ulong Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        Convert.ToUInt64(reader.GetString(), 16);

    /// <inheritdoc/>
    public override void Write(Utf8JsonWriter writer, ulong value, JsonSerializerOptions options) =>
        writer.WriteStringValue($"0x{value:x}");
}
