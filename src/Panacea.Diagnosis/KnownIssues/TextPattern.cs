using System.Text;
using System.Text.RegularExpressions;

namespace Panacea.Diagnosis.KnownIssues;

/// <summary>A pattern of a rule: text, text with <c>*</c> and <c>?</c>, or a regular expression between slashes. Every match takes time in proportion to the text, whatever the pattern.</summary>
public sealed class TextPattern
{
    private const int MaxLength = 1000;

    /// <summary>A second line of defence: expressions that do not go back need no time limit.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromMilliseconds(250);

    private readonly Regex? _expression;

    private TextPattern(string text, Regex? expression) => (Text, _expression) = (text, expression);

    /// <summary>As the rule has it.</summary>
    public string Text { get; }

    /// <summary>Reads a pattern.</summary>
    /// <param name="text">The pattern.</param>
    /// <param name="within">It may stand anywhere in a text, and upper and lower case are alike; else it is the whole of it, to the letter.</param>
    /// <param name="pattern">The result.</param>
    /// <param name="whyNot">Why it is none, where the result is false.</param>
    public static bool TryParse(string text, bool within, out TextPattern pattern, out string whyNot)
    {
        (pattern, whyNot) = (null!, "");
        if (text.Length is 0 or > MaxLength)
        {
            whyNot = text.Length == 0 ? "is empty" : $"is longer than {MaxLength} characters";
            return false;
        }

        bool isExpression = text.Length > 2 && text[0] == '/' && (text[^1] == '/' || text.EndsWith("/i", StringComparison.Ordinal));
        if (!isExpression && !within && text.AsSpan().IndexOfAny('*', '?') < 0)
        {
            pattern = new TextPattern(text, null);
            return true;
        }

        string expression = isExpression ? text[1..text.LastIndexOf('/')] : Glob(text, within);
        RegexOptions options = RegexOptions.NonBacktracking | RegexOptions.CultureInvariant | RegexOptions.Singleline;
        if (isExpression ? text[^1] == 'i' : within)
            options |= RegexOptions.IgnoreCase;
        try
        {
            pattern = new TextPattern(text, new Regex(expression, options, Patience));
            return true;
        }
        catch (RegexParseException e)
        {
            whyNot = $"is no regular expression ({e.Error}, at character {e.Offset + 1})";
        }
        catch (NotSupportedException)
        {
            whyNot = "is a regular expression with back references, look-around or too many repetitions, which are not supported";
        }

        return false;
    }

    /// <summary>The text matches.</summary>
    public bool IsMatch(string text)
    {
        try
        {
            return _expression?.IsMatch(text) ?? text == Text;
        }
        catch (RegexMatchTimeoutException)
        {
            return false;
        }
    }

    /// <inheritdoc/>
    public override string ToString() => Text;

    private static string Glob(string text, bool within)
    {
        var expression = new StringBuilder(within ? "" : "^");
        foreach (char c in text)
            expression.Append(c switch { '*' => ".*", '?' => ".", _ => Regex.Escape(c.ToString()) });
        return expression.Append(within ? "" : "\\z").ToString();
    }
}
