using System.Text.RegularExpressions;
using System.Xml.Linq;
using Panacea.Injection;
using Panacea.Lab.Campaign;
using Panacea.Lab.Campaign.Report;

namespace Panacea.Lab.Tests.Campaign.Report;

/// <summary>The reports of a campaign say what it came to, whatever its guests say.</summary>
public sealed partial class CampaignDocumentTests
{
    private const string Hostile = "a | b `c` **d** \n# e \u001b[2J <script>alert(1)</script> \u202e [x](http://evil) & \"q\" 'r'";

    private static readonly CampaignStatistics Small = CampaignStatistics.Of(CampaignSamples.Small);

    private static CampaignStatistics Spoiled => CampaignStatistics.Of(
    [
        CampaignSamples.Run(0, CampaignArm.StockPanic, TrialOutcome.Crash) with { Workload = Hostile, Kernel = Hostile },
        CampaignSamples.Run(0, CampaignArm.Ladder, TrialOutcome.Crash) with
        {
            Workload = Hostile, Kernel = Hostile, Fault = CampaignSamples.Fault(explanation: Hostile), Incidents = [new TrialIncident(Hostile, Hostile, "recovered", 3, [Hostile])], Failures = [Hostile], Lost = [Hostile],
            Evidence = Hostile,
        },
        CampaignSamples.Run(1, CampaignArm.Ladder, TrialOutcome.SilentCorruption) with { Lost = [Hostile] },
    ]);

    [Fact]
    public void The_document_has_the_figures()
    {
        string text = CampaignMarkdown.Of(Small, "Campaign", "Made today.");
        Assert.StartsWith("# Campaign\n\nMade today.\n\nFaults of the kinds", text, StringComparison.Ordinal);
        Assert.Contains("20 runs of 5 faults, 1 of them not activated; 1 more had no place to be put.", text, StringComparison.Ordinal);
        Assert.Contains("| ladder | 5 | 1 | 1 | 1 | 1 | 0 | 1 | 2 | 1 | 50.0 % | 9.4–90.6 % | 1 | 0 |", text, StringComparison.Ordinal);
        Assert.Contains("| rehearsal | 2 | 2 | 100.0 % | 34.2–100.0 % |", text, StringComparison.Ordinal);
        Assert.Contains("| rehearsal | ladder | 2 | 1 | 1 | 0 | 0 | 1.0000 |", text, StringComparison.Ordinal);
        Assert.Contains("| pointer | 1 | 0 | 0 / 0 / 1 / 0 / 0 | 0 of 1 (0.0 %) | 0 / 0 / 1 / 0 / 0 | 0 of 1 (0.0 %) | 0 / 0 / 1 / 0 / 0 | 0 of 1 (0.0 %) |", text, StringComparison.Ordinal);
        Assert.Contains("| unwind | 0 | 0 | 2 |", text, StringComparison.Ordinal);
        Assert.Contains("| rehearsal | 2 | 250.0 ms | 300.0 ms | 300.0 ms |", text, StringComparison.Ordinal);
        Assert.Contains("| missed |", text, StringComparison.Ordinal);
    }

    [Fact]
    public void A_failure_says_what_is_to_be_known_of_it()
    {
        string text = CampaignMarkdown.Of(Small, "Campaign");
        Assert.Contains(
            "- **6.1.0, redis, trial 0, quarantine, branch: crash**\n  - fault: ext4_writepages+0x40 \\[ext4\\] does not jump\n  - incidents: NULL read in ext4_writepages \\[ext4\\] (kill, failed)\n  - failed: fork: no answer\n"
            + "  - evidence: `evidence/6.1-redis-0-quarantine`\n",
            text, StringComparison.Ordinal);
        Assert.Contains("trial 3, ladder, branch: not without Panacea**", text, StringComparison.Ordinal);
        Assert.Contains("trial 2, quarantine, branch: without Panacea, too**", text, StringComparison.Ordinal);
    }

