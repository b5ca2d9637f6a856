using System.Globalization;
using Panacea.Formats.Yaml;
using Panacea.Injection;
using Panacea.Lab.Setup;

namespace Panacea.Lab.Campaign;

/// <summary>A campaign file, read: what it says, or everything that is wrong with it.</summary>
/// <param name="Settings">Null where there are mistakes.</param>
/// <param name="Mistakes">In the order of the file; at most 100, and how many there are more.</param>
public sealed record CampaignReading(CampaignSettings? Settings, IReadOnlyList<YamlMistake> Mistakes);

/// <summary>Reads campaign files; docs/campaign.md has the format. Read strictly: a word that is not known is a mistake, for a campaign that takes hours would be another one than was meant.</summary>
public static class CampaignFile
{
    private static readonly string[] Members = ["output", "kernels", "workloads", "trials", "seed", "faults", "at", "arms", "where-manifested", "persistent"];
    private static readonly string[] Workloads = [.. CampaignWorkload.All.Select(w => w.Name)], Faults = [.. FaultKinds.All.Select(k => k.Name)], Arms = [.. Enum.GetValues<CampaignArm>().Select(NameOf)];

    /// <summary>How an arm is written.</summary>
    public static string NameOf(CampaignArm arm) => System.Text.Json.JsonNamingPolicy.KebabCaseLower.ConvertName(arm.ToString());

    /// <summary>Reads a file. What can't be read is a mistake, too.</summary>
    /// <param name="file">Its path; a relative <c>output</c> is below its directory.</param>
    public static CampaignReading Read(string file) => YamlFile.Open(file, bytes => Read(file, bytes), mistake => new CampaignReading(null, [mistake]));

    /// <summary>Reads the bytes of a file.</summary>
    /// <param name="file">Its path.</param>
    /// <param name="bytes">UTF-8.</param>
    internal static CampaignReading Read(string file, ReadOnlySpan<byte> bytes)
    {
        var reader = new YamlReader();
        CampaignSettings? settings = null;
        IReadOnlyList<YamlMistake> mistakes = YamlFile.Read(bytes, "a campaign file", reader, root => settings = Document(file, root, reader));
        return new CampaignReading(mistakes.Count == 0 ? settings : null, mistakes);
    }

    private static CampaignSettings? Document(string file, YamlNode? root, YamlReader reader)
    {
        const string write = "members such as 'trials: 100'";
        switch (root)
        {
            case null or YamlMap { Members.Count: 0 }:
                reader.Wrong(root ?? new YamlText(1, 1, ""), $"the file is empty; write {write}");
                return null;
            case not YamlMap:
                reader.Wrong(root, $"the file has to be a mapping; write {write}");
                return null;
        }

        var map = (YamlMap)root;
        reader.Members(map, "the file", Members);
        return new CampaignSettings
        {
            Output = Output(map, file, reader),
            Kernels = Words(map, "kernels", "kernel line", KernelPackages.Lines, reader),
            Workloads = Words(map, "workloads", "workload", Workloads, reader),
            Trials = (int?)Number(map, "trials", 1, CampaignSettings.MaxTrials, reader),
            Seed = Number(map, "seed", 0, ulong.MaxValue, reader),
            Faults = Words(map, "faults", "kind of faults", Faults, reader),
            At = At(map, reader),
            Arms = Words(map, "arms", "arm", Arms, reader),
            WhereManifested = Words(map, "where-manifested", "arm", Arms, reader),
            IsPersistent = Truth(map, "persistent", reader),
        };
    }

    private static string? At(YamlMap map, YamlReader reader)
    {
        const string write = "a module, as virtio_blk, the beginning of functions' names, as ext4_*, or hot";
        if (Text(map, "at", write, reader) is not { } text)
            return null;
        if (!text.Text.Any(c => char.IsControl(c) || char.IsWhiteSpace(c)))
            return text.Text;
        reader.Wrong(text, $"'{YamlReader.Short(text.Text)}' is no value of 'at'; write {write}");
        return null;
    }

    private static string? Output(YamlMap map, string file, YamlReader reader)
    {
        const string write = "a directory, as results or /srv/results";
        if (Text(map, "output", write, reader) is not { } text)
            return null;

        // A shell would have put a name in the place of ~; here it would be a directory that is called so.
        if (!text.Text.StartsWith('~') && !text.Text.Any(char.IsControl))
            return Path.GetFullPath(text.Text, Path.GetDirectoryName(Path.GetFullPath(file))!);
        reader.Wrong(text, $"'{YamlReader.Short(text.Text)}' is no value of 'output'; write {write}");
        return null;
    }

    private static YamlText? Text(YamlMap map, string name, string write, YamlReader reader) => YamlReader.Member(map, name) is { } node ? reader.Text(node, name, write) : null;

    /// <summary>A list of at least one of the words that there are, none twice.</summary>
    private static List<string>? Words(YamlMap map, string name, string what, IReadOnlyList<string> known, YamlReader reader)
    {
        string write = YamlReader.Or(known);
        switch (YamlReader.Member(map, name))
        {
            case null or YamlRefused:
                return null;
            case YamlList { Items.Count: 0 } empty:
                reader.Wrong(empty, $"'{name}' is an empty list; leave '{name}' out where all are meant");
                return null;
            case YamlList list:
                var words = new List<string>();
                foreach (YamlText text in list.Items.Select(item => reader.Text(item, name, write)).OfType<YamlText>())
                {
                    if (!known.Contains(text.Text))
                        reader.Wrong(text, $"'{YamlReader.Short(text.Text)}' is no {what}; write {write}");
                    else if (words.Contains(text.Text))
                        reader.Wrong(text, $"'{text.Text}' is given already; write it once");
                    else
                        words.Add(text.Text);
                }

                return words;
            case { } other:
                reader.Wrong(other, $"'{name}' has to be a list; write [{string.Join(", ", known.Take(2))}], or others of {write}");
                return null;
        }
    }

    private static ulong? Number(YamlMap map, string name, ulong least, ulong most, YamlReader reader)
    {
        string write = string.Create(CultureInfo.InvariantCulture, $"a whole number from {least} to {most}");
        if (Text(map, name, write, reader) is not { } text)
            return null;
        if (ulong.TryParse(text.Text, NumberStyles.None, CultureInfo.InvariantCulture, out ulong number) && number >= least && number <= most)
            return number;
        reader.Wrong(text, $"'{YamlReader.Short(text.Text)}' is no value of '{name}'; write {write}");
        return null;
    }

    private static bool? Truth(YamlMap map, string name, YamlReader reader)
    {
        if (Text(map, name, "true or false", reader) is not { } text)
            return null;
        if (text.Text is "true" or "false")
            return text.Text == "true";
        reader.Wrong(text, $"'{YamlReader.Short(text.Text)}' is no value of '{name}'; write true or false");
        return null;
    }
}
