using System.Text.Json;
using Panacea.Repair;
using Panacea.Sessions;

namespace Panacea.Daemon.Tests;

public sealed class LadderExplanationTests
{
    private static readonly Incident Incident = Samples.Incident() with
    {
        Ladder =
        [
            new LadderStep(RepairKind.GoOn, false, "no setting made a panic of it", [], RungVerdict.Declined),
            new LadderStep(RepairKind.Heal, false, "not allowed: by policy rungs", [], RungVerdict.NotAllowed),
            new LadderStep(RepairKind.ErrorReturn, false, "failed before on this task, in incident i-1", [], RungVerdict.FailedBefore),
            new LadderStep(RepairKind.Unwind, true, "vfs_write returns -EIO.", ["one", "two"], RungVerdict.Taken, ["ksys_read\u001b[2J can't return", "another"]),
        ],
    };

    [Fact]
    public void Every_rung_is_a_sentence_in_the_ladders_order()
    {
        string text = LadderExplanation.Of(Incident).Render(IncidentReport.Headline(Incident));
        Assert.Equal(
            [
                "1. go-on does not apply: no setting made a panic of it.",
                "2. heal was not allowed: by policy rungs.",
                "3. error-return had failed before on this task, in incident i-1.",
                "4. unwind was taken: vfs_write returns -EIO. It risks: one; two.",
                "5. kill was not asked: unwind loses less and was chosen.",
                "6. freeze was not asked: unwind loses less and was chosen.",
            ],
            text.Split('\n').Where(l => l.Length > 1 && char.IsAsciiDigit(l[0])));
        Assert.Contains("It risks: one; two.\n   - ksys_read\\x1b[2J can't return.\n   - another.\n5. kill", text, StringComparison.Ordinal);
        Assert.Contains("What held: mode full; rungs go-on, heal, retry, error-return, unwind, kill, freeze; at most 20 repairs within 1m, of which there had been 2; by /etc/panacea/policy.yaml:12.", text, StringComparison.Ordinal);
        Assert.Contains("Lost: the write() of pid 321 returned -EIO.", text, StringComparison.Ordinal);
        Assert.Contains("Error inside Panacea: one page of the stack could not be read.", text, StringComparison.Ordinal);
    }

    [Fact]
    public void A_chosen_repair_that_could_not_be_carried_through_is_not_said_to_be_taken()
    {
        Incident failed = Incident with { Ladder = [new LadderStep(RepairKind.Kill, false, "the process is killed", [], RungVerdict.NotApplied)], Repair = RepairKind.None, Outcome = IncidentOutcome.Failed, Lost = [] };
        string text = LadderExplanation.Of(failed).Render(IncidentReport.Headline(failed));
        Assert.Contains("1. kill was chosen and could not be carried through: the process is killed.", text, StringComparison.Ordinal);
        Assert.Contains("Lost: not known, for the guest was left to itself.", text, StringComparison.Ordinal);
    }

    /// <summary>Records that were written before there were policies have no verdicts.</summary>
    [Fact]
    public void An_older_record_is_explained_as_far_as_it_goes()
    {
        Incident old = Incident with { Policy = null, Ladder = [.. Incident.Ladder.Select(s => s with { Verdict = null })] };
        string text = LadderExplanation.Of(old).Render("Recovered.");
        Assert.Contains("4. unwind was taken", text, StringComparison.Ordinal);
        Assert.Contains("2. heal does not apply", text, StringComparison.Ordinal);
        Assert.Contains("the record is of a version that did not keep more", text, StringComparison.Ordinal);
    }

    [Fact]
    public void A_stored_record_reads_back_as_it_was()
    {
        string json = JsonSerializer.Serialize(Samples.Incident(), IncidentJson.Default.Incident);
        string file = Path.GetTempFileName();
        try
        {
            File.WriteAllText(file, json);
            Assert.Equal(json, JsonSerializer.Serialize(IncidentRecords.Read(file), IncidentJson.Default.Incident));
            foreach (string broken in (string[])["", "null", "[]", "{}", json[..^10], json.Replace("\"schema\": 1", "\"schema\": 2"), json.Replace("\"error-return\"", "\"magic\""), json.Replace("\"explanation\": \"not needed\"", "\"explanation\": null")])
            {
                File.WriteAllText(file, broken);
                Assert.False(Assert.Throws<IncidentRecordException>(() => IncidentRecords.Read(file)).IsMissing);
            }
        }
        finally
        {
            File.Delete(file);
        }
    }
}