    [Fact]
    public void What_a_guest_says_is_no_markup_of_a_document()
    {
        string text = CampaignMarkdown.Of(Spoiled, Hostile, Hostile);
        Assert.DoesNotContain(text, c => char.IsControl(c) && c != '\n');
        Assert.DoesNotContain('\u202e', text);
        Assert.DoesNotContain("\n# e", text, StringComparison.Ordinal);
        Assert.DoesNotMatch(@"(?<!\\)<script", Code().Replace(text, ""));
        foreach (string[] table in text.Split("\n\n").Where(block => block.StartsWith("| ", StringComparison.Ordinal)).Select(block => block.Trim().Split('\n')))
            Assert.Single(table.Select(row => Bar().Count(row)).Distinct());
    }

    [Fact]
    public void What_a_guest_says_is_no_markup_of_a_page()
    {
        string page = CampaignHtml.Of(Spoiled, Hostile, Hostile);
        Assert.DoesNotContain(page, c => char.IsControl(c) && c != '\n');
        Assert.DoesNotContain('\u202e', page);
        Assert.DoesNotContain("<script", page, StringComparison.OrdinalIgnoreCase);
        Assert.Contains("&lt;script&gt;", page, StringComparison.Ordinal);
        Assert.NotEmpty(Body(page).Descendants("section"));
    }

    [Fact]
    public void The_page_needs_nothing_but_itself()
    {
        string page = CampaignHtml.Of(CampaignStatistics.Of(CampaignSamples.Large()), "Campaign");
        Assert.DoesNotContain("http", page.Replace("http://www.w3.org/2000/svg", "", StringComparison.Ordinal).Replace("http-equiv", "", StringComparison.Ordinal), StringComparison.Ordinal);
        Assert.DoesNotMatch(@"@import|src\s*=|url\((?!#)", page);
        Assert.Contains("default-src 'none'", page, StringComparison.Ordinal);
        string[] ids = [.. Body(page).DescendantsAndSelf().Attributes("id").Select(a => a.Value)];
        Assert.Equal(ids.Length, ids.Distinct().Count());
        foreach (Match used in Used().Matches(page))
            Assert.Contains(used.Groups["id"].Value, ids);
    }

    [Fact]
    public void The_page_has_the_same_tables_as_the_document()
    {
        var statistics = CampaignStatistics.Of(CampaignSamples.Large());
        XElement main = Body(CampaignHtml.Of(statistics, "Campaign"));
        string[] rows = [.. CampaignMarkdown.Of(statistics, "Campaign").Split('\n').Where(l => l.StartsWith("| ", StringComparison.Ordinal) && !l.StartsWith("| ---", StringComparison.Ordinal))];
        Assert.Equal(rows.Length, main.Descendants("tr").Count());
        Assert.Equal(rows.Select(r => Bar().Count(r) - 1), main.Descendants("tr").Select(r => r.Elements().Count()));
        Assert.All(main.Descendants("th"), th => Assert.NotNull(th.Attribute("scope")));
    }

    [Fact]
    public void Plots_are_drawn_in_the_colours_of_the_page_and_say_what_they_show()
    {
        var statistics = CampaignStatistics.Of(CampaignSamples.Large());
        XNamespace svg = "http://www.w3.org/2000/svg";
        XElement[] plots = [.. Body(CampaignHtml.Of(statistics, "Campaign")).Descendants(svg + "svg")];
        Assert.Equal(["plot-recovery", "plot-outcomes-stock-panic", "plot-outcomes-ladder", "plot-stopped"], plots.Select(p => p.Element(svg + "title")!.Attribute("id")!.Value.Replace("-title", "", StringComparison.Ordinal)));
        foreach (XElement plot in plots)
        {
            Assert.Equal("img", plot.Attribute("role")!.Value);
            Assert.All(plot.Attribute("aria-labelledby")!.Value.Split(' '), id => Assert.Contains(plot.Elements(), e => e.Attribute("id")?.Value == id && e.Value.Length > 0));
            Assert.DoesNotMatch(@"rgb\(|black|NaN|∞|Infinity|xception", plot.ToString());
        }

        ArmFigures ladder = statistics.Find(CampaignArm.Ladder)!;
        Assert.Contains($"ladder: {ladder.Recovered} of {ladder.Manifested}", plots[0].Descendants(svg + "text").Select(t => t.Value.Trim()));
        Assert.Contains($"ladder: {ladder.Recovery.Counted}, {ladder.Recovery.Interval}", plots[0].Element(svg + "desc")!.Value, StringComparison.Ordinal);
        Assert.Equal(FaultKinds.All.Count(k => k.Class != FaultClass.Direct), plots[1].Descendants(svg + "text").Count(t => FaultKinds.All.Any(k => t.Value.Contains($"{k.Name} (", StringComparison.Ordinal))));
        Assert.Contains("10 ms", plots[3].Descendants(svg + "text").Select(t => t.Value.Trim()));
    }

