using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Panacea.Target.Qemu.Clone;

/// <summary>The value of one of QEMU's options: <c>user,id=net,restrict=on</c>, or the same as JSON, as libvirt writes it (QEMU util/keyval.c, util/qemu-option.c: a comma in a value is doubled, a word
/// alone is a flag, the first word may be the value of a key that goes without saying).</summary>
public sealed class QemuOption
{
    private readonly List<KeyValuePair<string, string>> _members;

    private QemuOption(List<KeyValuePair<string, string>> members) => _members = members;

    /// <summary>Parses a value.</summary>
    /// <param name="text">As it stands on the command line.</param>
    /// <param name="implied">The key that a first word without one has: <c>type</c>, <c>driver</c>, <c>qom-type</c>.</param>
    /// <exception cref="CloneException">It is none.</exception>
    public static QemuOption Parse(string text, string implied) => new(text.StartsWith('{') ? ParseJson(text) : ParseWords(text, implied));

    /// <summary>A value of members.</summary>
    public static QemuOption Of(params ReadOnlySpan<(string Key, string Value)> members)
    {
        var list = new List<KeyValuePair<string, string>>(members.Length);
        foreach ((string key, string value) in members)
            list.Add(new(key, value));
        return new QemuOption(list);
    }

    /// <summary>The value of a key, the last one where it is given more than once; null where it is not given.</summary>
    public string? this[string key]
    {
        get
        {
            for (int i = _members.Count - 1; i >= 0; i--)
            {
                if (_members[i].Key == key)
                    return _members[i].Value;
            }

            return null;
        }
    }

    /// <summary>The same without some keys.</summary>
    /// <param name="unwanted">True for a key that goes.</param>
    public QemuOption Without(Func<string, bool> unwanted) => new(_members.FindAll(m => !unwanted(m.Key)));

    /// <summary>The same with a key set, in place of what it was.</summary>
    public QemuOption With(string key, string value) => new([.. _members.Where(m => m.Key != key), new(key, value)]);

    /// <summary>As QEMU reads it, every value with its key.</summary>
    public override string ToString()
    {
        var text = new StringBuilder();
        foreach ((string key, string value) in _members)
        {
            if (text.Length > 0)
                text.Append(',');
            text.Append(key).Append('=').Append(value.Replace(",", ",,", StringComparison.Ordinal));
        }

        return text.ToString();
    }

    private static List<KeyValuePair<string, string>> ParseWords(string text, string implied)
    {
        var members = new List<KeyValuePair<string, string>>();
        var word = new StringBuilder();
        for (int i = 0; i <= text.Length; i++)
        {
            if (i < text.Length && (text[i] != ',' || (i + 1 < text.Length && text[i + 1] == ',')))
            {
                // Of two commas one is meant.
                if (text[i] == ',')
                    i++;
                word.Append(text[i]);
                continue;
            }

            string whole = word.ToString();
            word.Clear();
            int equals = whole.IndexOf('=');
            if (equals >= 0)
                members.Add(new(whole[..equals], whole[(equals + 1)..]));
            else if (members.Count == 0)
                members.Add(new(implied, whole));
            else if (whole.Length > 0)
                members.Add(whole is "nowait" or "nodelay" ? new(whole[2..], "off") : new(whole, "on"));
        }

        return members;
    }

    private static List<KeyValuePair<string, string>> ParseJson(string text)
    {
        var members = new List<KeyValuePair<string, string>>();
        try
        {
            if (JsonNode.Parse(text) is JsonObject parsed)
                Flatten(parsed, "", members);
        }
        catch (Exception e) when (e is JsonException or ArgumentException or InvalidOperationException)
        {
            throw new CloneException($"an option of QEMU's can't be read ({e.Message}): {text}", e);
        }

        return members.Count > 0 ? members : throw new CloneException($"an option of QEMU's can't be read: {text}");
    }

    /// <summary>Members of members become <c>outer.inner</c>, elements of lists <c>outer.0</c>, which QEMU takes for the same.</summary>
    private static void Flatten(JsonNode node, string name, List<KeyValuePair<string, string>> members)
    {
        switch (node)
        {
            case JsonObject inner:
                foreach ((string key, JsonNode? value) in inner)
                {
                    if (value is not null)
                        Flatten(value, name.Length == 0 ? key : $"{name}.{key}", members);
                }

                break;
            case JsonArray list:
                for (int i = 0; i < list.Count; i++)
                {
                    if (list[i] is { } value)
                        Flatten(value, $"{name}.{i}", members);
                }

                break;
            default:
                members.Add(new(name, node.GetValueKind() switch { JsonValueKind.True => "on", JsonValueKind.False => "off", JsonValueKind.String => node.GetValue<string>(), _ => node.ToJsonString() }));
                break;
        }
    }
}
