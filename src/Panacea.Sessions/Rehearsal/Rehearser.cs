using System.Diagnostics;
using Panacea.Diagnosis;
using Panacea.Kernel.Image;
using Panacea.Repair;
using Panacea.Sessions.Policy;
using Panacea.Target;

namespace Panacea.Sessions.Rehearsal;

/// <summary>Which plan goes to the guest, and what came of the rehearsals.</summary>
/// <param name="Plan">The plan; null where every one that there is has failed on a copy.</param>
/// <param name="Ladder">What each rung said, those added that were asked for more plans.</param>
/// <param name="Record">For the incident.</param>
internal sealed record RehearsalResult(RepairPlan? Plan, IReadOnlyList<LadderVerdict> Ladder, RehearsalRecord Record);

/// <summary>
/// Tries plans on copies of the crashed machine, in the ladder's order: the first after which a copy lives goes to the guest. A rehearsal can only rule a plan out by what was seen of it; where nothing could be seen (no copy, no
/// time), the ladder's word stands.
/// </summary>
/// <param name="policy">When and how.</param>
/// <param name="clones">Makes the copies.</param>
/// <param name="kernel">What was armed.</param>
/// <param name="limits">Ceilings.</param>
internal sealed class Rehearser(RehearsalPolicy policy, ICloneSource clones, ArmedKernel kernel, TargetLimits limits)
{
    /// <summary>Why a crash is rehearsed; null where it is not.</summary>
    public string? Why(CrashEvidence evidence, RepairPlan first) => policy.Mode switch
    {
        RehearsalMode.Always => "every plan is rehearsed",
        RehearsalMode.Auto when evidence.EarlierRepairs > 0 => "the guest was repaired at this place before",
        RehearsalMode.Auto when first.Confidence < policy.Below => $"the first plan is of {GuardPolicy.Name(first.Confidence)} confidence",
        _ => null,
    };

    /// <summary>Rehearses. The guest stands meanwhile.</summary>
    /// <param name="why">Why.</param>
    /// <param name="evidence">The crash.</param>
    /// <param name="point">The death point, as it is now.</param>
    /// <param name="first">The ladder's plan.</param>
    /// <param name="ladder">What each rung said so far, the one with that plan last.</param>
    /// <param name="more">Asks the rungs behind those that have spoken for one more plan; null where there is none, also when asked again.</param>
    public RehearsalResult Run(
        string why, CrashEvidence evidence, DeathPoint point, RepairPlan first, IReadOnlyList<LadderVerdict> ladder, Func<(RepairPlan? Plan, IReadOnlyList<LadderVerdict> Ladder)> more)
    {
        long started = Stopwatch.GetTimestamp(), deadline = started + (long)(policy.Budget.TotalSeconds * Stopwatch.Frequency);
        var tried = new List<RehearsedPlan>();
        try
        {
            using IClonesOfAMoment moment = clones.Freeze();
            RepairPlan? plan = first;
            while (plan is not null && tried.Count < policy.Plans && Stopwatch.GetTimestamp() < deadline)
            {
                // Where cores allow, the next plans are tried while this one is.
                var batch = new List<(RepairPlan Plan, IReadOnlyList<LadderVerdict> Ladder)> { (plan, ladder) };
                while (batch.Count < Math.Min(clones.AtOnce, policy.Plans - tried.Count) && more() is { Plan: { } next } said)
                    batch.Add((next, said.Ladder));
                RehearsedPlan[] results = RunAll([.. batch.Select(b => b.Plan)], moment, evidence, point, deadline);
                for (int i = 0; i < results.Length; i++)
                {
                    tried.Add(results[i]);
                    if (results[i].Verdict == TrialVerdict.Lives)
                        return Done(batch[i].Plan, Marked(batch[i].Ladder, tried), null);
                }

                (plan, ladder) = more();
            }

            return Undecided(plan);
        }
        catch (TargetException e)
        {
            return Done(first, ladder, e.Message);
        }

        RehearsalResult Done(RepairPlan? plan, IReadOnlyList<LadderVerdict> said, string? whyNot) =>
            new(plan, said, new RehearsalRecord(why, tried, (long)Stopwatch.GetElapsedTime(started).TotalMicroseconds, whyNot));

        // No copy has lived: a plan of which nothing was seen is as good as it was before, and one that was not tried too.
        RehearsalResult Undecided(RepairPlan? untried)
        {
            int unknown = tried.FindIndex(t => t.Verdict == TrialVerdict.Unknown);
            RepairPlan? plan = unknown >= 0 ? PlanOf(ladder, tried[unknown]) ?? (unknown == 0 ? first : null) : untried;
            return Done(plan, Marked(ladder, tried), null);
        }
    }

    private static RepairPlan? PlanOf(IReadOnlyList<LadderVerdict> ladder, RehearsedPlan tried) =>
        ladder.FirstOrDefault(v => v.Kind == tried.Repair && v.Verdict.Plan?.Explanation == tried.Explanation)?.Verdict.Plan;

    /// <summary>What failed on a copy says so.</summary>
    private static IReadOnlyList<LadderVerdict> Marked(IReadOnlyList<LadderVerdict> ladder, List<RehearsedPlan> tried) =>
        [.. ladder.Select(v => tried.FirstOrDefault(t => t.Repair == v.Kind && t.Explanation == v.Verdict.Plan?.Explanation && t.Verdict is TrialVerdict.Dies or TrialVerdict.Stands) is { } failed
            ? v with { Bar = new RungBar(RungVerdict.FailedRehearsal, $"failed on a copy: {string.Join("; ", failed.Seen)}") } : v)];

    private RehearsedPlan[] RunAll(RepairPlan[] plans, IClonesOfAMoment moment, CrashEvidence evidence, DeathPoint point, long deadline)
    {
        var results = new RehearsedPlan[plans.Length];
        if (plans.Length == 1)
            results[0] = RunOne(plans[0], moment, evidence, point, deadline);
        else
            Parallel.For(0, plans.Length, new ParallelOptions { MaxDegreeOfParallelism = plans.Length }, i => results[i] = RunOne(plans[i], moment, evidence, point, deadline));
        return results;
    }

    private RehearsedPlan RunOne(RepairPlan plan, IClonesOfAMoment moment, CrashEvidence evidence, DeathPoint point, long deadline)
    {
        long started = Stopwatch.GetTimestamp();
        (TrialVerdict Verdict, IReadOnlyList<string> Seen) result;
        IGuestClone? clone = null;
        try
        {
            clone = moment.Start();
            result = new PlanTrial(kernel, limits).Run(clone, evidence, point, plan, deadline);
        }
        catch (Exception e)
        {
            // A rehearsal that fails by itself says nothing of the plan.
            result = (TrialVerdict.Unknown, [e is TargetException ? e.Message : $"{e.GetType().Name}: {e.Message}"]);
        }

        // Its end is nothing that the guest has to wait for.
        if (clone is not null)
            ThreadPool.UnsafeQueueUserWorkItem(static c => Discard(c), clone, preferLocal: false);
        return new RehearsedPlan(plan.Kind, plan.Explanation, result.Verdict, result.Seen, (long)Stopwatch.GetElapsedTime(started).TotalMicroseconds);
    }

    private static void Discard(IGuestClone clone)
    {
        try
        {
            clone.Dispose();
        }
        catch (Exception e) when (e is TargetException or IOException or InvalidOperationException)
        {
            // It is killed when this process ends at the latest.
        }
    }
}
