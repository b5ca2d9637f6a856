using System.Text.Json;

namespace Panacea.Lab.Campaign.Report;

/// <summary>What faults came to in one arm.</summary>
public sealed record ArmFigures
{
    /// <summary>The arm.</summary>
    public required CampaignArm Arm { get; init; }

    /// <summary>Its runs.</summary>
    public required int Runs { get; init; }

    /// <summary>Faults that nobody came by: those that were run in no arm for that reason, and runs of this one.</summary>
    public required int NotActivated { get; init; }

    /// <summary>Runs in which nothing was to be seen.</summary>
    public required int NoEffect { get; init; }

    /// <summary>Runs in which the kernel crashed.</summary>
    public required int Crash { get; init; }

    /// <summary>Runs in which the guest hung.</summary>
    public required int Hang { get; init; }

    /// <summary>Runs in which something did not work any more, and nothing crashed or hung.</summary>
    public required int Failure { get; init; }

    /// <summary>Runs in which nothing crashed, and what the workload had been promised does not hold.</summary>
    public required int SilentCorruption { get; init; }

    /// <summary>Of the runs that crashed: the guest lives.</summary>
    public required int RecoveredCrash { get; init; }

    /// <summary>Of the runs that hung: the guest lives.</summary>
    public required int RecoveredHang { get; init; }

    /// <summary>Runs in which something that the workload had been promised was lost.</summary>
    public required int Lost { get; init; }

    /// <summary>Of these: the guest crashed or hung, and does everything again.</summary>
    public required int LostThoughWorking { get; init; }

    /// <summary>Of the runs that crashed or hung and in which the guest lives: it was shut down, and its disk checked.</summary>
    public required int RecoveredAndChecked { get; init; }

    /// <summary>Of the same: a process that was not the workload's is gone.</summary>
    public required int RecoveredWithoutBystander { get; init; }

    /// <summary>Runs of all outcomes in which the guest was shut down, and its disk checked.</summary>
    public required int Checked { get; init; }

    /// <summary>Milliseconds that the runs took together.</summary>
    public required long RunMs { get; init; }

    /// <summary>Faults that were tried: each of them is counted under one outcome.</summary>
    public int Faults => NotActivated + NoEffect + Crash + Hang + Failure + SilentCorruption;

    /// <summary>Runs that crashed or hung.</summary>
    public int Manifested => Crash + Hang;

    /// <summary>Of these: the guest lives.</summary>
    public int Recovered => RecoveredCrash + RecoveredHang;

    /// <summary>Recovered, of those that manifested.</summary>
    public Proportion Recovery => new(Recovered, Manifested);

    /// <summary>Recovered, of those that manifested and of those in which something did not work any more without a crash or a hang.</summary>
    public Proportion RecoveryOfAll => new(Recovered, Manifested + Failure);

    /// <summary>How an arm is spelled: <c>stock-panic</c>.</summary>
    public static string Name(CampaignArm arm) => JsonNamingPolicy.KebabCaseLower.ConvertName(arm.ToString());

    /// <summary>Panacea protects the guest of this arm.</summary>
    public static bool IsGuarded(CampaignArm arm) => arm is CampaignArm.Quarantine or CampaignArm.Ladder or CampaignArm.Rehearsal;

    /// <summary>The guest crashed or hung.</summary>
    public static bool HasManifested(CampaignRecord run) => run.Outcome is TrialOutcome.Crash or TrialOutcome.Hang;

    /// <summary>The guest crashed or hung and does everything again, and what it had promised is lost.</summary>
    internal static bool IsLostThoughWorking(CampaignRecord run) => HasManifested(run) && run.Lost.Count > 0 && run.Failures.Count == 0;

    /// <summary>A process that is not the workload's is gone. Results of before it was looked at tell so only where a guard took it out.</summary>
    private static bool HasLostBystander(CampaignRecord run) => run.Bystanders.Count > 0 || run.Incidents.Any(i => i.Lost.Any(l => l.Contains("(counter)", StringComparison.Ordinal)));

    /// <summary>Counts runs.</summary>
    /// <param name="arm">The arm.</param>
    /// <param name="runs">All of its runs.</param>
    /// <param name="notRun">Faults that were run in no arm, because nobody came by them.</param>
    internal static ArmFigures Of(CampaignArm arm, IReadOnlyList<CampaignRecord> runs, int notRun) => new()
    {
        Arm = arm,
        Runs = runs.Count,
        NotActivated = notRun + runs.Count(r => r.Outcome == TrialOutcome.NotActivated),
        NoEffect = runs.Count(r => r.Outcome == TrialOutcome.NoEffect),
        Crash = runs.Count(r => r.Outcome == TrialOutcome.Crash),
        Hang = runs.Count(r => r.Outcome == TrialOutcome.Hang),
        Failure = runs.Count(r => r.Outcome == TrialOutcome.Failure),
        SilentCorruption = runs.Count(r => r.Outcome == TrialOutcome.SilentCorruption),
        RecoveredCrash = runs.Count(r => r is { Outcome: TrialOutcome.Crash, Lives: true }),
        RecoveredHang = runs.Count(r => r is { Outcome: TrialOutcome.Hang, Lives: true }),
        Lost = runs.Count(r => r.Lost.Count > 0),
        LostThoughWorking = runs.Count(IsLostThoughWorking),
        RecoveredAndChecked = runs.Count(r => HasManifested(r) && r is { Lives: true, WasShutDown: true }),
        RecoveredWithoutBystander = runs.Count(r => HasManifested(r) && r.Lives && HasLostBystander(r)),
        Checked = runs.Count(r => r.WasShutDown),
        RunMs = runs.Sum(r => r.RunMs),
    };
}

/// <summary>What a part of a campaign's faults came to, in each arm.</summary>
/// <param name="Name">What they have in common.</param>
/// <param name="Faults">How many there were.</param>
/// <param name="NotRun">Of these: run in no arm, because nobody came by them.</param>
/// <param name="Arms">One for each arm of the campaign, in the order of <see cref="CampaignArm"/>.</param>
public sealed record CampaignGroup(string Name, int Faults, int NotRun, IReadOnlyList<ArmFigures> Arms)
{
    /// <summary>The figures of an arm; null where the campaign does not have it.</summary>
    public ArmFigures? Find(CampaignArm arm) => Arms.FirstOrDefault(a => a.Arm == arm);

    /// <summary>Counts records that are of faults.</summary>
    internal static CampaignGroup Of(string name, IReadOnlyList<CampaignRecord> records, IReadOnlyList<CampaignArm> arms)
    {
        int notRun = records.Count(r => r is { Arm: null, Outcome: TrialOutcome.NotActivated });
        return new CampaignGroup(
            name, records.Select(r => (r.CampaignSeed, r.Kernel, r.Workload, r.Trial)).Distinct().Count(), notRun, [.. arms.Select(arm => ArmFigures.Of(arm, [.. records.Where(r => r.Arm == arm)], notRun))]);
    }
}