    [Fact]
    public void One_run_can_be_drawn()
    {
        var one = CampaignStatistics.Of([CampaignSamples.Run(0, CampaignArm.Ladder, TrialOutcome.Crash, lives: true) with { Incidents = [CampaignSamples.Incident("unwind", 0)] }]);
        Assert.DoesNotMatch(@"NaN|∞|Infinity|xception", CampaignHtml.Of(one, "Campaign"));
    }

    [Fact]
    public void A_plot_of_a_long_campaign_is_no_larger()
    {
        CampaignRecord[] many = [.. Enumerable.Range(0, 20_000).Select(i => CampaignSamples.Run(i, CampaignArm.Ladder, TrialOutcome.Crash, lives: true) with { Incidents = [CampaignSamples.Incident("unwind", 1000 + i)] })];
        Assert.InRange(CampaignHtml.Of(CampaignStatistics.Of(many), "Campaign").Length, 1, 100_000);
    }

    [Fact]
    public void At_most_two_hundred_failures_are_listed()
    {
        var many = CampaignStatistics.Of([.. Enumerable.Range(0, 253).Select(i => CampaignSamples.Run(i, CampaignArm.Ladder, TrialOutcome.Hang))]);
        string text = CampaignMarkdown.Of(many, "Campaign"), page = CampaignHtml.Of(many, "Campaign");
        Assert.Equal(200, text.Split('\n').Count(l => l.StartsWith("- **", StringComparison.Ordinal)));
        Assert.Contains("\n53 more are not listed.\n", text, StringComparison.Ordinal);
        Assert.Equal(200, Body(page).Descendants("details").Count());
        Assert.Contains("<p>53 more are not listed.</p>", page, StringComparison.Ordinal);
    }

    [Fact]
    public void Where_nobody_protected_the_guest_nothing_is_said_of_Panacea()
    {
        string text = CampaignMarkdown.Of(CampaignStatistics.Of([CampaignSamples.Run(0, CampaignArm.StockOops, TrialOutcome.Crash, lives: true)]), "Campaign");
        Assert.Contains("| stock-oops | 1 | 0 | 0 | 1 | 0 | 0 | 0 | 1 | 1 | 100.0 % |", text, StringComparison.Ordinal);
        Assert.DoesNotContain("under Panacea that crashed", text, StringComparison.Ordinal);
        Assert.DoesNotContain("## The same faults", text, StringComparison.Ordinal);
    }

    [Fact]
    public void Of_nothing_there_is_a_report_that_says_so()
    {
        var none = CampaignStatistics.Of([]);
        string text = CampaignMarkdown.Of(none, "Campaign"), page = CampaignHtml.Of(none, "Campaign");
        Assert.Contains("There are no runs. 0 faults", text, StringComparison.Ordinal);
        Assert.Contains("| – | no data |", text, StringComparison.Ordinal);
        Assert.Contains("There are no runs.", page, StringComparison.Ordinal);
        Assert.DoesNotContain("<svg", page, StringComparison.Ordinal);
        Assert.Single(Body(page).Descendants("section"));
    }

    /// <summary>What is in it is well-formed XML, too: every element is closed, every attribute quoted.</summary>
    private static XElement Body(string page) => XElement.Parse(page[page.IndexOf("<main>", StringComparison.Ordinal)..(page.IndexOf("</main>", StringComparison.Ordinal) + "</main>".Length)]);

    [GeneratedRegex(@"(?<!\\)\|")]
    private static partial Regex Bar();

    [GeneratedRegex(@"(`+).*?(?<!`)\1(?!`)")]
    private static partial Regex Code();

    [GeneratedRegex(@"url\(#(?<id>[^)]+)\)|href=""#(?<id>[^""]+)""")]
    private static partial Regex Used();
}
