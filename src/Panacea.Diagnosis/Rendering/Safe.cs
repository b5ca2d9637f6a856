using System.Globalization;
using System.Text;

namespace Panacea.Diagnosis.Rendering;

/// <summary>
/// The one door through which strings that come from a guest (or from a file, or from QEMU) reach a terminal or a document. A guest
/// chooses its task names, command lines, module names and log lines; shown as they are, they could move the cursor, rewrite what is on
/// the screen, answer terminal queries, reorder text (bidirectional controls), or become markup, links and table cells.
/// </summary>
/// <remarks>Escapes are for the eye, not for reading back: a backslash of the guest stays as it is. JSON needs none of this: its encoder
/// writes everything but printable ASCII as <c>\uXXXX</c>.</remarks>
public static class Safe
{
    /// <summary>What stands for an empty string where nothing at all would look like a mistake.</summary>
    public const string Nothing = "–";

    private const string Ellipsis = "…";

    /// <summary>One line of plain text for a terminal or a text file: every character that is not visible text is written as an escape
    /// (<c>\n</c>, <c>\x1b</c>, <c>\u{202e}</c>).</summary>
    /// <param name="text">Any string; null counts as empty.</param>
    /// <param name="maxLength">Most UTF-16 units of <paramref name="text"/> that are shown; what is cut is marked by an ellipsis.</param>
    public static string Text(string? text, int maxLength = 4096)
    {
        if (string.IsNullOrEmpty(text))
            return "";
        if (text.Length <= maxLength && IsPlain(text))
            return text;

        var result = new StringBuilder(Math.Min(text.Length, maxLength) + 16);
        int marks = 0;
        for (int at = 0; at < text.Length;)
        {
            if (at >= maxLength)
            {
                result.Append(Ellipsis);
                break;
            }

            bool whole = Rune.TryGetRuneAt(text, at, out Rune rune);
            int value = whole ? rune.Value : text[at];
            marks = whole && IsMark(rune) ? marks + 1 : 0;

            // Two marks on one letter occur in living languages; towers of them cover the neighbouring lines.
            if (whole && marks <= 2 && IsVisible(rune))
                result.Append(text, at, rune.Utf16SequenceLength);
            else
                AppendEscape(result, value);
            at += whole ? rune.Utf16SequenceLength : 1;
        }

        return result.ToString();
    }

    /// <summary>As <see cref="Text"/>, for a Spectre.Console markup string.</summary>
    public static string Markup(string? text, int maxLength = 4096) =>
        Text(text, maxLength).Replace("[", "[[", StringComparison.Ordinal).Replace("]", "]]", StringComparison.Ordinal);

    /// <summary>As <see cref="Text"/>, for running text and table cells of a Markdown document: no emphasis, link, HTML, entity, heading or cell
    /// can come of it.</summary>
    /// <param name="text">Any string; null counts as empty.</param>
    /// <param name="maxLength">As for <see cref="Text"/>.</param>
    /// <param name="leadsLine">It may stand at the beginning of a line, where some characters mean more; false in a table cell.</param>
    public static string Markdown(string? text, int maxLength = 4096, bool leadsLine = true)
    {
        string plain = Text(text, maxLength);
        var result = new StringBuilder(plain.Length + 16);
        for (int i = 0; i < plain.Length; i++)
        {
            if (NeedsBackslash(plain, i, leadsLine))
                result.Append('\\');
            result.Append(plain[i]);
        }

        return result.ToString();
    }

    /// <summary>Escapes what has a meaning where it stands and no more: a report is also read as plain text.</summary>
    private static bool NeedsBackslash(string text, int at, bool leadsLine)
    {
        char before = at > 0 ? text[at - 1] : ' ', after = at + 1 < text.Length ? text[at + 1] : ' ';
        return text[at] switch
        {
            '\\' or '`' or '*' or '[' or ']' or '<' or '>' or '|' or '~' or '&' or '$' or '@' => true,

            // Within a word an underscore is only an underscore.
            '_' => !(char.IsAsciiLetterOrDigit(before) && char.IsAsciiLetterOrDigit(after)),

            // GitHub's dialect makes links of https://…, mailto:… and www.… without being asked.
            ':' => after != ' ',
            '.' => before is 'w' or 'W' || (leadsLine && char.IsAsciiDigit(before) && LeadsLine(text, at)),
            '#' or '-' or '+' or '=' => leadsLine && LeadsLine(text, at),
            ')' => leadsLine && char.IsAsciiDigit(before) && LeadsLine(text, at),
            _ => false,
        };
    }

