using System.Text.Json.Serialization;
using Panacea.Diagnosis;
using Panacea.Kernel;
using Panacea.Repair.Strategies;
using Panacea.Target;

namespace Panacea.Repair;

/// <summary>What came of one rung.</summary>
[JsonConverter(typeof(KebabEnumConverter<RungVerdict>))]
public enum RungVerdict
{
    /// <summary>It was the repair.</summary>
    Taken,

    /// <summary>It was chosen, and could not be carried through: errors say why.</summary>
    NotApplied,

    /// <summary>It does not apply to this crash.</summary>
    Declined,

    /// <summary>It may not be used on this guest: by the mode, the policy or the limit of repairs. It was not asked.</summary>
    NotAllowed,

    /// <summary>It did not hold before on the same task or at the same place. It was not asked again.</summary>
    FailedBefore,
}

/// <summary>Why a rung is not asked.</summary>
/// <param name="Verdict"><see cref="RungVerdict.NotAllowed"/> or <see cref="RungVerdict.FailedBefore"/>.</param>
/// <param name="Why">In words that begin with those of the verdict: <c>not allowed: by policy rungs</c>.</param>
public sealed record RungBar(RungVerdict Verdict, string Why);

/// <summary>What one rung said of a crash.</summary>
/// <param name="Kind">The rung.</param>
/// <param name="Verdict">Its plan, or why it has none.</param>
/// <param name="Bar">Why it was not asked; null where it was.</param>
public sealed record LadderVerdict(RepairKind Kind, StrategyVerdict Verdict, RungBar? Bar = null);

/// <summary>The rungs in order, the one that loses least first.</summary>
public static class Ladder
{
    /// <summary>All strategies.</summary>
    public static IReadOnlyList<IRepairStrategy> All { get; } = [new SettingStrategy(), new HealStrategy(), new ErrorReturnStrategy(), new UnwindStrategy(), new KillBySignalStrategy(), new KillStrategy(), new FreezeStrategy()];

    /// <summary>Asks the rungs in order until one has a plan.</summary>
    /// <param name="evidence">The crash.</param>
    /// <param name="bars">Which rungs may not be used, and why: the guard's mode and policy, and what has failed on this crash before. Null for one that may.</param>
    /// <param name="verdicts">What each rung said, the chosen one last; a rung of several strategies that may not be used stands there once.</param>
    /// <returns>The plan, or null where no rung has one.</returns>
    public static RepairPlan? Choose(CrashEvidence evidence, Func<RepairKind, CrashEvidence, RungBar?> bars, out IReadOnlyList<LadderVerdict> verdicts)
    {
        var said = new List<LadderVerdict>(All.Count);
        verdicts = said;
        foreach (IRepairStrategy strategy in All)
        {
            if (bars(strategy.Kind, evidence) is { } bar)
            {
                if (said.Count == 0 || said[^1].Kind != strategy.Kind)
                    said.Add(new LadderVerdict(strategy.Kind, StrategyVerdict.Declines(bar.Why), bar));
                continue;
            }

            StrategyVerdict verdict = Ask(strategy, evidence);
            said.Add(new LadderVerdict(strategy.Kind, verdict));
            if (verdict.Plan is not null)
                return verdict.Plan;
        }

        return null;
    }

    /// <summary>A rung that guest memory has confused is no reason not to try the next.</summary>
    private static StrategyVerdict Ask(IRepairStrategy strategy, CrashEvidence evidence)
    {
        try
        {
            return strategy.Evaluate(evidence);
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException or OverflowException or ArgumentException or InvalidOperationException or IndexOutOfRangeException or KeyNotFoundException)
        {
            return StrategyVerdict.Declines($"the rung itself failed: {e.GetType().Name}: {e.Message}");
        }
    }
}
