using System.IO.Compression;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using Panacea.Lab.Setup;

namespace Panacea.Lab.Campaign;

/// <summary>Why a guest was not saved, as somebody found out who has looked: a line of <see cref="CampaignResults.CausesName"/>.</summary>
public sealed record FailureCause
{
    /// <summary>The kernel's release, or its line.</summary>
    public required string Kernel { get; init; }

    /// <summary>What the guest was doing.</summary>
    public required string Workload { get; init; }

    /// <summary>The fault's number.</summary>
    public required int Trial { get; init; }

    /// <summary>What failures of this kind have in common, in a few words: they are counted by it.</summary>
    public required string Class { get; init; }

    /// <summary>What happened, in a sentence.</summary>
    public required string Cause { get; init; }

    /// <summary>The arm; null for all of the fault's.</summary>
    public CampaignArm? Arm { get; init; }

    /// <summary>It is about this run.</summary>
    public bool IsOf(CampaignRecord run) => run.Workload == Workload && run.Trial == Trial && KernelPackages.IsOf(run.Kernel, Kernel) && (Arm is null || run.Arm == Arm);
}

/// <summary>How a campaign was run: what its report says beside its figures.</summary>
/// <param name="Command">What runs it again.</param>
/// <param name="Seed">Its seed.</param>
/// <param name="Written">When it was run last.</param>
/// <param name="Host">The machine: its processors.</param>
/// <param name="Qemu">The version of QEMU.</param>
/// <param name="Panacea">The version that guarded.</param>
public sealed record CampaignDescription(string Command, ulong Seed, DateOnly Written, string Host, string Qemu, string Panacea);

/// <summary>The directory of a campaign, as it is read: results, how they were come by, and what is known of the failures.</summary>
/// <param name="Records">The results, in the order in which they came.</param>
/// <param name="Description">How they were come by; null where nobody has written it.</param>
/// <param name="Causes">What is known of failures.</param>
public sealed record CampaignResults(IReadOnlyList<CampaignRecord> Records, CampaignDescription? Description, IReadOnlyList<FailureCause> Causes)
{
    /// <summary>Files in a campaign's directory: its results, a line of JSON each; how they were come by; what is known of the failures, a line of JSON each. The first may be compressed, with <c>.gz</c> at its end.</summary>
    public const string FileName = "results.jsonl", DescriptionName = "campaign.json", CausesName = "causes.jsonl";

    /// <summary>Most bytes of results that are read: what is compressed could be anything.</summary>
    private const long MaxBytes = 1L << 30;

    /// <summary>Reads one.</summary>
    /// <param name="directory">The campaign's directory.</param>
    /// <exception cref="LabException">There are no results, or a file is not what it should be.</exception>
    public static CampaignResults Read(string directory)
    {
        string path = Path.Combine(directory, FileName), packed = path + ".gz", causes = Path.Combine(directory, CausesName), description = Path.Combine(directory, DescriptionName);
        if (!File.Exists(path) && !File.Exists(packed))
            throw new LabException($"{directory} has no results of a campaign: neither {FileName} nor {FileName}.gz is there");
        return new CampaignResults(
            ReadFile(File.Exists(path) ? path : packed),
            File.Exists(description) ? Parse(File.ReadAllText(description), CampaignJson.Default.CampaignDescription, $"{description} does not describe a campaign") : null,
            File.Exists(causes) ? Lines(causes, CampaignJson.Default.FailureCause, "is not the cause of a failure") : []);
    }

    /// <summary>Writes how the results were come by.</summary>
    /// <param name="directory">The campaign's directory.</param>
    /// <param name="description">That.</param>
    public static void Describe(string directory, CampaignDescription description) =>
        File.WriteAllText(Path.Combine(directory, DescriptionName), JsonSerializer.Serialize(description, CampaignJson.Default.CampaignDescription) + "\n");

    /// <summary>What is known of a run that failed.</summary>
    public FailureCause? CauseOf(CampaignRecord run) => Causes.FirstOrDefault(c => c.IsOf(run));

    /// <summary>The results of a file.</summary>
    /// <exception cref="LabException">A line is none.</exception>
    internal static IReadOnlyList<CampaignRecord> ReadFile(string path) => Lines(path, CampaignJson.Default.CampaignRecord, "is no result of a campaign");

    private static List<T> Lines<T>(string path, JsonTypeInfo<T> type, string wrong)
        where T : class
    {
        var all = new List<T>();
        try
        {
            using FileStream file = File.OpenRead(path);
            using Stream plain = path.EndsWith(".gz", StringComparison.Ordinal) ? new GZipStream(file, CompressionMode.Decompress) : file;
            using var reader = new StreamReader(plain);
            long length = 0;
            while (reader.ReadLine() is { } text)
            {
                if ((length += text.Length) > MaxBytes)
                    throw new LabException($"{path} is longer than results of a campaign are");
                all.Add(Parse(text, type, $"line {all.Count + 1} of {path} {wrong}"));
            }
        }
        catch (InvalidDataException e)
        {
            throw new LabException($"{path} can't be unpacked: {e.Message}", e);
        }

        return all;
    }

    private static T Parse<T>(string text, JsonTypeInfo<T> type, string wrong)
        where T : class
    {
        try
        {
            return JsonSerializer.Deserialize(text, type) ?? throw new LabException($"{wrong}: it is null");
        }
        catch (JsonException e)
        {
            throw new LabException($"{wrong}: {e.Message}", e);
        }
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(CampaignRecord))]
[JsonSerializable(typeof(CampaignDescription))]
[JsonSerializable(typeof(FailureCause))]
internal sealed partial class CampaignJson : JsonSerializerContext;
