using System.Text.Json;
using System.Text.Json.Serialization;

namespace Panacea.Lab.Tour;

/// <summary>One line of <c>panacea guard --json</c>, read as any program would read it; members that an event does not have are null.</summary>
public sealed record GuardEvent
{
    /// <summary>Which event: armed, death, resumed, incident, detached, error …</summary>
    public required string Event { get; init; }

    /// <summary>The VM, as it was named to the guard.</summary>
    public string? Vm { get; init; }

    /// <summary>Release of the guest's kernel.</summary>
    public string? Kernel { get; init; }

    /// <summary>Microseconds that building the repair image took.</summary>
    public long? ImageUs { get; init; }

    /// <summary>Microseconds for which the guest was held.</summary>
    public long? StoppedUs { get; init; }

    /// <summary>Id of the incident.</summary>
    public string? Id { get; init; }

    /// <summary>The crash in one line.</summary>
    public string? Title { get; init; }

    /// <summary>The repair: go-on, error-return, unwind, kill, none</summary>
    public string? Repair { get; init; }

    /// <summary>recovered, declined or failed.</summary>
    public string? Outcome { get; init; }

    /// <summary>What the guest lost.</summary>
    public IReadOnlyList<string>? Lost { get; init; }

    /// <summary>Directory of the incident's record.</summary>
    public string? Record { get; init; }

    /// <summary>Why the guard let go.</summary>
    public string? Reason { get; init; }

    /// <summary>What is wrong.</summary>
    public string? Message { get; init; }

    /// <summary>Reads a line.</summary>
    /// <exception cref="LabException">It is no event.</exception>
    public static GuardEvent Parse(string line)
    {
        try
        {
            return JsonSerializer.Deserialize(line, GuardEventJson.Default.GuardEvent) ?? throw new LabException("panacea guard wrote \"null\"");
        }
        catch (JsonException e)
        {
            throw new LabException($"panacea guard --json wrote what is no event: {line[..Math.Min(line.Length, 200)]}", e);
        }
    }
}

/// <summary>JSON shapes that the lab reads from panacea's other commands.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(GuardEvent))]
[JsonSerializable(typeof(BuiltImage))]
internal sealed partial class GuardEventJson : JsonSerializerContext;

/// <summary>What <c>panacea image build --json</c> says of an image.</summary>
public sealed record BuiltImage
{
    /// <summary>Content id.</summary>
    public string Id { get; init; } = "";

    /// <summary>Size of the file in bytes.</summary>
    public required long Bytes { get; init; }

    /// <summary>Microseconds that building took.</summary>
    public long? BuildUs { get; init; }

    /// <summary>Microseconds for which building held the guest.</summary>
    public long? StoppedUs { get; init; }
}
