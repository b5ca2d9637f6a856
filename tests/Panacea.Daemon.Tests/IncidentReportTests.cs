using Panacea.Repair;
using Panacea.Sessions;
using Panacea.Sessions.Rehearsal;

namespace Panacea.Daemon.Tests;

public class IncidentReportTests
{
    [Fact]
    public void The_report_reads_from_the_headline_down()
    {
        string text = IncidentReport.Render(Samples.Incident());
        string[] wanted =
        [
            "# NULL write in crash_c", "**Recovered by an error return from the faulty function; the guest stood still for 4.2 ms.**",
            "## What happened", "## What was done", "| `error-return` | yes |", "vCPU 0: 250 ticks", "## What was lost", "returned -EIO", "## Structures of the kernel", "check.stacks.end-magic", "not checked: slabs",
            "## Timeline", "| evidence-read | 900 | 900 |", "| resumed | 4210 | 3310 |", "## Errors inside Panacea", "## Stack",
            "## What was written into the guest", "## Console", "[   12.345678] BUG",
        ];
        int at = 0;
        foreach (string each in wanted)
        {
            int found = text.IndexOf(each, at, StringComparison.Ordinal);
            Assert.True(found >= 0, $"'{each}' is missing, or not after what comes before it, in:\n{text}");
            at = found;
        }
    }

    [Fact]
    public void A_crash_without_a_diagnosis_still_has_a_report()
    {
        Incident bare = Samples.Incident() with
        {
            Report = null,
            Repair = RepairKind.None,
            Outcome = IncidentOutcome.Failed,
            Health = null,
            Lost = [],
            Ladder = [],
            Journal = [],
            Timeline = [],
            Console = [],
        };
        string text = IncidentReport.Render(bare);
        Assert.Contains("# Crash without a diagnosis", text, StringComparison.Ordinal);
        Assert.Contains("Not known", text, StringComparison.Ordinal);
    }

    [Fact]
    public void Nothing_lost_is_said_only_of_a_guest_that_lives()
    {
        Assert.Contains("Nothing.", IncidentReport.Render(Samples.Incident() with { Lost = [] }), StringComparison.Ordinal);
        Assert.DoesNotContain(
            "Nothing.", IncidentReport.Render(Samples.Incident() with { Lost = [], Outcome = IncidentOutcome.Declined }), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0, "0 µs")]
    [InlineData(999, "999 µs")]
    [InlineData(1000, "1.0 ms")]
    [InlineData(4210, "4.2 ms")]
    [InlineData(1_500_000, "1.50 s")]
    public void Durations_have_the_unit_that_fits(long us, string expected) => Assert.Equal(expected, IncidentReport.Duration(us));

    [Fact]
    public void Rehearsals_say_what_was_tried_and_seen()
    {
        string report = IncidentReport.Render(Samples.Incident());
        Assert.Contains("Repairs were tried on copies of the machine first (the first plan is of low confidence), which took 445.0 ms of the standstill:\n\n| rung | the copy | what was seen | took |", report, StringComparison.Ordinal);
        Assert.Contains("| `error-return` | lived | jiffies 1 → 2 | 240.1 ms |\n| `unwind` | died again | the copy dies again, in a\\|b | 200.0 ms |\n", report, StringComparison.Ordinal);
        Assert.DoesNotContain("copies", IncidentReport.Render(Samples.Incident() with { Rehearsal = null }), StringComparison.Ordinal);
        Assert.Contains(
            "which took 3.0 ms of the standstill; QEMU does not answer.", IncidentReport.Render(Samples.Incident() with { Rehearsal = new RehearsalRecord("x", [], 3000, "QEMU does not answer") }), StringComparison.Ordinal);
    }
}
