using Panacea.Diagnosis;
using Panacea.Repair.Strategies;

namespace Panacea.Repair;

/// <summary>What one rung said of a crash.</summary>
/// <param name="Kind">The rung.</param>
/// <param name="Verdict">Its plan, or why it has none.</param>
public sealed record LadderVerdict(RepairKind Kind, StrategyVerdict Verdict);

/// <summary>The rungs in order, the one that loses least first.</summary>
public static class Ladder
{
    /// <summary>All strategies.</summary>
    public static IReadOnlyList<IRepairStrategy> All { get; } = [new SettingStrategy(), new HealStrategy(), new OrphanLockStrategy(), new ErrorReturnStrategy(), new UnwindStrategy(), new KillBySignalStrategy(), new KillStrategy(), new FreezeStrategy()];

    /// <summary>Asks the rungs in order until one has a plan.</summary>
    /// <param name="evidence">The crash.</param>
    /// <param name="allowed">Which rungs may be used: the guard's mode, and what has failed on this crash before.</param>
    /// <param name="verdicts">What each rung asked said, the chosen one last.</param>
    /// <returns>The plan, or null where no rung has one.</returns>
    public static RepairPlan? Choose(CrashEvidence evidence, Func<RepairKind, CrashEvidence, bool> allowed, out IReadOnlyList<LadderVerdict> verdicts)
    {
        var said = new List<LadderVerdict>(All.Count);
        verdicts = said;
        foreach (IRepairStrategy strategy in All)
        {
            if (!allowed(strategy.Kind, evidence))
                continue;
            StrategyVerdict verdict = strategy.Evaluate(evidence);
            said.Add(new LadderVerdict(strategy.Kind, verdict));
            if (verdict.Plan is not null)
                return verdict.Plan;
        }

        return null;
    }
}
