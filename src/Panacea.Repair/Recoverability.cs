using Panacea.Diagnosis;
using Panacea.Diagnosis.Machine;
using Panacea.Diagnosis.Rendering;

namespace Panacea.Repair;

/// <summary>Judges whether a machine that died could go on: every rung of the ladder is asked about the crash, and nothing is done.</summary>
public static class Recoverability
{
    /// <summary>The verdict.</summary>
    /// <param name="evidence">The crash, at its death point or found afterwards.</param>
    public static RecoverabilityVerdict Judge(CrashEvidence evidence)
    {
        var options = new List<RepairOption>(Ladder.All.Count);
        foreach (IRepairStrategy strategy in Ladder.All)
        {
            StrategyVerdict verdict = strategy.Evaluate(evidence);
            options.Add(new RepairOption(
                MarkdownReport.Kebab(strategy.Kind), verdict.Plan is not null, verdict.Plan?.Explanation ?? verdict.WhyNot ?? "", verdict.Plan?.Lost ?? [], verdict.Plan?.Risks ?? []));
        }

        return new RecoverabilityVerdict(options.Exists(o => o.Applies), evidence.Context, options);
    }
}
