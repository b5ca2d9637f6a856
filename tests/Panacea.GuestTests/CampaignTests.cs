using Panacea.GuestTests.Harness;
using Panacea.Injection;
using Panacea.Lab.Campaign;
using Panacea.Lab.Campaign.Report;
using Panacea.Lab.Setup;
using Panacea.Lab.Tour;

namespace Panacea.GuestTests;

/// <summary>A small campaign with fixed seeds: the machinery of the large ones.</summary>
[Collection(nameof(Guest612))]
public sealed class CampaignTests
{
    private static readonly CampaignArm[] Arms = [CampaignArm.StockPanic, CampaignArm.Ladder, CampaignArm.Rehearsal];

    [Fact]
    public async Task Faults_that_kill_an_unprotected_guest_do_not_kill_a_guarded_one()
    {
        string directory = Directory.CreateTempSubdirectory("panacea-campaign-").FullName;
        try
        {
            // Opening a file crashes once: without protection it is the end, with it an error.
            var options = new CampaignOptions
            {
                Lines = ["6.12"], Workloads = [CampaignWorkload.Find("redis")!], Trials = 2, Seed = 1, Types = [FaultType.Bug], At = "__x64_sys_openat*", Arms = Arms,
                Panacea = new PanaceaProgram(PanaceaCommand.Program), Directory = directory,
            };
            IReadOnlyList<CampaignRecord> records = await new FaultCampaign(options, _ => { }).RunAsync(CancellationToken.None);
            string told = string.Join('\n', records.Select(r => $"{r.Trial} {r.Arm} {r.Outcome} {r.Lives} {string.Join("; ", r.Failures.Concat(r.Lost))} {string.Join("; ", r.Incidents)}"));
            Assert.True(records.Count == 2 * Arms.Length, told);
            Assert.All(records, r => Assert.True(r.Outcome == TrialOutcome.Crash, told));
            Assert.All(records, r => Assert.True(r.Lives == (r.Arm != CampaignArm.StockPanic), told));
            Assert.All(records.Where(r => r.Arm != CampaignArm.StockPanic), r => Assert.True(r.Incidents.Count > 0 && r.Incidents.All(i => i.Outcome == "recovered"), told));

            // Interrupted or not, the same campaign runs nothing again.
            Assert.Equal(records.Count, (await new FaultCampaign(options, _ => { }).RunAsync(CancellationToken.None)).Count);
            var statistics = CampaignStatistics.Of(records);
            Assert.Contains("| ladder", CampaignMarkdown.Of(statistics, "Test"), StringComparison.Ordinal);
            Assert.Contains("<svg", CampaignHtml.Of(statistics, "Test"), StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(directory, true);
        }
    }
}
