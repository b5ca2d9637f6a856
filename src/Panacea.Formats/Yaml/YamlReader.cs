namespace Panacea.Formats.Yaml;

/// <summary>Reads values of a file, and goes on where one is wrong: all mistakes are told at once.</summary>
public class YamlReader
{
    /// <summary>Texts longer than this are no setting.</summary>
    private const int MaxText = 300;

    /// <summary>What was wrong so far.</summary>
    public List<YamlMistake> Mistakes { get; } = [];

    /// <summary>The value of a name; the first where there are several.</summary>
    public static YamlNode? Member(YamlMap? map, string name) => map?.Members.FirstOrDefault(m => m.Key.Text == name).Value;

    /// <summary>A text of the file, cut for a sentence.</summary>
    public static string Short(string text) => text.Length <= 60 ? text : text[..60] + "…";

    /// <summary>Notes a mistake.</summary>
    public void Wrong(YamlNode at, string sentence) => Mistakes.Add(new YamlMistake(at.Line, at.Column, sentence));

    /// <summary>Notes names that are not known, and names that are given twice.</summary>
    /// <param name="map">Where they stand.</param>
    /// <param name="what">What that is, for sentences: <c>the file</c>.</param>
    /// <param name="known">The names that there are.</param>
    public void Members(YamlMap map, string what, IReadOnlyList<string> known)
    {
        var seen = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach ((YamlText key, _) in map.Members)
        {
            if (!known.Contains(key.Text))
                Wrong(key, $"'{Short(key.Text)}' is no member of {what}; write one of {string.Join(", ", known)}");
            else if (!seen.TryAdd(key.Text, key.Line))
                Wrong(key, $"'{key.Text}' is given already, at line {seen[key.Text]}; write it once");
        }
    }

    /// <summary>A mapping; null, and noted, where it is none.</summary>
    /// <param name="node">What stands there.</param>
    /// <param name="name">Its name.</param>
    /// <param name="write">What to write there.</param>
    public YamlMap? Map(YamlNode node, string name, string write)
    {
        if (node is not (YamlMap or YamlRefused))
            Wrong(node, node is YamlText { Text: "" } ? $"{Quoted(name)} has no value; write {write} below it" : $"{Quoted(name)} has to be a mapping; write {write} below it");
        return node as YamlMap;
    }

    /// <summary>A text of at most 300 characters; null, and noted, where it is none.</summary>
    /// <param name="node">What stands there.</param>
    /// <param name="name">Its name.</param>
    /// <param name="write">What to write there.</param>
    public YamlText? Text(YamlNode node, string name, string write)
    {
        switch (node)
        {
            case YamlRefused:
                return null;
            case YamlText { Text: "" }:
                Wrong(node, $"'{name}' has no value; write {write}");
                return null;
            case YamlText { Text.Length: > MaxText }:
                Wrong(node, $"'{name}' is longer than {MaxText} characters; write {write}");
                return null;
            case YamlText text:
                return text;
            default:
                Wrong(node, $"'{name}' has to be one value; write {write}");
                return null;
        }
    }

    /// <summary>Names in a sentence: <c>a, b or c</c>.</summary>
    public static string Or(IReadOnlyList<string> names) => names.Count == 1 ? names[0] : $"{string.Join(", ", names.Take(names.Count - 1))} or {names[^1]}";

    private static string Quoted(string name) => name.Contains(' ', StringComparison.Ordinal) ? name : $"'{name}'";
}
