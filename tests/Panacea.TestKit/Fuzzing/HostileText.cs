using System.Globalization;
using System.Text;

namespace Panacea.TestKit.Fuzzing;

/// <summary>Makes strings that mean harm to whoever shows them, and tells output in which one of them still means something.</summary>
public static class HostileText
{
    private static readonly HashSet<string> Tags = new(
        [
            "!doctype", "html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "h3", "p", "ul", "ol", "li", "dl", "dt", "dd", "table", "thead", "tbody", "tr", "th", "td", "pre", "code", "span", "div",
            "details", "summary", "section", "header", "footer", "strong", "em", "small", "time",
        ],
        StringComparer.Ordinal);

    private static readonly HashSet<string> Attributes = new(["class", "lang", "charset", "name", "content", "http-equiv", "open", "id", "colspan", "html"], StringComparer.Ordinal);

    /// <summary>A string: parts that mean harm, plain words, any characters.</summary>
    public static string Make(Random random)
    {
        var text = new StringBuilder();
        for (int parts = random.Next(1, 5); parts > 0; parts--)
        {
            _ = random.Next(4) switch
            {
                0 => text.Append("task").Append(random.Next(100)),
                1 => text.Append((char)random.Next(0x20, 0x7f)),
                2 => text.Append((char)random.Next(0x10000)),
                _ => text.Append(TextMutator.Hostile[random.Next(TextMutator.Hostile.Count)]),
            };
        }

        return text.ToString();
    }

    /// <summary>What in plain text for a terminal is no visible text; null where all is well.</summary>
    public static string? WrongInText(string text)
    {
        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] is '\n' or '\t')
                continue;
            if (!Rune.TryGetRuneAt(text, i, out Rune rune))
                return $"half a surrogate pair at {i}";
            if (Rune.GetUnicodeCategory(rune) is UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator)
                return $"U+{rune.Value:x4} at {i}";
            i += rune.Utf16SequenceLength - 1;
        }

        return null;
    }

    /// <summary>As <see cref="WrongInText"/>, for a page: tags and attributes that no page of ours has.</summary>
    public static string? WrongInHtml(string html)
    {
        if (WrongInText(html) is { } wrong)
            return wrong;
        int style = html.IndexOf("</style>", StringComparison.Ordinal);
        for (int at = html.IndexOf('<'); at >= 0; at = html.IndexOf('<', at + 1))
        {
            int end = html.IndexOf('>', at);
            if (end < 0)
                return $"a tag without an end at {at}";
            string[] words = html[(at + 1)..end].TrimStart('/').Split(' ', 2);
            if (!Tags.Contains(words[0]))
                return $"<{words[0]}> at {at}";
            if (at > style && words.Length > 1 && WrongAttribute(words[1]) is { } attribute)
                return $"attribute {attribute} at {at}";
        }

        return null;
    }

    /// <summary>As <see cref="WrongInText"/>, for Markdown: markup and links that stand outside of code and are not escaped.</summary>
    public static string? WrongInMarkdown(string markdown)
    {
        if (WrongInText(markdown) is { } wrong)
            return wrong;
        string? fence = null;
        foreach (string line in markdown.Split('\n'))
        {
            int ticks = line.Length - line.TrimStart('`').Length;
            if (fence is not null)
            {
                if (ticks >= fence.Length && line.Trim('`').Length == 0)
                    fence = null;
                continue;
            }

            if (ticks >= 3 && !line[ticks..].Contains('`'))
            {
                fence = line[..ticks];
                continue;
            }

            string bare = WithoutCode(line);
            if (bare.Contains('<') || bare.Contains("](", StringComparison.Ordinal) || bare.Contains("://", StringComparison.Ordinal))
                return $"markup in \"{line}\"";
        }

        return fence is null ? null : "a block without an end";
    }

    private static string? WrongAttribute(string rest)
    {
        while ((rest = rest.TrimStart()).Length > 0 && rest != "/")
        {
            int equals = rest.IndexOf('='), space = rest.IndexOf(' ');
            string name = equals >= 0 && (space < 0 || equals < space) ? rest[..equals] : space >= 0 ? rest[..space] : rest;
            if (!Attributes.Contains(name))
                return name;
            if (name.Length == rest.Length)
                return null;
            rest = rest[name.Length..];
            if (rest[0] != '=')
                continue;
            int close = rest.Length > 1 && rest[1] == '"' ? rest.IndexOf('"', 2) : -1;
            if (close < 0)
                return $"{name} without quotes";
            rest = rest[(close + 1)..];
        }

        return null;
    }

    /// <summary>A line of Markdown without what is escaped and what stands in code spans.</summary>
    private static string WithoutCode(string line)
    {
        var bare = new StringBuilder();
        for (int i = 0; i < line.Length; i++)
        {
            if (line[i] == '\\' && i + 1 < line.Length)
            {
                i++;
                continue;
            }

            if (line[i] != '`')
            {
                bare.Append(line[i]);
                continue;
            }

            int ticks = line.AsSpan(i).IndexOfAnyExcept('`') is var n && n < 0 ? line.Length - i : n;
            int close = Closing(line, i + ticks, ticks);
            if (close >= 0)
                i = close + ticks - 1;
            else
                i += ticks - 1;
        }

        return bare.ToString();
    }

    private static int Closing(string line, int from, int ticks)
    {
        for (int at = line.IndexOf('`', from); at >= 0;)
        {
            int run = line.AsSpan(at).IndexOfAnyExcept('`') is var n && n < 0 ? line.Length - at : n;
            if (run == ticks)
                return at;
            at = at + run < line.Length ? line.IndexOf('`', at + run) : -1;
        }

        return -1;
    }
}
