using Panacea.Injection;
using Panacea.Lab.Campaign;

namespace Panacea.Lab.Tests.Campaign;

public sealed class CampaignJournalTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("panacea-test-").FullName;

    private string Results => Path.Combine(_directory, "results.jsonl");

    public void Dispose() => Directory.Delete(_directory, true);

    private string Program(string content)
    {
        string path = Path.Combine(_directory, "panacea");
        File.WriteAllText(path, content);
        return path;
    }

    private static CampaignRecord Record(int trial, CampaignArm? arm, string? panacea = null) => new()
    {
        Kernel = "6.1.0", Workload = "idle", Trial = trial, Arm = arm, Outcome = TrialOutcome.Crash, Panacea = panacea, Incidents = [new TrialIncident("a", "kill", "recovered", 5, ["x"])],
        Fault = new Fault { Type = FaultType.Branch, Seed = 3, Explanation = "f never branches", Release = "6.1.0", Changes = [new FaultChange("0x1", "aa", "bb", "c")] },
    };

    [Fact]
    public void What_was_run_is_read_again()
    {
        var journal = CampaignJournal.Open(Results, Program("a"), 1);
        journal.Add(Record(0, CampaignArm.StockPanic));
        journal.Add(Record(0, CampaignArm.Ladder, journal.Panacea));
        journal.Add(Record(1, CampaignArm.StockPanic));
        journal.Add(Record(2, null) with { Fault = null, Outcome = TrialOutcome.NotActivated });

        var again = CampaignJournal.Open(Results, Program("a"), 1);
        Assert.Equal(4, again.Records.Count);
        Assert.Equal(FaultType.Branch, again.Records[0].Fault!.Type);
        Assert.Null(again.Records[3].Fault);
        Assert.Equal("kill", again.Records[1].Incidents[0].Repair);
        Assert.Equal((null, null), (Next(again, "6.1.0", "idle", 0), Next(again, "6.1.0", "idle", 2)));
        Assert.Equal((CampaignArm.Ladder, CampaignArm.StockPanic, CampaignArm.StockPanic), (Next(again, "6.1.0", "idle", 1), Next(again, "6.1.0", "redis", 0), Next(again, "6.12.0", "idle", 0)));
        Assert.Null(again.Next("6.1.0", "idle", 1, Options(CampaignArm.StockPanic)));
    }

    [Theory]
    [InlineData(TrialOutcome.NoEffect, TrialOutcome.NoEffect, false)]
    [InlineData(TrialOutcome.NotActivated, TrialOutcome.NoEffect, false)]
    [InlineData(TrialOutcome.NoEffect, TrialOutcome.Failure, true)]
    [InlineData(TrialOutcome.Hang, TrialOutcome.NoEffect, true)]
    public void What_did_nothing_is_not_run_in_arms_that_could_not_tell(TrialOutcome stock, TrialOutcome ladder, bool isRun)
    {
        CampaignOptions options = Options(Enum.GetValues<CampaignArm>()) with { WhereManifested = [CampaignArm.StockOops, CampaignArm.Rehearsal] };
        var journal = CampaignJournal.Open(Results, null, 1);
        var order = new List<CampaignArm>();
        while (journal.Next("6.1.0", "idle", 0, options) is { } arm)
        {
            order.Add(arm);
            journal.Add(Record(0, arm) with { Outcome = arm == CampaignArm.StockPanic ? stock : arm == CampaignArm.Ladder ? ladder : TrialOutcome.NoEffect });
        }

        CampaignArm[] first = [CampaignArm.StockPanic, CampaignArm.Quarantine, CampaignArm.Ladder];
        Assert.Equal(isRun ? [.. first, .. options.WhereManifested] : first, order);
    }

    private static CampaignArm? Next(CampaignJournal journal, string kernel, string workload, int trial) => journal.Next(kernel, workload, trial, Options(CampaignArm.StockPanic, CampaignArm.Ladder));

    private static CampaignOptions Options(params CampaignArm[] arms) => new() { Lines = [], Workloads = [], Trials = 3, Seed = 1, Directory = "", Arms = arms };

    [Fact]
    public void Results_of_another_executable_are_not_mixed_in()
    {
        var journal = CampaignJournal.Open(Results, Program("a"), 1);
        journal.Add(Record(0, CampaignArm.Ladder, journal.Panacea));
        Assert.Contains("another executable", Assert.Throws<LabException>(() => CampaignJournal.Open(Results, Program("b"), 1)).Message, StringComparison.Ordinal);
        Assert.Single(CampaignJournal.Open(Results, null, 1).Records);
    }

    [Fact]
    public void A_file_that_is_no_journal_says_which_line()
    {
        File.WriteAllText(Results, "{\"kernel\": 3}\n");
        Assert.StartsWith("line 1 of ", Assert.Throws<LabException>(() => CampaignJournal.Open(Results, null, 1)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Another_seed_is_another_campaign()
    {
        var journal = CampaignJournal.Open(Results, null, 7);
        journal.Add(Record(0, CampaignArm.StockPanic) with { CampaignSeed = 7 });
        Assert.Contains("was begun with the seed 7", Assert.Throws<LabException>(() => CampaignJournal.Open(Results, null, 8)).Message, StringComparison.Ordinal);
        Assert.Equal(7ul, Assert.Single(CampaignJournal.Open(Results, null, 7).Records).CampaignSeed);
    }
}
