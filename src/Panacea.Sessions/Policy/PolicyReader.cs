using System.Globalization;
using Panacea.Formats.Yaml;
using Panacea.Repair;

namespace Panacea.Sessions.Policy;

/// <summary>Reads values of a policy file, and goes on where one is wrong.</summary>
internal sealed class PolicyReader : YamlReader
{
    /// <summary>One of an enumeration's names.</summary>
    public Setting<T>? Named<T>(YamlMap map, string name, string what, string where)
        where T : struct, Enum
    {
        string[] names = [.. Enum.GetValues<T>().Select(GuardPolicy.Name)];
        string write = Or(names);
        if (Member(map, name) is not { } node || Text(node, name, write) is not { } text)
            return null;
        int at = Array.IndexOf(names, text.Text);
        if (at >= 0)
            return new Setting<T>(Enum.GetValues<T>()[at], Place(text, where));
        Wrong(text, $"'{Short(text.Text)}' is no {what}; write {write}");
        return null;
    }

    /// <summary>Kinds of repairs, in the ladder's order.</summary>
    public Setting<IReadOnlyList<RepairKind>>? Rungs(YamlMap map, string where)
    {
        string write = $"a list of {PolicyText.Rungs(null)}";
        switch (Member(map, "rungs"))
        {
            case null or YamlRefused:
                return null;
            case YamlList { Items.Count: 0 } empty:
                Wrong(empty, "'rungs' is an empty list; write 'mode: observe' where nothing is to be repaired");
                return null;
            case YamlList list:
                var rungs = new SortedSet<RepairKind>();
                foreach (YamlNode item in list.Items)
                {
                    if (Text(item, "rungs", write) is not { } text)
                        continue;
                    RepairKind kind = GuardPolicy.Rungs.FirstOrDefault(r => GuardPolicy.Name(r) == text.Text);
                    if (kind == RepairKind.None)
                        Wrong(text, $"'{Short(text.Text)}' is no rung; write {PolicyText.Rungs(null)}");
                    else if (!rungs.Add(kind))
                        Wrong(text, $"the rung '{text.Text}' is given already; write it once");
                }

                return rungs.Count == 0 ? null : new Setting<IReadOnlyList<RepairKind>>([.. rungs], Place(list, where));
            case { } other:
                Wrong(other, $"'rungs' has to be a list; write {write}: [{PolicyText.Rungs([RepairKind.GoOn, RepairKind.Kill])}]");
                return null;
        }
    }

    /// <summary>A duration between two bounds.</summary>
    public Setting<TimeSpan>? Duration(YamlMap? map, string name, (TimeSpan Least, TimeSpan Most) bounds, string where)
    {
        string write = $"a duration from {Durations.Format(bounds.Least)} to {Durations.Format(bounds.Most)}, as 500ms, 2s or 1m";
        if (Member(map, name) is not { } node || Text(node, name, write) is not { } text)
            return null;
        if (Durations.TryParse(text.Text, out TimeSpan duration) && duration >= bounds.Least && duration <= bounds.Most)
            return new Setting<TimeSpan>(duration, Place(text, where));
        Wrong(text, $"'{Short(text.Text)}' is no value of '{name}'; write {write}");
        return null;
    }

    /// <summary>A whole number from 0, which stands for what <paramref name="zero"/> says.</summary>
    public Setting<int>? Number(YamlMap? map, string name, string zero, int most, string where)
    {
        string write = string.Create(CultureInfo.InvariantCulture, $"a number from 0, for {zero}, to {most}");
        if (Member(map, name) is not { } node || Text(node, name, write) is not { } text)
            return null;
        if (int.TryParse(text.Text, NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number <= most)
            return new Setting<int>(number, Place(text, where));
        Wrong(text, $"'{Short(text.Text)}' is no value of '{name}'; write {write}");
        return null;
    }

    /// <summary>true or false, and none of YAML's other words for them.</summary>
    public Setting<bool>? Truth(YamlMap? map, string name, string where)
    {
        if (Member(map, name) is not { } node || Text(node, name, "true or false") is not { } text)
            return null;
        if (text.Text is "true" or "false")
            return new Setting<bool>(text.Text == "true", Place(text, where));
        Wrong(text, $"'{Short(text.Text)}' is no value of '{name}'; write true or false");
        return null;
    }

    /// <summary>A directory's full path, or <c>none</c>.</summary>
    public Setting<string?>? Directory(YamlMap? map, string name, string where)
    {
        const string Write = "a directory's full path, as /var/lib/panacea/dumps, or none";
        if (Member(map, name) is not { } node || Text(node, name, Write) is not { } text)
            return null;
        if (text.Text == "none" || (text.Text[0] == '/' && !text.Text.Any(char.IsControl)))
            return new Setting<string?>(text.Text == "none" ? null : text.Text, Place(text, where));
        Wrong(text, $"'{Short(text.Text)}' is no value of '{name}'; write {Write}");
        return null;
    }

    private static string Place(YamlNode at, string where) => string.Create(CultureInfo.InvariantCulture, $"{where}line {at.Line}");
}
