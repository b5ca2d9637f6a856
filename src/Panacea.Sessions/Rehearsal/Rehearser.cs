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
    private static readonly TimeSpan Grace = TimeSpan.FromMilliseconds(300);

    /// <summary>Why a crash is rehearsed; null where it is not.</summary>
    public string? Why(CrashEvidence evidence, RepairPlan first) => policy.Mode switch
    {
        RehearsalMode.Always => "every plan is rehearsed",
        RehearsalMode.Auto when evidence.EarlierRepairs > 0 => "the guest was repaired at this place before",
        RehearsalMode.Auto when first.Confidence < policy.Below => $"the first plan is of {GuardPolicy.Name(first.Confidence)} confidence",
        _ => null,
    };

    /// <summary>Rehearses. The guest stands meanwhile, for the budget at most: what hangs by itself (a QEMU that does not come up, a disk of the host's) is not waited for.</summary>
    /// <param name="why">Why.</param>
    /// <param name="evidence">The crash.</param>
    /// <param name="point">The death point, as it is now.</param>
    /// <param name="first">The ladder's plan.</param>
    /// <param name="ladder">What each rung said so far, the one with that plan last.</param>
    /// <param name="more">Asks the rungs behind those that have spoken for one more plan; null where there is none, also when asked again.</param>
    public RehearsalResult Run(
        string why, CrashEvidence evidence, DeathPoint point, RepairPlan first, IReadOnlyList<LadderVerdict> ladder, Func<(RepairPlan? Plan, IReadOnlyList<LadderVerdict> Ladder)> more)
    {
        var trials = new Trials(policy, clones, kernel, limits, evidence, point);
        var work = new Thread(() => trials.Run(first, ladder, more)) { IsBackground = true, Name = "rehearsal" };
        work.Start();
        bool ended = work.Join(policy.Budget);
        if (!ended)
        {
            // Its copies are killed, which ends what it waits for; until it has, it may still be in what the two share.
            trials.Abandon();
            ended = work.Join(Grace);
            if (!ended)
                kernel.Keep();
        }

        return trials.Result(why, first, ladder, ended);
    }
}
