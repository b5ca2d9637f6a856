using System.Text;
using System.Text.Json;
using Panacea.Formats.Yaml;
using Panacea.Kernel.Code;

namespace Panacea.Diagnosis.KnownIssues;

/// <summary>Reads rules files; docs/known-issues.md has the format. The first mistake ends it with one sentence: a rule that silently never matches would be worse than none.</summary>
public static class RulesFile
{
    private const int MaxBytes = 4 << 20, MaxRules = 10_000, MaxValues = 200, MaxText = 20_000;

    /// <summary>Reads files; ids are unique over all of them.</summary>
    /// <exception cref="RulesFileException">One can't be read or has a mistake.</exception>
    public static IReadOnlyList<KnownIssueRule> Read(IEnumerable<string> files)
    {
        var rules = new List<KnownIssueRule>();
        foreach (string file in files)
        {
            byte[] bytes;
            try
            {
                using FileStream stream = File.OpenRead(file);
                bytes = new byte[MaxBytes + 1];
                bytes = bytes[..stream.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false)];
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw new RulesFileException($"{file}: {e.Message.TrimEnd('.')}");
            }

            Read(file, bytes, rules);
        }

        return rules;
    }

    /// <summary>Reads the bytes of one file.</summary>
    /// <param name="file">Its name, for sentences.</param>
    /// <param name="bytes">UTF-8.</param>
    /// <param name="rules">Receives the rules; has those of the files before.</param>
    /// <exception cref="RulesFileException">It has a mistake.</exception>
    internal static void Read(string file, ReadOnlySpan<byte> bytes, List<KnownIssueRule> rules)
    {
        if (bytes.Length > MaxBytes)
            throw new RulesFileException($"{file}: it is larger than {MaxBytes >> 20} MiB");
        YamlNode root = Tree(file, Encoding.UTF8.GetString(bytes).TrimStart('\ufeff'));
        YamlMap document = root as YamlMap ?? throw Wrong(file, root, "the file has to be a mapping with a list 'rules'");
        Members(file, document, "the file", ["rules"]);
        YamlNode list = Member(document, "rules") ?? throw Wrong(file, root, "the list 'rules' is missing");
        foreach (YamlNode item in (list as YamlList ?? throw Wrong(file, list, "'rules' has to be a list, each rule after a dash")).Items)
        {
            if (rules.Count >= MaxRules)
                throw Wrong(file, item, $"there are more than {MaxRules} rules");
            KnownIssueRule rule = Rule(file, item as YamlMap ?? throw Wrong(file, item, "a rule has to be a mapping with id, title and match"));
            if (rules.Find(r => r.Id == rule.Id) is { } other)
                throw Wrong(file, item, $"the id '{rule.Id}' is taken by the rule at {other.Place}");
            rules.Add(rule);
        }
    }

    private static YamlNode Tree(string file, string text)
    {
        try
        {
            var refused = new List<YamlMistake>();
            YamlNode? root = YamlTree.Read(text, "a rules file", refused);
            if (refused is [{ } first, ..])
                throw new YamlFileException(first);
            return root ?? throw new RulesFileException($"{file}:1: the file is empty; it has to have a list 'rules'");
        }
        catch (YamlFileException e)
        {
            throw new RulesFileException($"{file}:{e.Mistake.Line}: {e.Mistake.Sentence}");
        }
    }

    private static KnownIssueRule Rule(string file, YamlMap map)
    {
        Members(file, map, "a rule", ["id", "title", "url", "urls", "fix", "fixes", "fixed-in", "notes", "match"]);
        string id = Required(file, map, "id");
        if (id.Length > 100 || id.AsSpan().IndexOfAnyExcept("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") >= 0)
            throw Wrong(file, Member(map, "id")!, "an id has up to 100 letters, digits, dots, hyphens and underscores");
        string title = Required(file, map, "title");
        YamlNode match = Member(map, "match") ?? throw Wrong(file, map, $"the rule '{id}' has no 'match'");
        var fixedIn = new List<KernelVersion>();
        foreach (YamlText each in Texts(file, map, "fixed-in"))
            fixedIn.Add(KernelVersion.TryParse(each.Text, out KernelVersion version) ? version : throw Wrong(file, each, $"'{each.Text}' is no kernel version; write it as 6.1.170"));
        return new KnownIssueRule(id, title, Conditions(file, match as YamlMap ?? throw Wrong(file, match, "'match' has to be a mapping of conditions")), $"{file}:{map.Line}")
        {
            Urls = [.. Texts(file, map, "url").Concat(Texts(file, map, "urls")).Select(u => Url(file, u))],
            Fixes = [.. Texts(file, map, "fix").Concat(Texts(file, map, "fixes")).Select(t => t.Text)],
            FixedIn = fixedIn,
            Notes = Member(map, "notes") is { } notes ? Text(file, notes, "notes").Text.Trim() : null,
        };
    }

    private static RuleConditions Conditions(string file, YamlMap map)
    {
        Members(file, map, "match", ["kind", "bucket", "function", "module", "stack", "text", "kernel", "taint", "address", "finding"]);
        var conditions = new RuleConditions
        {
            Kinds = [.. Texts(file, map, "kind").Select(t => Named<CrashKind>(file, t, "kind of crash"))],
            Buckets = [.. Texts(file, map, "bucket").Select(t => Bucket(file, t))],
            Functions = Patterns(file, map, "function", within: false),
            Modules = Patterns(file, map, "module", within: false),
            Stack = Patterns(file, map, "stack", within: false),
            Texts = Patterns(file, map, "text", within: true),
            Kernels = [.. Texts(file, map, "kernel").Select(t => Range(file, t))],
            Taint = [.. Texts(file, map, "taint").Select(t => Taint(file, t))],
            Addresses = [.. Texts(file, map, "address").Select(t => Named<AddressClass>(file, t, "class of addresses"))],
            Findings = [.. Texts(file, map, "finding").Select(t => t.Text)],
        };
        return conditions.IsAboutCrash ? conditions : throw Wrong(file, map, "'match' needs at least one of kind, bucket, function, stack, text, address, finding: without them it would match every crash of a kernel");
    }

    private static List<TextPattern> Patterns(string file, YamlMap map, string name, bool within)
    {
        var patterns = new List<TextPattern>();
        foreach (YamlText each in Texts(file, map, name))
            patterns.Add(TextPattern.TryParse(each.Text, within, out TextPattern pattern, out string whyNot) ? pattern : throw Wrong(file, each, $"the {name} '{Short(each.Text)}' {whyNot}"));
        return patterns;
    }

    private static T Named<T>(string file, YamlText text, string what)
        where T : struct, Enum
    {
        string[] names = [.. Enum.GetNames<T>().Select(JsonNamingPolicy.KebabCaseLower.ConvertName)];
        int at = Array.IndexOf(names, text.Text);
        return at >= 0 ? Enum.GetValues<T>()[at] : throw Wrong(file, text, $"'{Short(text.Text)}' is no {what}; known are {string.Join(", ", names)}");
    }

    private static string Bucket(string file, YamlText text) =>
        text.Text.Length == 16 && text.Text.All(char.IsAsciiHexDigit) ? text.Text : throw Wrong(file, text, $"'{Short(text.Text)}' is no bucket: those have 16 hexadecimal digits (in quotes where all are decimal)");

    private static KernelRange Range(string file, YamlText text) => KernelRange.TryParse(text.Text, out KernelRange range, out string whyNot) ? range : throw Wrong(file, text, $"the kernel '{Short(text.Text)}': {whyNot}");

    private static string Taint(string file, YamlText text) => text.Text.Length is 1 or 2 && char.IsAsciiLetterUpper(text.Text[^1]) && (text.Text.Length == 1 || text.Text[0] == '!')
        ? text.Text : throw Wrong(file, text, $"'{Short(text.Text)}' is no taint; write one letter as the kernel prints it, with a ! before it where it must not be there");

    /// <summary>A link is shown in pages: it must not be one that runs something.</summary>
    private static string Url(string file, YamlText text) => Uri.TryCreate(text.Text, UriKind.Absolute, out Uri? uri) && uri.Scheme is "https" or "http"
        ? text.Text : throw Wrong(file, text, $"'{Short(text.Text)}' is no address that begins with https:// or http://");

    private static string Required(string file, YamlMap map, string name) =>
        Text(file, Member(map, name) ?? throw Wrong(file, map, $"the rule that begins here has no '{name}'"), name).Text;

    /// <summary>One text, or a list of them; empty where there is no such member.</summary>
    private static List<YamlText> Texts(string file, YamlMap map, string name)
    {
        switch (Member(map, name))
        {
            case null:
                return [];
            case YamlList { Items.Count: 0 } empty:
                throw Wrong(file, empty, $"'{name}' is an empty list");
            case YamlList list when list.Items.Count > MaxValues:
                throw Wrong(file, list, $"'{name}' has more than {MaxValues} values");
            case YamlList list:
                return [.. list.Items.Select(i => Text(file, i, name))];
            case { } one:
                return [Text(file, one, name)];
        }
    }

    private static YamlText Text(string file, YamlNode node, string name) => node switch
    {
        YamlText { Text.Length: 0 } => throw Wrong(file, node, $"'{name}' has no value"),
        YamlText { Text.Length: > MaxText } => throw Wrong(file, node, $"'{name}' is longer than {MaxText} characters"),
        YamlText text => text,
        _ => throw Wrong(file, node, $"'{name}' has to be a text or a list of texts"),
    };

    private static YamlNode? Member(YamlMap map, string name) => map.Members.FirstOrDefault(m => m.Key.Text == name).Value;

    private static void Members(string file, YamlMap map, string what, string[] known)
    {
        var seen = new HashSet<string>(StringComparer.Ordinal);
        foreach ((YamlText key, _) in map.Members)
        {
            if (!known.Contains(key.Text))
                throw Wrong(file, key, $"'{Short(key.Text)}' is no member of {what}; known are {string.Join(", ", known)}");
            if (!seen.Add(key.Text))
                throw Wrong(file, key, $"'{key.Text}' is given twice");
        }
    }

    private static string Short(string text) => text.Length <= 60 ? text : text[..60] + "…";

    private static RulesFileException Wrong(string file, YamlNode at, string sentence) => new($"{file}:{at.Line}: {sentence}");
}