    /// <summary>Only digits and spaces stand before: what follows could start a list, a heading or an underline.</summary>
    private static bool LeadsLine(string text, int at) => text.AsSpan(0, at).IndexOfAnyExcept(" 0123456789") < 0;

    /// <summary>As <see cref="Text"/>, as a Markdown code span, in which nothing is interpreted.</summary>
    /// <param name="text">Any string.</param>
    /// <param name="inTable">The span stands in a table cell, where a bar ends the cell even inside a span unless it is escaped.</param>
    /// <param name="maxLength">As for <see cref="Text"/>.</param>
    public static string Code(string? text, bool inTable = false, int maxLength = 4096)
    {
        string plain = Text(text, maxLength);
        if (plain.Length == 0)
            return Nothing;
        string fence = new('`', LongestRun(plain, '`') + 1);

        // A span may not touch its fence with a backtick, and one space on each side is dropped when it is shown.
        string pad = plain[0] is '`' or ' ' || plain[^1] is '`' or ' ' ? " " : "";
        if (inTable)
            plain = plain.Replace("|", "\\|", StringComparison.Ordinal);
        return fence + pad + plain + pad + fence;
    }

    /// <summary>Lines as a fenced Markdown block that none of them can end.</summary>
    /// <param name="lines">Any strings; each becomes one line.</param>
    /// <param name="language">Info string after the fence; a constant of the caller's, never the guest's.</param>
    public static string Block(IEnumerable<string> lines, string language = "")
    {
        string[] plain = [.. lines.Select(line => Text(line))];
        int longest = plain.Length == 0 ? 0 : plain.Max(line => LongestRun(line, '`'));
        string fence = new('`', Math.Max(3, longest + 1));
        var result = new StringBuilder();
        result.Append(fence).Append(language).Append('\n');
        foreach (string line in plain)
            result.Append(line).Append('\n');
        return result.Append(fence).ToString();
    }

    /// <summary>As <see cref="Text"/>, for the text and the quoted attributes of an HTML document.</summary>
    public static string Html(string? text, int maxLength = 4096) => System.Net.WebUtility.HtmlEncode(Text(text, maxLength));

    private static bool IsPlain(string text)
    {
        foreach (char c in text)
        {
            if (c is < ' ' or > '~')
                return false;
        }

        return true;
    }

    private static bool IsMark(Rune rune) => Rune.GetUnicodeCategory(rune)
        is UnicodeCategory.NonSpacingMark or UnicodeCategory.EnclosingMark or UnicodeCategory.SpacingCombiningMark;

    private static bool IsVisible(Rune rune) => rune.Value == ' ' || Rune.GetUnicodeCategory(rune) switch
    {
        // Cf holds the bidirectional controls, the zero-width characters and the tag characters; Zs looks like a space and is none.
        UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.Surrogate or UnicodeCategory.PrivateUse
            or UnicodeCategory.OtherNotAssigned or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator
            or UnicodeCategory.SpaceSeparator => false,
        _ => !IsBlankLetter(rune.Value),
    };

    /// <summary>Letters and marks without a glyph: Hangul fillers, the combining grapheme joiner, variation selectors, Braille blank.</summary>
    private static bool IsBlankLetter(int value) =>
        value is 0x034f or 0x115f or 0x1160 or 0x3164 or 0xffa0 or 0x2800 or 0x17b4 or 0x17b5 or (>= 0x180b and <= 0x180f)
            or (>= 0xfe00 and <= 0xfe0f) or (>= 0xe0100 and <= 0xe01ef);

    private static void AppendEscape(StringBuilder result, int value) => _ = value switch
    {
        '\n' => result.Append("\\n"),
        '\r' => result.Append("\\r"),
        '\t' => result.Append("\\t"),
        < 0x100 => result.Append(CultureInfo.InvariantCulture, $"\\x{value:x2}"),
        _ => result.Append(CultureInfo.InvariantCulture, $"\\u{{{value:x}}}"),
    };

    private static int LongestRun(string text, char c)
    {
        int longest = 0, run = 0;
        foreach (char each in text)
        {
            run = each == c ? run + 1 : 0;
            longest = Math.Max(longest, run);
        }

        return longest;
    }
}
