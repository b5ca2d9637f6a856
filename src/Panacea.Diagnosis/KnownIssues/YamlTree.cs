using System.Globalization;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace Panacea.Diagnosis.KnownIssues;

/// <summary>A part of a YAML document: a text, a list or a mapping. All scalars are texts: what looks like null, a number or a truth value is left to the reader.</summary>
/// <param name="Line">Line of the file, from 1.</param>
internal abstract record YamlNode(int Line);

/// <summary>A scalar.</summary>
internal sealed record YamlText(int Line, string Text) : YamlNode(Line);

/// <summary>A sequence.</summary>
internal sealed record YamlList(int Line, IReadOnlyList<YamlNode> Items) : YamlNode(Line);

/// <summary>A mapping, in the order of the file.</summary>
internal sealed record YamlMap(int Line, IReadOnlyList<(YamlText Key, YamlNode Value)> Members) : YamlNode(Line);

/// <summary>Reads YAML into a tree by the parser's events: its depth and size are bounded before anything is built, and anchors, aliases and tags are refused.</summary>
internal static class YamlTree
{
    private const int MaxDepth = 8, MaxNodes = 500_000;

    /// <summary>Reads the one document of a file.</summary>
    /// <param name="text">The file's text.</param>
    /// <param name="file">Its name, for sentences.</param>
    /// <exception cref="RulesFileException">It is no such document.</exception>
    public static YamlNode Read(string text, string file)
    {
        var parser = new Parser(new StringReader(text));
        try
        {
            int nodes = 0;
            Next(parser, file);
            if (Next(parser, file) is not DocumentStart)
                throw new RulesFileException($"{file}:1: the file is empty; it has to have a list 'rules'");
            YamlNode root = Node(parser, Next(parser, file), file, 0, ref nodes);
            Next(parser, file);
            ParsingEvent end = Next(parser, file);
            return end is StreamEnd ? root : throw Wrong(file, end, "a second document begins here; a rules file is one");
        }
        catch (YamlException e)
        {
            if (Tab(text) is { } tab)
                throw new RulesFileException($"{file}:{tab}: the line is indented with a tab; YAML takes spaces alone");
            throw new RulesFileException($"{file}:{Line(e.End)}: it is no YAML: {Sentence(e.Message)}");
        }
    }

    private static YamlNode Node(Parser parser, ParsingEvent at, string file, int depth, ref int nodes)
    {
        if (++nodes > MaxNodes)
            throw Wrong(file, at, $"the file has more than {MaxNodes} values");
        if (depth > MaxDepth)
            throw Wrong(file, at, $"values lie in each other more than {MaxDepth} deep");
        if (at is AnchorAlias or NodeEvent { Anchor.IsEmpty: false } or NodeEvent { Tag.IsEmpty: false })
            throw Wrong(file, at, "anchors, aliases and tags have no meaning in a rules file");
        switch (at)
        {
            case Scalar scalar:
                return new YamlText(Line(at.Start), scalar.Value);
            case SequenceStart:
                var items = new List<YamlNode>();
                for (ParsingEvent next = Next(parser, file); next is not SequenceEnd; next = Next(parser, file))
                    items.Add(Node(parser, next, file, depth + 1, ref nodes));
                return new YamlList(Line(at.Start), items);
            case MappingStart:
                var members = new List<(YamlText, YamlNode)>();
                for (ParsingEvent next = Next(parser, file); next is not MappingEnd; next = Next(parser, file))
                {
                    if (Node(parser, next, file, depth + 1, ref nodes) is not YamlText key)
                        throw Wrong(file, next, "a name has to stand before the colon");
                    members.Add((key, Node(parser, Next(parser, file), file, depth + 1, ref nodes)));
                }

                return new YamlMap(Line(at.Start), members);
            default:
                throw Wrong(file, at, "a value is missing");
        }
    }

    private static ParsingEvent Next(Parser parser, string file)
    {
        try
        {
            return parser.MoveNext() && parser.Current is { } current ? current : throw new RulesFileException($"{file}: it ends too early");
        }
        catch (Exception e) when (e is InvalidOperationException or ArgumentException or FormatException or OverflowException)
        {
            // What the library has no sentence for: it stumbles over some input.
            throw new RulesFileException($"{file}:{(parser.Current is { } last ? Line(last.End) : 1)}: it is no YAML");
        }
    }

    private static RulesFileException Wrong(string file, ParsingEvent at, string sentence) => new($"{file}:{Line(at.Start)}: {sentence}");

    /// <summary>The first line that begins with a tab: the mistake that the library tells worst.</summary>
    private static int? Tab(string text)
    {
        int line = 0;
        foreach (ReadOnlySpan<char> each in text.AsSpan().EnumerateLines())
        {
            line++;
            if (each.TrimStart(' ').StartsWith("\t"))
                return line;
        }

        return null;
    }

    private static int Line(in Mark mark) => (int)Math.Clamp(mark.Line, 1, int.MaxValue);

    private static string Sentence(string message)
    {
        // The library's messages may begin with the place, which is said already.
        int colon = message.StartsWith('(') ? message.IndexOf("): ", StringComparison.Ordinal) : -1;
        string text = (colon > 0 ? message[(colon + 3)..] : message).TrimEnd('.');
        return text.Length > 0 ? char.ToLower(text[0], CultureInfo.InvariantCulture) + text[1..] : "it can't be read";
    }
}
