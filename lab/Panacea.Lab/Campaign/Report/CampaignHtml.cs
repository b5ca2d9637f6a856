using System.Globalization;
using System.Text;
using Panacea.Diagnosis.Rendering;

namespace Panacea.Lab.Campaign.Report;

/// <summary>The report of a campaign as one HTML file: no script, nothing fetched, every text through <see cref="Safe.Html"/>, and a content security policy that forbids what a mistake might still let in.</summary>
public static partial class CampaignHtml
{
    /// <summary>Most characters of anything that comes out of a guest.</summary>
    private const int MaxLength = 600;

    /// <summary>The file as a whole.</summary>
    /// <param name="statistics">What the campaign came to.</param>
    /// <param name="heading">Its heading. Text as it came.</param>
    /// <param name="notes">Paragraphs that come before all others: when, where, what runs it again. Text as it came.</param>
    public static string Of(CampaignStatistics statistics, string heading, params IReadOnlyList<string> notes)
    {
        IReadOnlyList<ReportSection> sections = CampaignSections.Of(statistics);
        var page = new StringBuilder("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
        page.Append("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n");
        page.Append("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n");
        page.Append("<title>").Append(Safe.Html(heading)).Append("</title>\n<style>\n").Append(Style).Append("\n</style>\n</head>\n<body>\n<main>\n<h1>").Append(Safe.Html(heading)).Append("</h1>\n");
        foreach (string note in notes)
            page.Append("<p class=\"source\">").Append(Safe.Html(note)).Append("</p>\n");
        page.Append("<p>").Append(Safe.Html(CampaignSections.Introduction)).Append("</p>\n<p><b>").Append(Safe.Html(CampaignSections.Extent(statistics))).Append("</b></p>\n");
        page.Append("<nav><ul>").AppendJoin("", sections.Select((section, i) => string.Create(CultureInfo.InvariantCulture, $"<li><a href=\"#part-{i}\">{Safe.Html(section.Title)}</a></li>"))).Append("</ul></nav>\n");
        for (int i = 0; i < sections.Count; i++)
            Append(page, sections[i], i, statistics);
        return page.Append("</main>\n</body>\n</html>\n").ToString();
    }

    private static void Append(StringBuilder page, ReportSection section, int number, CampaignStatistics statistics)
    {
        page.Append(CultureInfo.InvariantCulture, $"<section>\n<h2 id=\"part-{number}\">{Safe.Html(section.Title)}</h2>\n<p>{Safe.Html(section.Note)}</p>\n");
        foreach (CampaignPlot plot in CampaignPlots.Of(section.Plot, statistics))
            page.Append("<figure>\n<figcaption><b>").Append(Safe.Html(plot.Title)).Append("</b> ").Append(Safe.Html(plot.Note)).Append("</figcaption>\n").Append(plot.Svg).Append("\n</figure>\n");
        foreach (ReportTable table in section.Tables)
            Append(page, table);
        foreach (ReportItem item in section.Items)
        {
            page.Append("<details><summary>").Append(Safe.Html(item.Title, MaxLength)).Append("</summary><dl>");
            foreach (ReportFact fact in item.Facts)
            {
                page.Append("<dt>").Append(Safe.Html(fact.Name)).Append("</dt><dd>").Append(fact.IsCode ? "<code>" : "").Append(Safe.Html(fact.Value, MaxLength)).Append(fact.IsCode ? "</code>" : "").Append("</dd>");
            }

            page.Append("</dl></details>\n");
        }

        if (section.Omitted > 0)
            page.Append(CultureInfo.InvariantCulture, $"<p>{section.Omitted} more are not listed.</p>\n");
        page.Append("</section>\n");
    }

    private static void Append(StringBuilder page, ReportTable table)
    {
        page.Append("<div class=\"wide\"><table").Append(table.HasVerdict ? " class=\"goals\"" : "").Append(">\n<thead><tr>");
        for (int i = 0; i < table.Columns.Count; i++)
            page.Append(i < table.Words ? "<th scope=\"col\">" : "<th scope=\"col\" class=\"n\">").Append(Safe.Html(table.Columns[i])).Append("</th>");
        page.Append("</tr></thead>\n<tbody>\n");
        foreach (IReadOnlyList<string> row in table.Rows)
        {
            page.Append("<tr>");
            for (int i = 0; i < row.Count; i++)
            {
                string cell = Safe.Html(row[i], MaxLength);
                page.Append(i == 0 ? $"<th scope=\"row\">{cell}</th>" : $"<td{Class(table, i, row[i])}>{cell}</td>");
            }

            page.Append("</tr>\n");
        }

        page.Append("</tbody>\n</table></div>\n");
    }

    private static string Class(ReportTable table, int column, string cell) => table.HasVerdict && column == table.Columns.Count - 1
        ? cell switch { "met" => " class=\"good\"", "missed" => " class=\"bad\"", _ => " class=\"soft\"" }
        : column < table.Words ? "" : " class=\"n\"";
}
