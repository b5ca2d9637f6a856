using Panacea.Injection;
using Panacea.Lab.Campaign;

namespace Panacea.Lab.Tests.Campaign.Report;

/// <summary>Results of campaigns that were never run.</summary>
internal static class CampaignSamples
{
    public static Fault Fault(FaultType type = FaultType.Branch, string explanation = "ext4_writepages+0x40 [ext4] does not jump") =>
        new() { Type = type, Seed = 7, Explanation = explanation, Place = new FaultPlace("ext4_writepages", "ext4", 0x40), Release = "6.1.0" };

    public static CampaignRecord Run(int trial, CampaignArm? arm, TrialOutcome outcome, bool lives = false) => new()
    {
        Kernel = "6.1.0", Workload = "redis", Trial = trial, Fault = Fault(), At = "ext4", Arm = arm, Outcome = outcome, Lives = lives || outcome is TrialOutcome.NoEffect or TrialOutcome.NotActivated, RunMs = 6000,
    };

    public static TrialIncident Incident(string repair, long? stoppedUs, string outcome = "recovered") => new("NULL read in ext4_writepages [ext4]", repair, outcome, stoppedUs, []);

    /// <summary>Four faults in all arms, one that nobody came by, one that had no place, and a result that came twice.</summary>
    public static IReadOnlyList<CampaignRecord> Small =>
    [
        Run(0, CampaignArm.StockPanic, TrialOutcome.Crash) with { IsDriver = true },
        Run(0, CampaignArm.StockOops, TrialOutcome.Crash, lives: true) with { IsDriver = true },
        Run(0, CampaignArm.Quarantine, TrialOutcome.Crash) with { IsDriver = true, Incidents = [Incident("kill", 4000, "failed")], Failures = ["fork: no answer"], Evidence = "evidence/6.1-redis-0-quarantine" },
        Run(0, CampaignArm.Ladder, TrialOutcome.Crash, lives: true) with { IsDriver = true, Incidents = [Incident("error-return", 3400)] },
        Run(0, CampaignArm.Rehearsal, TrialOutcome.Crash, lives: true) with { IsDriver = true, Incidents = [Incident("unwind", 200_000)] },

        .. ((CampaignRecord[])
        [
            Run(1, CampaignArm.StockPanic, TrialOutcome.Hang),
            Run(1, CampaignArm.StockOops, TrialOutcome.Hang),
            Run(1, CampaignArm.Quarantine, TrialOutcome.Hang, lives: true) with { Incidents = [Incident("kill", null)] },
            Run(1, CampaignArm.Ladder, TrialOutcome.Hang) with { Failures = ["left in D state: jbd2"] },
            Run(1, CampaignArm.Rehearsal, TrialOutcome.NoEffect),
            Run(1, CampaignArm.Ladder, TrialOutcome.Hang, lives: true),
        ]).Select(r => r with { Fault = Fault(FaultType.Pointer) }),

        .. ((CampaignRecord[])
        [
            Run(2, CampaignArm.StockPanic, TrialOutcome.NoEffect),
            Run(2, CampaignArm.StockOops, TrialOutcome.SilentCorruption) with { Lost = ["bank: 41 there"] },
            Run(2, CampaignArm.Quarantine, TrialOutcome.SilentCorruption) with { Lost = ["bank: 41 there"] },
            Run(2, CampaignArm.Ladder, TrialOutcome.NoEffect),
            Run(2, CampaignArm.Rehearsal, TrialOutcome.NoEffect),
        ]).Select(r => r with { Kernel = "6.12.0", Workload = "bank" }),

        Run(3, CampaignArm.StockPanic, TrialOutcome.NoEffect),
        Run(3, CampaignArm.StockOops, TrialOutcome.NoEffect),
        Run(3, CampaignArm.Quarantine, TrialOutcome.NoEffect),
        Run(3, CampaignArm.Ladder, TrialOutcome.SilentCorruption) with { Lost = ["redis: 12 gone"] },
        Run(3, CampaignArm.Rehearsal, TrialOutcome.Crash) with { Incidents = [Incident("unwind", 300_000)], Lost = ["redis: 1 gone"] },

        Run(4, null, TrialOutcome.NotActivated),
        Run(5, null, TrialOutcome.NotActivated) with { Fault = null },
    ];

    /// <summary>A long one, invented by a seed, but not far from what such campaigns come to.</summary>
    public static IReadOnlyList<CampaignRecord> Large(int trials = 400)
    {
        var random = new Random(4711);
        var records = new List<CampaignRecord>();
        FaultKind[] kinds = [.. FaultKinds.All.Where(k => k.Class != FaultClass.Direct)];
        foreach (string kernel in (string[])["6.1.0-56-cloud-amd64", "6.12.101+deb13-cloud-amd64"])
        {
            foreach (string workload in (string[])["idle", "redis", "records", "bank", "forks"])
            {
                for (int trial = 0; trial < trials / 10; trial++)
                {
                    CampaignRecord one = Run(trial, null, TrialOutcome.NotActivated) with
                    {
                        Kernel = kernel,
                        Workload = workload,
                        Fault = Fault(kinds[trial % kinds.Length].Type),
                        IsDriver = random.Next(5) == 0,
                        RunMs = random.Next(2000, 3000),
                    };
                    if (random.Next(3) == 0)
                        records.Add(one);
                    else
                        records.AddRange(Arms(one, random));
                }
            }
        }

        return records;
    }

    private static IEnumerable<CampaignRecord> Arms(CampaignRecord one, Random random)
    {
        TrialOutcome outcome = random.Next(10) switch { < 5 => TrialOutcome.NoEffect, < 8 => TrialOutcome.Crash, < 9 => TrialOutcome.Hang, _ => random.Next(4) == 0 ? TrialOutcome.SilentCorruption : TrialOutcome.Hang };
        foreach (CampaignArm arm in Enum.GetValues<CampaignArm>())
        {
            int chance = arm switch { CampaignArm.StockPanic => 0, CampaignArm.StockOops => 30, CampaignArm.Quarantine => 55, CampaignArm.Ladder => 96, _ => 98 };
            bool manifested = outcome is TrialOutcome.Crash or TrialOutcome.Hang, lives = !manifested || random.Next(100) < chance, isGuarded = arm >= CampaignArm.Quarantine;
            double stopped = Math.Exp(random.NextDouble() + random.NextDouble() + random.NextDouble() - 1.5) * (arm == CampaignArm.Rehearsal ? 250_000 : outcome == TrialOutcome.Hang ? 30_000 : 3_500);
            yield return one with
            {
                Arm = arm,
                Outcome = outcome,
                Lives = lives && outcome != TrialOutcome.SilentCorruption,
                Lost = outcome == TrialOutcome.SilentCorruption ? ["records: record 117 is damaged"] : [],
                Failures = lives ? [] : ["fork and exec on vCPU 1: no answer", "write and fsync: no answer"],
                Incidents = !manifested || !isGuarded ? [] : [Incident(((string[])["error-return", "unwind", "kill", "heal", "freeze"])[random.Next(15) % 5 % (1 + random.Next(5))], (long)stopped, lives ? "recovered" : "failed")],
                Evidence = lives || !isGuarded ? null : $"evidence/{one.Kernel[..4]}-{one.Workload}-{one.Trial}-{arm}",
                RunMs = random.Next(5000, 9000),
            };
        }
    }
}
