using System.Text;

namespace Panacea.Diagnosis.Rendering;

/// <summary>A section of a report before it has a form: sentences, then a table. Its strings are as the guest has them; each form escapes them by its own rules.</summary>
/// <param name="Title">Heading.</param>
/// <param name="Sentences">Each a paragraph of its own.</param>
/// <param name="Columns">Heads of the table; empty where there is none.</param>
/// <param name="Rows">Cells.</param>
internal sealed record ReportSection(string Title, IReadOnlyList<string> Sentences, IReadOnlyList<string> Columns, IReadOnlyList<IReadOnlyList<string>> Rows)
{
    /// <summary>Rows beyond this many are folded away on a page.</summary>
    private const int OpenRows = 12;

    public void AppendMarkdown(StringBuilder to)
    {
        to.Append("## ").Append(Safe.Markdown(Title)).Append("\n\n");
        foreach (string sentence in Sentences)
            to.Append(Safe.Markdown(sentence)).Append("\n\n");
        if (Rows.Count == 0)
            return;
        to.Append("| ").AppendJoin(" | ", Columns.Select(c => Safe.Markdown(c, leadsLine: false))).Append(" |\n|").Insert(to.Length, " --- |", Columns.Count).Append('\n');
        foreach (IReadOnlyList<string> row in Rows)
            to.Append("| ").AppendJoin(" | ", row.Select(cell => Safe.Markdown(cell, leadsLine: false))).Append(" |\n");
        to.Append('\n');
    }

    public void AppendHtml(StringBuilder to)
    {
        HtmlPage.Heading(to, Title);
        foreach (string sentence in Sentences)
            to.Append("<p>").Append(Safe.Html(sentence)).Append("</p>\n");
        if (Rows.Count == 0)
            return;
        if (Rows.Count > OpenRows)
            to.Append("<details><summary>").Append(Rows.Count).Append(" rows</summary><div>");
        to.Append("<div class=\"wide\"><table><thead><tr>");
        foreach (string column in Columns)
            to.Append("<th>").Append(Safe.Html(column)).Append("</th>");
        to.Append("</tr></thead><tbody>\n");
        foreach (IReadOnlyList<string> row in Rows)
            to.Append("<tr>").AppendJoin("", row.Select(cell => $"<td>{Safe.Html(cell)}</td>")).Append("</tr>\n");
        to.Append("</tbody></table></div>");
        to.Append(Rows.Count > OpenRows ? "</div></details>\n" : "\n");
    }
}
