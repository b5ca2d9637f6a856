using System.Globalization;
using System.Text;
using Panacea.Diagnosis.Rendering;

namespace Panacea.Lab.Campaign.Report;

/// <summary>The report of a campaign as a Markdown document.</summary>
public static class CampaignMarkdown
{
    /// <summary>Most characters of anything that comes out of a guest.</summary>
    private const int MaxLength = 600;

    /// <summary>The document as a whole.</summary>
    /// <param name="statistics">What the campaign came to.</param>
    /// <param name="heading">Its heading. Text as it came.</param>
    /// <param name="notes">Paragraphs that come before all others: when, where, what runs it again. Text as it came.</param>
    public static string Of(CampaignStatistics statistics, string heading, params IReadOnlyList<string> notes)
    {
        var text = new StringBuilder("# ").Append(Safe.Markdown(heading, leadsLine: false)).Append("\n\n");
        foreach (string paragraph in (string[])[.. notes, CampaignSections.Introduction, CampaignSections.Extent(statistics)])
            text.Append(Safe.Markdown(paragraph)).Append("\n\n");
        foreach (ReportSection section in CampaignSections.Of(statistics))
            Append(text, section);
        return text.ToString().TrimEnd() + "\n";
    }

    private static void Append(StringBuilder text, ReportSection section)
    {
        text.Append("## ").Append(section.Title).Append("\n\n").Append(Safe.Markdown(section.Note)).Append("\n\n");
        foreach (ReportTable table in section.Tables)
        {
            Row(text, table.Columns);
            Row(text, table.Columns.Select((_, i) => i < table.Words ? "---" : "---:"));
            foreach (IReadOnlyList<string> row in table.Rows)
                Row(text, row.Select(cell => Safe.Markdown(cell, MaxLength, leadsLine: false)));
            text.Append('\n');
        }

        foreach (ReportItem item in section.Items)
        {
            text.Append("- **").Append(Safe.Markdown(item.Title, MaxLength, leadsLine: false)).Append("**\n");
            foreach (ReportFact fact in item.Facts)
                text.Append("  - ").Append(fact.Name).Append(": ").Append(fact.IsCode ? Safe.Code(fact.Value, maxLength: MaxLength) : Safe.Markdown(fact.Value, MaxLength, leadsLine: false)).Append('\n');
        }

        if (section.Omitted > 0)
            text.Append(CultureInfo.InvariantCulture, $"\n{section.Omitted} more are not listed.\n");
        if (section.Items.Count > 0)
            text.Append('\n');
    }

    private static void Row(StringBuilder text, IEnumerable<string> cells) => text.Append("| ").AppendJoin(" | ", cells).Append(" |\n");
}
