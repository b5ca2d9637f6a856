using System.Text;

namespace Panacea.TestKit.Fuzzing;

/// <summary>Makes a damaged text of good ones: lines mixed, moved, cut, joined, words of the format put where they do not belong, bytes broken.</summary>
/// <param name="words">Words that mean something in the format.</param>
/// <param name="mostLines">Most lines that are taken of one text.</param>
public sealed class TextMutator(IReadOnlyList<string> words, int mostLines = 40)
{
    /// <summary>What a hostile guest puts into names and messages: escape sequences, controls, bidirectional controls, markup, links, formats, broken surrogates.</summary>
    public static IReadOnlyList<string> Hostile { get; } =
    [
        "\u001b[31m", "\u001b]0;owned\a", "\u001b]8;;http://x\u001b\\", "\u001b[2J", "\u001b[6n", "\u009b31m", "\0", "\r", "\b\b\b", "\a", "\u007f", "\u0085", "\u202e", "\u202d", "\u2066", "\u2067", "\u2069", "\u200e",
        "\u200f", "\u061c", "\u2028", "\u2029", "\ufeff", "\u200b", "\u00ad", "\u3164", "\u2800", "\ud800", "\udc00", "\U000e0041", "e\u0301\u0302\u0303\u0304", "<script>alert(1)</script>", "<img src=x onerror=x>",
        "</pre>", "</title>", "-->", "]]>", "&lt;", "\"'><b>", "' onclick='x", "[x](javascript:y)", "![x](http://y)", "```", "`", "~~~", "|", "\n# ", "\n---\n", "\n", "\t", "[red]", "[/]", "https://x.example", "www.x.example", "@all",
        "%s%n", "{0}", "\\u001b", "$(x)", "\u0fd5\ufdfd", "\u0000\u0001\u0002",
    ];

    /// <summary>A text made of parts of some of the good ones, as UTF-8.</summary>
    /// <param name="corpus">Good texts, as lines.</param>
    /// <param name="random">Draws.</param>
    public byte[] Mutate(IReadOnlyList<string[]> corpus, Random random)
    {
        var lines = new List<string>();
        for (int parts = random.Next(1, 4); parts > 0; parts--)
        {
            string[] text = corpus[random.Next(corpus.Count)];
            int start = random.Next(4) == 0 ? random.Next(text.Length) : random.Next(Math.Min(4, text.Length));
            lines.AddRange(text.AsSpan(start, Math.Min(random.Next(1, mostLines), text.Length - start)));
        }

        for (int edits = random.Next(8); edits > 0 && lines.Count > 0; edits--)
            Edit(lines, random);
        byte[] bytes = Encoding.UTF8.GetBytes(string.Join('\n', lines));
        for (int flips = random.Next(4); flips > 0 && bytes.Length > 0; flips--)
            bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
        return bytes;
    }

    private void Edit(List<string> lines, Random random)
    {
        int at = random.Next(lines.Count);
        string line = lines[at];
        int where = random.Next(line.Length + 1);
        switch (random.Next(8))
        {
            case 0:
            case 1:
                IReadOnlyList<string> source = words.Count == 0 || random.Next(3) == 0 ? Hostile : words;
                lines[at] = line.Insert(where, source[random.Next(source.Count)]);
                break;
            case 2:
                lines[at] = line[..where];
                break;
            case 3:
                lines[at] = line[where..];
                break;
            case 4:
                lines.RemoveAt(at);
                break;
            case 5:
                (lines[at], lines[^1]) = (lines[^1], line);
                break;
            case 6:
                lines[at] = line + lines[random.Next(lines.Count)];
                break;
            default:
                lines.Insert(at, lines[random.Next(lines.Count)]);
                break;
        }
    }
}
