using System.IO.Compression;
using System.Text.RegularExpressions;
using System.Text;
using Panacea.Lab.Campaign;
using Panacea.Lab.Campaign.Report;
using Panacea.Lab.Tests.Campaign.Report;
using Panacea.TestKit;

namespace Panacea.Lab.Tests.Campaign;

/// <summary>Directories of campaigns, and the report of several.</summary>
public sealed class CampaignResultsTests : IDisposable
{
    private readonly TemporaryDirectory _place = new();

    public void Dispose() => _place.Dispose();

    /// <summary>A campaign in which the ladder saves a guest, and loses one.</summary>
    private string Campaign(string name, ulong? seed)
    {
        string directory = Directory.CreateDirectory(Path.Combine(_place.Path, name)).FullName;
        var journal = CampaignJournal.Open(Path.Combine(directory, CampaignResults.FileName), null, seed ?? 0);
        journal.Add(CampaignSamples.Run(0, CampaignArm.Ladder, TrialOutcome.Crash, lives: true) with { CampaignSeed = seed });
        journal.Add(CampaignSamples.Run(1, CampaignArm.Ladder, TrialOutcome.Hang) with { CampaignSeed = seed });
        return directory;
    }

    [Fact]
    public void Several_campaigns_are_counted_together_and_one_by_one()
    {
        string first = Campaign("a", 1), second = Campaign("b", 2);
        File.WriteAllText(Path.Combine(second, CampaignResults.CausesName), """{"kernel":"6.1","workload":"redis","trial":1,"class":"lost wakeup","cause":"nobody woke it"}""" + "\n");
        var together = CampaignStatistics.OfAll([CampaignResults.Read(first), CampaignResults.Read(second)]);
        Assert.Equal((4, 2, 0), (together.Find(CampaignArm.Ladder)!.Manifested, together.Find(CampaignArm.Ladder)!.Recovered, together.Repeated));
        Assert.Equal(4, together.Whole.Faults);
        Assert.Equal("1 2, 2 2", string.Join(", ", together.BySeed.Select(g => $"{g.Name} {g.Faults}")));
        Assert.Equal("lost wakeup 1, not looked into 1", string.Join(", ", together.Causes.Select(c => $"{c.Name} {c.Runs[CampaignArm.Ladder]}")));

        string document = CampaignMarkdown.Of(together, "Together");
        Assert.Contains("| 2 | 2 | 0 | 1 of 2 (50.0 %) |", document, StringComparison.Ordinal);
        Assert.Contains("redis, seed 2, trial 1, ladder, branch: hang", document, StringComparison.Ordinal);
        Assert.Contains("why: lost wakeup: nobody woke it", document, StringComparison.Ordinal);
        Assert.DoesNotContain("seed 1", CampaignMarkdown.Of(CampaignStatistics.OfAll([CampaignResults.Read(first)]), "Alone"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(3ul, "two of these campaigns have the seed 3:")]
    [InlineData(null, "two of these campaigns have the seed that was not kept yet:")]
    public void Faults_that_could_not_be_told_apart_are_not_counted(ulong? seed, string message)
    {
        CampaignResults[] parts = [CampaignResults.Read(Campaign("a", seed)), CampaignResults.Read(Campaign("b", seed))];
        Assert.StartsWith(message, Assert.Throws<LabException>(() => CampaignStatistics.OfAll(parts)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Results_may_be_compressed_and_are_described()
    {
        string directory = Campaign("a", 5), path = Path.Combine(directory, CampaignResults.FileName);
        var description = new CampaignDescription("panacea campaign --output DIR --seed 5", 5, new DateOnly(2026, 11, 27), "a CPU", "7.2.22", "0.1.0");
        CampaignResults.Describe(directory, description);
        using (var packed = new GZipStream(File.Create(path + ".gz"), CompressionLevel.Optimal))
            packed.Write(File.ReadAllBytes(path));
        File.Delete(path);
        CampaignResults read = CampaignResults.Read(directory);
        Assert.Equal((2, description), (read.Records.Count, read.Description));
    }

    /// <summary>Results of before there was a member are results.</summary>
    [Fact]
    public void What_a_result_does_not_say_is_empty()
    {
        string directory = Campaign("a", 5), path = Path.Combine(directory, CampaignResults.FileName);
        string text = File.ReadAllText(path);
        foreach (string member in (string[])["incidents", "failures", "lost", "bystanders", "console"])
            text = Regex.Replace(text, $"\"{member}\":\\[\\],?", "");
        Assert.DoesNotContain("bystanders", text, StringComparison.Ordinal);
        File.WriteAllText(path, text);
        CampaignResults read = CampaignResults.Read(directory);
        Assert.Equal(2, read.Records.Count);
        Assert.All(read.Records, r => Assert.Equal(0, r.Incidents.Count + r.Failures.Count + r.Lost.Count + r.Bystanders.Count + r.Console.Count));
        Assert.NotEmpty(CampaignStatistics.OfAll([read]).Arms);
    }

    [Theory]
    [InlineData("results.jsonl", "nothing", "line 1 of ")]
    [InlineData("results.jsonl.gz", "not compressed", "can't be unpacked")]
    [InlineData("causes.jsonl", "{}", "is not the cause of a failure")]
    [InlineData("causes.jsonl", """{"kernel":"6.1","workload":"redis","trial":1,"cause":"no class"}""", "is not the cause of a failure")]
    [InlineData("causes.jsonl", "null", "is not the cause of a failure: it is null")]
    [InlineData("campaign.json", "[]", "does not describe a campaign")]
    [InlineData(null, "", "has no results of a campaign")]
    public void What_is_no_campaign_says_so(string? file, string text, string message)
    {
        string directory = Campaign("a", 5);
        if (file is null || file.EndsWith("gz", StringComparison.Ordinal))
            File.Delete(Path.Combine(directory, CampaignResults.FileName));
        if (file is not null)
            File.WriteAllBytes(Path.Combine(directory, file), Encoding.UTF8.GetBytes(text));
        Assert.Contains(message, Assert.Throws<LabException>(() => CampaignResults.Read(directory)).Message, StringComparison.Ordinal);
    }
}
