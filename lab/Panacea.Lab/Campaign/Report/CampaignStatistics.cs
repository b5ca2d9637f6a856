using System.Globalization;
using Panacea.Injection;
using Panacea.Lab.Bench;

namespace Panacea.Lab.Campaign.Report;

/// <summary>How long guests of an arm stood still for a repair that held.</summary>
/// <param name="Arm">The arm.</param>
/// <param name="Figures">Microseconds.</param>
/// <param name="Sorted">All of them, the shortest first.</param>
public sealed record StoppedTimes(CampaignArm Arm, Figures Figures, IReadOnlyList<long> Sorted);

/// <summary>How often a rung of the ladder repaired.</summary>
/// <param name="Rung">The rung.</param>
/// <param name="Incidents">Incidents that it recovered, by arm; an arm that has none is not in it.</param>
public sealed record RungFigures(string Rung, IReadOnlyDictionary<CampaignArm, int> Incidents);

/// <summary>Failures that have something in common.</summary>
/// <param name="Name">What, in a few words.</param>
/// <param name="Runs">Runs that failed so, by arm; an arm that has none is not in it.</param>
public sealed record FailureClass(string Name, IReadOnlyDictionary<CampaignArm, int> Runs)
{
    /// <summary>Nobody has said why.</summary>
    public const string Unknown = "not looked into";
}

/// <summary>A fault, whatever the arm.</summary>
internal readonly record struct FaultKey(ulong? Seed, string Kernel, string Workload, int Trial);

/// <summary>A silent corruption under Panacea.</summary>
/// <param name="Run">The run.</param>
/// <param name="IsShownUnprotected">The same fault corrupts silently where nobody protects the guest, too.</param>
public sealed record GuardedCorruption(CampaignRecord Run, bool IsShownUnprotected);

/// <summary>What a campaign came to, counted. Says nothing that is not in its records, and needs nothing else.</summary>
public sealed record CampaignStatistics
{
    private static readonly (CampaignArm Arm, CampaignArm Versus)[] Pairs =
        [(CampaignArm.Ladder, CampaignArm.StockOops), (CampaignArm.Ladder, CampaignArm.Quarantine), (CampaignArm.Rehearsal, CampaignArm.Ladder)];

    /// <summary>Arms with Panacea, what tells most of it first: of a list that is cut, these remain.</summary>
    private static readonly CampaignArm?[] Telling = [CampaignArm.Ladder, CampaignArm.Rehearsal, CampaignArm.Quarantine];

    /// <summary>Arms that have runs, in the order of <see cref="CampaignArm"/>.</summary>
    public required IReadOnlyList<CampaignArm> Arms { get; init; }

    /// <summary>All faults together.</summary>
    public required CampaignGroup Whole { get; init; }

    /// <summary>By kind of fault, in the order of <see cref="FaultKinds.All"/>; kinds that were not tried are not in it.</summary>
    public required IReadOnlyList<CampaignGroup> ByType { get; init; }

    /// <summary>By what the guest was doing, in the order in which they were run.</summary>
    public required IReadOnlyList<CampaignGroup> ByWorkload { get; init; }

    /// <summary>By the seed of the campaign, in the order in which they were run.</summary>
    public required IReadOnlyList<CampaignGroup> BySeed { get; init; }

    /// <summary>By kernel, in the order in which they were run.</summary>
    public required IReadOnlyList<CampaignGroup> ByKernel { get; init; }

    /// <summary>Faults in code of drivers.</summary>
    public required CampaignGroup Drivers { get; init; }

    /// <summary>All other faults.</summary>
    public required CampaignGroup Elsewhere { get; init; }

    /// <summary>Faults that there was no place for: they are counted nowhere else.</summary>
    public required int NoPlace { get; init; }

    /// <summary>Records of a fault and arm that there was one of before: they are counted nowhere else, so that nothing gets better by being tried again.</summary>
    public required int Repeated { get; init; }

    /// <summary>Faults that were not run in every arm, because they had done nothing in those where they were (<see cref="CampaignOptions.WhereManifested"/>).</summary>
    public required int Idle { get; init; }

    /// <summary>The arms in which they were not run.</summary>
    public required IReadOnlyList<CampaignArm> NotForIdle { get; init; }

    /// <summary>Faults that made the guest crash or hang in the arm <see cref="CampaignArm.StockPanic"/>.</summary>
    public required int Fatal { get; init; }

    /// <summary>What becomes of these in the other arms.</summary>
    public required IReadOnlyList<PairedSurvival> Survival { get; init; }

    /// <summary>Arms against each other, over the same faults.</summary>
    public required IReadOnlyList<PairedComparison> Comparisons { get; init; }

    /// <summary>How long guests stood still, of incidents with the outcome <c>recovered</c>; arms without one are not in it.</summary>
    public required IReadOnlyList<StoppedTimes> Stopped { get; init; }

    /// <summary>What repaired, of the same incidents; what was used most comes first.</summary>
    public required IReadOnlyList<RungFigures> Rungs { get; init; }

