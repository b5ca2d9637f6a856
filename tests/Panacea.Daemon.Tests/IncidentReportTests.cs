using Panacea.Repair;
using Panacea.Sessions;

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
}
