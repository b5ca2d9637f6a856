using System.Globalization;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace Panacea.Formats.Yaml;

/// <summary>Reads YAML into a tree by the parser's events: its depth and size are bounded before anything is built, and anchors, aliases and tags are refused.</summary>
public sealed class YamlTree
{
    private const int MaxDepth = 8, MaxNodes = 500_000, MaxRefused = 100;
    private readonly Parser _parser;
    private readonly string _what;
    private readonly List<YamlMistake> _refused;
    private int _nodes;

    private YamlTree(string text, string what, List<YamlMistake> refused) => (_parser, _what, _refused) = (new Parser(new StringReader(text)), what, refused);

    /// <summary>Reads the one document of a file.</summary>
    /// <param name="text">The file's text; its length is the caller's to bound.</param>
    /// <param name="what">What kind of file it is, for sentences: <c>a rules file</c>.</param>
    /// <param name="refused">Receives what has no meaning in such a file and could be passed by; at most 100.</param>
    /// <returns>The document; null where there is none.</returns>
    /// <exception cref="YamlFileException">It is no YAML, or not one document, or larger or deeper than is read.</exception>
    public static YamlNode? Read(string text, string what, List<YamlMistake> refused)
    {
        try
        {
            var tree = new YamlTree(text, what, refused);
            tree.Next();
            if (tree.Next() is not DocumentStart)
                return null;
            YamlNode root = tree.Node(tree.Next(), 0);
            tree.Next();
            ParsingEvent end = tree.Next();
            return end is StreamEnd ? root : throw Wrong(end, $"a second document begins here; {what} is one");
        }
        catch (YamlException e)
        {
            if (Tab(text) is { } tab)
                throw new YamlFileException(tab with { Sentence = "the line is indented with a tab; YAML takes spaces alone" });
            throw new YamlFileException(At(e.End, $"it is no YAML: {Sentence(e.Message)}"));
        }
    }

    private YamlNode Node(ParsingEvent at, int depth)
    {
        if (++_nodes > MaxNodes)
            throw Wrong(at, $"the file has more than {MaxNodes} values");
        if (depth > MaxDepth)
            throw Wrong(at, $"values lie in each other more than {MaxDepth} deep");
        if (at is AnchorAlias or NodeEvent { Anchor.IsEmpty: false } or NodeEvent { Tag.IsEmpty: false })
        {
            _refused.Add(At(at.Start, $"anchors, aliases and tags have no meaning in {_what}"));
            if (_refused.Count > MaxRefused)
                throw new YamlFileException(_refused[^1]);
        }

        (int line, int column) = (Line(at.Start), Column(at.Start));
        switch (at)
        {
            case AnchorAlias:
                return new YamlRefused(line, column);
            case Scalar scalar:
                return new YamlText(line, column, scalar.Value);
            case SequenceStart:
                var items = new List<YamlNode>();
                for (ParsingEvent next = Next(); next is not SequenceEnd; next = Next())
                    items.Add(Node(next, depth + 1));
                return new YamlList(line, column, items);
            case MappingStart:
                var members = new List<(YamlText, YamlNode)>();
                for (ParsingEvent next = Next(); next is not MappingEnd; next = Next())
                {
                    if (Node(next, depth + 1) is not YamlText key)
                        throw Wrong(next, "a name has to stand before the colon");
                    members.Add((key, Node(Next(), depth + 1)));
                }

                return new YamlMap(line, column, members);
            default:
                throw Wrong(at, "a value is missing");
        }
    }

    private ParsingEvent Next()
    {
        try
        {
            return _parser.MoveNext() && _parser.Current is { } current
                ? current : throw new YamlFileException(_parser.Current is { } last ? At(last.End, "it ends too early") : new YamlMistake(1, 1, "it ends too early"));
        }
        catch (Exception e) when (e is InvalidOperationException or ArgumentException or FormatException or OverflowException)
        {
            // What the library has no sentence for: it stumbles over some input.
            throw new YamlFileException(_parser.Current is { } last ? At(last.End, "it is no YAML") : new YamlMistake(1, 1, "it is no YAML"));
        }
    }

    private static YamlFileException Wrong(ParsingEvent at, string sentence) => new(At(at.Start, sentence));

    private static YamlMistake At(in Mark mark, string sentence) => new(Line(mark), Column(mark), sentence);

    /// <summary>The first line that begins with a tab: the mistake that the library tells worst.</summary>
    private static YamlMistake? Tab(string text)
    {
        int line = 0;
        foreach (ReadOnlySpan<char> each in text.AsSpan().EnumerateLines())
        {
            line++;
            ReadOnlySpan<char> rest = each.TrimStart(' ');
            if (rest.StartsWith("\t"))
                return new YamlMistake(line, each.Length - rest.Length + 1, "");
        }

        return null;
    }

    private static int Line(in Mark mark) => (int)Math.Clamp(mark.Line, 1, int.MaxValue);

    private static int Column(in Mark mark) => (int)Math.Clamp(mark.Column, 1, int.MaxValue);

    private static string Sentence(string message)
    {
        // The library's messages may begin with the place, which is said already.
        int colon = message.StartsWith('(') ? message.IndexOf("): ", StringComparison.Ordinal) : -1;
        string text = (colon > 0 ? message[(colon + 3)..] : message).TrimEnd('.');
        return text.Length > 0 ? char.ToLower(text[0], CultureInfo.InvariantCulture) + text[1..] : "it can't be read";
    }
}