    /// <summary>Runs under Panacea that crashed or hung, and the guest does not live: those of the ladder first, those of quarantine last.</summary>
    public required IReadOnlyList<CampaignRecord> Failures { get; init; }

    /// <summary>What is known of the failures: for each class, how many by arm; what is most frequent comes first.</summary>
    public required IReadOnlyList<FailureClass> Causes { get; init; }

    /// <summary>What is known of one of them; null where nothing is.</summary>
    public required Func<CampaignRecord, FailureCause?> CauseOf { get; init; }

    /// <summary>Runs under Panacea that corrupted silently; first those whose fault does not where nobody protects the guest.</summary>
    public required IReadOnlyList<GuardedCorruption> Corruptions { get; init; }

    /// <summary>Runs of all arms.</summary>
    public int Runs => Whole.Arms.Sum(a => a.Runs);

    /// <summary>How long everything took, looking for somebody who comes by the fault included.</summary>
    public required TimeSpan Time { get; init; }

    /// <summary>Runs in an hour of <see cref="Time"/>; null where there are none, or nobody took the time.</summary>
    public double? RunsPerHour => Runs > 0 && Time > TimeSpan.Zero ? Runs / Time.TotalHours : null;

    /// <summary>The goals, and whether they are met.</summary>
    public IReadOnlyList<CampaignGoal> Goals => CampaignGoal.All(this);

    /// <summary>The figures of an arm over all faults; null where it has no runs.</summary>
    public ArmFigures? Find(CampaignArm arm) => Whole.Find(arm);

    /// <summary>Counts what several campaigns came to together.</summary>
    /// <param name="parts">The campaigns.</param>
    /// <exception cref="LabException">Two of them have the same seed.</exception>
    public static CampaignStatistics OfAll(IReadOnlyList<CampaignResults> parts)
    {
        if (parts.SelectMany(p => p.Records.Select(r => r.CampaignSeed).Distinct()).GroupBy(seed => seed).FirstOrDefault(g => g.Count() > 1) is { } twice)
            throw new LabException($"two of these campaigns have the seed {(twice.Key is { } seed ? seed.ToString(CultureInfo.InvariantCulture) : "that was not kept yet")}: faults of the same number could not be told apart");
        var causes = new Dictionary<CampaignRecord, FailureCause>(ReferenceEqualityComparer.Instance);
        foreach (CampaignResults part in parts)
        {
            foreach (CampaignRecord run in part.Records)
            {
                if (part.CauseOf(run) is { } cause)
                    causes[run] = cause;
            }
        }

        return Of([.. parts.SelectMany(p => p.Records)], causes.Count == 0 ? null : causes.GetValueOrDefault);
    }

