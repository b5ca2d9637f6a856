using System.Text.Json;
using System.Text.Json.Serialization;
using Panacea.Sessions.Policy;

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

/// <summary>What was found in a policy file.</summary>
/// <param name="File">The file.</param>
/// <param name="Valid">It has no mistake.</param>
/// <param name="Mistakes">What is wrong with it.</param>
/// <param name="Entries">How many entries for VMs it has.</param>
/// <param name="Vm">What would hold for a VM; null where none was asked for, or the file has mistakes.</param>
internal sealed record PolicyCheck(string File, bool Valid, IReadOnlyList<FileMistake> Mistakes, int Entries, PolicyVm? Vm);

/// <summary>What was found in a campaign file.</summary>
/// <param name="File">The file.</param>
/// <param name="Valid">It has no mistake.</param>
/// <param name="Mistakes">What is wrong with it.</param>
internal sealed record CampaignCheck(string File, bool Valid, IReadOnlyList<FileMistake> Mistakes);

/// <summary>One mistake in a file.</summary>
/// <param name="Line">Line, from 1; 0 where it is the file as a whole.</param>
/// <param name="Column">Character of the line, from 1; 0 where it is the file as a whole.</param>
/// <param name="Message">What is wrong and what to write.</param>
internal sealed record FileMistake(int Line, int Column, string Message);

/// <summary>What would hold for a VM.</summary>
/// <param name="Target">The VM.</param>
/// <param name="Entry">The entry that is its; null where none matches.</param>
/// <param name="Settings">Every value, and where it was said.</param>
internal sealed record PolicyVm(string Target, PolicyMatch? Entry, IReadOnlyList<PolicyLine> Settings);

/// <summary>An entry of a policy file.</summary>
/// <param name="Match">The VMs that it is for.</param>
/// <param name="Line">Its line.</param>
internal sealed record PolicyMatch(string Match, int Line);

/// <summary>JSON shapes of what the commands print: snake_case members, indented for a person, stable for a program.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true, Converters = [typeof(HexAddressConverter)])]
[JsonSerializable(typeof(ImageSummary))]
[JsonSerializable(typeof(ImageMatch))]
[JsonSerializable(typeof(PolicyCheck))]
[JsonSerializable(typeof(CampaignCheck))]
[JsonSerializable(typeof(FuseAnswer))]
[JsonSerializable(typeof(FaultRecord))]
[JsonSerializable(typeof(FaultListAnswer))]
[JsonSerializable(typeof(FaultKindList))]
[JsonSerializable(typeof(FaultReverted))]
[JsonSerializable(typeof(QuarantineAnswer))]
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
