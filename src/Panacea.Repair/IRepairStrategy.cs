using Panacea.Diagnosis;

namespace Panacea.Repair;

/// <summary>What a strategy says of a crash: a plan, or why it does not apply.</summary>
/// <param name="Plan">The plan, or null.</param>
/// <param name="WhyNot">Why there is none, in a sentence; null where there is one.</param>
public sealed record StrategyVerdict(RepairPlan? Plan, string? WhyNot)
{
    /// <summary>What else the strategy looked at before, and why each was nothing, in sentences; the one of <see cref="WhyNot"/> is not among them.</summary>
    public IReadOnlyList<string> Tried { get; init; } = [];

    /// <summary>The strategy applies.</summary>
    public static StrategyVerdict Applies(RepairPlan plan) => new(plan, null);

    /// <summary>The strategy does not apply, because …</summary>
    public static StrategyVerdict Declines(string why) => new(null, why);
}

/// <summary>One rung of the ladder. Reads the evidence, writes nothing. One file each.</summary>
public interface IRepairStrategy
{
    /// <summary>The rung.</summary>
    RepairKind Kind { get; }

    /// <summary>A plan for this crash, or why there is none. Runs while the guest stands still: microseconds count.</summary>
    StrategyVerdict Evaluate(CrashEvidence evidence);

    /// <summary>Further plans of this rung, after one that <see cref="Evaluate"/> had has failed on a copy of the machine; the one that loses least first. None where the rung has one way only.</summary>
    IEnumerable<StrategyVerdict> Alternatives(CrashEvidence evidence) => [];
}
