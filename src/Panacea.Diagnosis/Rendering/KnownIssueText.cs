using System.Text;
using Panacea.Diagnosis.KnownIssues;

namespace Panacea.Diagnosis.Rendering;

/// <summary>Known issues as Markdown and as HTML. Rules are written by the operator, but what matched is the guest's: everything goes through <see cref="Safe"/>.</summary>
public static class KnownIssueText
{
    /// <summary>A section of its own; nothing where there is no issue.</summary>
    /// <param name="to">Receives Markdown that ends with an empty line.</param>
    /// <param name="issues">The issues.</param>
    public static void AppendMarkdown(StringBuilder to, IReadOnlyList<KnownIssue> issues)
    {
        if (issues.Count == 0)
            return;
        to.Append("## Known issues that this looks like\n\n");
        foreach (KnownIssue issue in issues)
        {
            to.Append("- **").Append(Safe.Markdown(issue.Title)).Append("** (").Append(Safe.Code(issue.Id)).Append(", confidence ").Append(MarkdownReport.Kebab(issue.Confidence)).Append(")\n");
            Line(to, "what to do", issue.Notes is { } notes ? Safe.Markdown(notes.ReplaceLineEndings(" ")) : null);
            Line(to, "see", List(issue.Urls));
            Line(to, "fixed by", List(issue.Fixes));
            Line(to, "fixed in", List(issue.FixedIn));
            foreach (string evidence in issue.Evidence)
                Line(to, "because", Safe.Code(evidence));
            Line(to, "rule", Safe.Code(issue.Rule));
        }

        to.Append('\n');
    }

    internal static void AppendHtml(StringBuilder to, IReadOnlyList<KnownIssue> issues)
    {
        if (issues.Count == 0)
            return;
        HtmlPage.Heading(to, "Known issues that this looks like");
        foreach (KnownIssue issue in issues)
        {
            to.Append("<div class=\"card\"><p><strong>").Append(Safe.Html(issue.Title)).Append("</strong></p><p><code>").Append(Safe.Html(issue.Id)).Append("</code>, confidence ")
                .Append(MarkdownReport.Kebab(issue.Confidence)).Append("</p>");
            if (issue.Notes is { } notes)
                to.Append("<p>").Append(Safe.Html(notes.ReplaceLineEndings(" "))).Append("</p>");
            to.Append("<dl>");
            HtmlPage.Item(to, "See", string.Join(", ", issue.Urls));
            HtmlPage.Item(to, "Fixed by", string.Join(", ", issue.Fixes));
            HtmlPage.Item(to, "Fixed in", string.Join(", ", issue.FixedIn));
            HtmlPage.Item(to, "Rule", issue.Rule);
            to.Append("</dl><ul>");
            foreach (string evidence in issue.Evidence)
                to.Append("<li><code>").Append(Safe.Html(evidence)).Append("</code></li>");
            to.Append("</ul></div>\n");
        }
    }

    private static string? List(IReadOnlyList<string> values) => values.Count == 0 ? null : string.Join(", ", values.Select(v => Safe.Code(v)));

    private static void Line(StringBuilder to, string name, string? value)
    {
        if (value is not null)
            to.Append("  - ").Append(name).Append(": ").Append(value).Append('\n');
    }
}