    /// <summary>Counts.</summary>
    /// <param name="records">Results of one campaign, or of several with different seeds, in the order in which they came.</param>
    /// <param name="causes">What is known of runs that failed; null where nothing is.</param>
    public static CampaignStatistics Of(IReadOnlyList<CampaignRecord> records, Func<CampaignRecord, FailureCause?>? causes = null)
    {
        CampaignRecord[] once = [.. records.DistinctBy(r => (KeyOf(r), r.Arm))], faults = [.. once.Where(r => r.Fault is not null)];
        CampaignArm[] arms = [.. faults.Select(r => r.Arm).OfType<CampaignArm>().Distinct().Order()];
        var byArm = arms.ToDictionary(arm => arm, arm => faults.Where(r => r.Arm == arm).ToDictionary(KeyOf));
        FaultKey[] fatal = byArm.TryGetValue(CampaignArm.StockPanic, out var stock) ? [.. stock.Values.Where(ArmFigures.HasManifested).Select(KeyOf)] : [];
        (CampaignArm Arm, TrialIncident Incident)[] recovered =
            [.. faults.Where(r => r.Arm is not null).SelectMany(r => r.Incidents.Where(i => i.Outcome == "recovered").Select(i => (r.Arm!.Value, i)))];
        CampaignRecord[] guarded = [.. faults.Where(r => r.Arm is { } arm && ArmFigures.IsGuarded(arm))];
        CampaignRecord[][] idle = [.. faults.Where(r => r.Arm is not null).GroupBy(KeyOf).Select(g => g.ToArray()).Where(g => g.Length < arms.Length && Array.TrueForAll(g, r => r.Outcome is TrialOutcome.NotActivated or TrialOutcome.NoEffect))];
        CampaignRecord[] failed = [.. guarded.Where(r => ArmFigures.HasManifested(r) && !r.Lives).OrderBy(r => Array.IndexOf(Telling, r.Arm))];
        return new CampaignStatistics
        {
            Arms = arms,
            Whole = CampaignGroup.Of("all faults", faults, arms),
            ByType = [.. FaultKinds.All.Select(k => CampaignGroup.Of(k.Name, [.. faults.Where(r => r.Fault!.Type == k.Type)], arms)).Where(g => g.Faults > 0)],
            ByWorkload = [.. faults.GroupBy(r => r.Workload).Select(g => CampaignGroup.Of(g.Key, [.. g], arms))],
            BySeed = [.. faults.GroupBy(r => r.CampaignSeed).Select(g => CampaignGroup.Of(g.Key is { } seed ? seed.ToString(CultureInfo.InvariantCulture) : "not kept", [.. g], arms))],
            ByKernel = [.. faults.GroupBy(r => r.Kernel).Select(g => CampaignGroup.Of(g.Key, [.. g], arms))],
            Drivers = CampaignGroup.Of("in code of drivers", [.. faults.Where(r => r.IsDriver)], arms),
            Elsewhere = CampaignGroup.Of("elsewhere", [.. faults.Where(r => !r.IsDriver)], arms),
            NoPlace = once.Length - faults.Length,
            Repeated = records.Count - once.Length,
            Idle = idle.Length,
            NotForIdle = [.. arms.Where(arm => idle.Length > 0 && Array.TrueForAll(idle, g => !Array.Exists(g, r => r.Arm == arm)))],
            Fatal = fatal.Length,
            Survival = [.. arms.Where(arm => arm != CampaignArm.StockPanic && fatal.Length > 0).Select(arm => SurvivalOf(arm, byArm[arm], fatal))],
            Comparisons = [.. Pairs.Where(p => byArm.ContainsKey(p.Arm) && byArm.ContainsKey(p.Versus)).Select(p => Compare(p.Arm, byArm[p.Arm], p.Versus, byArm[p.Versus], stock is null ? [.. byArm[p.Arm].Keys] : fatal))],
            Stopped = [.. arms.Select(arm => (Arm: arm, Times: recovered.Where(r => r.Arm == arm && r.Incident.StoppedUs is not null).Select(r => r.Incident.StoppedUs!.Value).Order().ToList()))
                .Where(each => each.Times.Count > 0).Select(each => new StoppedTimes(each.Arm, Figures.Of(each.Times), each.Times))],
            Rungs = [.. recovered.GroupBy(r => r.Incident.Repair ?? "none").OrderByDescending(g => g.Count()).ThenBy(g => g.Key, StringComparer.Ordinal)
                .Select(g => new RungFigures(g.Key, g.CountBy(r => r.Arm).ToDictionary()))],
            Failures = failed,
            CauseOf = causes ?? (_ => null),
            Causes = causes is null ? [] : [.. failed.Select(r => (Arm: r.Arm!.Value, Class: causes(r)?.Class ?? FailureClass.Unknown)).GroupBy(f => f.Class)
                .OrderBy(g => g.Key == FailureClass.Unknown).ThenByDescending(g => g.Count()).ThenBy(g => g.Key, StringComparer.Ordinal).Select(g => new FailureClass(g.Key, g.CountBy(f => f.Arm).ToDictionary()))],
            Corruptions = [.. guarded.Where(r => r.Outcome == TrialOutcome.SilentCorruption).Select(r => new GuardedCorruption(r, IsShown(r, byArm))).OrderBy(c => c.IsShownUnprotected)],
            Time = TimeSpan.FromMilliseconds(once.Sum(r => (double)r.RunMs)),
        };
    }

    private static FaultKey KeyOf(CampaignRecord record) => new(record.CampaignSeed, record.Kernel, record.Workload, record.Trial);

    private static PairedSurvival SurvivalOf(CampaignArm arm, Dictionary<FaultKey, CampaignRecord> runs, FaultKey[] fatal)
    {
        CampaignRecord[] same = [.. fatal.Where(runs.ContainsKey).Select(key => runs[key])];
        return new PairedSurvival(arm, new Proportion(same.Count(r => r.Lives), same.Length));
    }

    /// <summary>Compares two arms.</summary>
    /// <param name="arm">The one.</param>
    /// <param name="ones">Its runs.</param>
    /// <param name="versus">The other.</param>
    /// <param name="others">Its runs.</param>
    /// <param name="faults">Over these faults: they are chosen by what a third arm did, for who chooses them by what one of the two did has chosen what is compared.</param>
    private static PairedComparison Compare(
        CampaignArm arm, Dictionary<FaultKey, CampaignRecord> ones, CampaignArm versus, Dictionary<FaultKey, CampaignRecord> others, IReadOnlyList<FaultKey> faults)
    {
        (bool One, bool Other)[] pairs = [.. faults.Where(key => ones.ContainsKey(key) && others.ContainsKey(key)).Select(key => (ones[key].Lives, others[key].Lives))];
        return new PairedComparison(arm, versus, pairs.Count(p => p is (true, true)), pairs.Count(p => p is (true, false)), pairs.Count(p => p is (false, true)), pairs.Count(p => p is (false, false)));
    }

    private static bool IsShown(CampaignRecord run, Dictionary<CampaignArm, Dictionary<FaultKey, CampaignRecord>> byArm) =>
        byArm.Any(arm => !ArmFigures.IsGuarded(arm.Key) && arm.Value.TryGetValue(KeyOf(run), out CampaignRecord? same) && same.Outcome == TrialOutcome.SilentCorruption);
}
