using Panacea.Diagnosis;
using Panacea.Kernel.Unwind;

namespace Panacea.Repair.Strategies;

/// <summary>
/// The stack is unwound to the nearest place where returning is safe: an outer function that returns an error of its type, or one that the kernel has called back through a dispatch point of
/// <see cref="Boundaries"/>. What the abandoned functions hold is given back. A place for which the account of that is complete comes first, however far out; where there is none, what can't be
/// proved is said as a risk: killing the process would leave the same things held, and in an interrupt there is nobody to kill.
/// </summary>
public sealed class UnwindStrategy : IRepairStrategy
{
    /// <summary>Frames that may be abandoned.</summary>
    private const int MaxFrames = 24;

    /// <inheritdoc/>
    public RepairKind Kind => RepairKind.Unwind;

    /// <inheritdoc/>
    public StrategyVerdict Evaluate(CrashEvidence evidence)
    {
        if (NullCallee.Evaluate(evidence) is { } back)
            return back;
        if (WhyNoReturn(evidence) is { } why)
            return StrategyVerdict.Declines(why);

        // The faulty function itself is the rung before this one's, but for what that one does not accept.
        StrategyVerdict proved = Unwind(evidence, Kind, withFaulty: false, acceptsDoubt: false);
        return proved.Plan is not null ? proved : Unwind(evidence, Kind, withFaulty: true, acceptsDoubt: true);
    }

    /// <inheritdoc/>
    /// <remarks>Places further out; where the nearest was a doubtful one, all others are too.</remarks>
    public IEnumerable<StrategyVerdict> Alternatives(CrashEvidence evidence)
    {
        bool isProved = false;
        foreach (StrategyVerdict verdict in Places(evidence, Kind, withFaulty: false, acceptsDoubt: false).Where(v => v.Plan is not null))
        {
            if (isProved)
                yield return verdict;
            isProved = true;
        }

        foreach (StrategyVerdict verdict in Places(evidence, Kind, withFaulty: true, acceptsDoubt: true).Where(v => v.Plan is not null).Skip(isProved ? 0 : 1))
        {
            if (!isProved || verdict.Plan!.Confidence < Confidence.High)
                yield return verdict;
        }
    }

    /// <summary>The nearest place to unwind to.</summary>
    /// <param name="evidence">The crash, with a faulty frame.</param>
    /// <param name="kind">The rung.</param>
    /// <param name="withFaulty">The faulty function may return an error itself.</param>
    /// <param name="acceptsDoubt">What can't be proved becomes a risk; else such a place is passed by.</param>
    internal static StrategyVerdict Unwind(CrashEvidence evidence, RepairKind kind, bool withFaulty, bool acceptsDoubt)
    {
        StrategyVerdict? last = null;
        foreach (StrategyVerdict place in Places(evidence, kind, withFaulty, acceptsDoubt))
        {
            last = place;
            if (place.Plan is not null)
                break;
        }

        return last ?? StrategyVerdict.Declines("no function around the faulty one can return an error, and no dispatch point that Panacea knows called it");
    }

    /// <summary>The places to unwind to, from the nearest outwards, and what is to be said of each.</summary>
    private static IEnumerable<StrategyVerdict> Places(CrashEvidence evidence, RepairKind kind, bool withFaulty, bool acceptsDoubt)
    {
        int faulty = UsedUpStack.Outermost(evidence);
        IReadOnlyList<StackFrame> frames = evidence.Stack.Frames;
        for (int i = faulty; i + 1 < frames.Count && i < faulty + MaxFrames; i++)
        {
            // Beyond a trap, an interrupt or a change of stacks lies what was interrupted: it is not to blame, and it is not to be abandoned.
            if (frames[i + 1].Reliability != FrameReliability.Exact || frames[i + 1].IsTrap || frames[i + 1].Stack != frames[faulty].Stack)
                yield break;

            // kthread() never comes back; its return would lead to user space, where a kernel thread has nothing.
            if (evidence.LocationOf(frames[i + 1])?.Name is "ret_from_fork" or "ret_from_fork_asm")
                yield break;

            // A task that is half gone can't go on.
            if (evidence.LocationOf(frames[i]) is { } location && Boundaries.WithoutSuffix(location.Name) is "do_exit" or "make_task_dead")
                yield break;
            if (!ReturnCandidate.TryResult(evidence, i, out ReturnResult result, out _) || (i == faulty && result.Boundary is null && !withFaulty))
                continue;
            yield return ReturnCandidate.Plan(evidence, i, result, kind, acceptsDoubt);
            if (result.Boundary is not null)
                yield break;
        }
    }

    /// <summary>Why no function of this crash can be made to return; null where one may.</summary>
    internal static string? WhyNoReturn(CrashEvidence evidence) => WhyNotLedAway(evidence) ?? TaskSwitch.WhyNot(evidence);

    /// <summary>Why the crashed CPU can't be led out of its functions at all; null where it can.</summary>
    internal static string? WhyNotLedAway(CrashEvidence evidence) => evidence switch
    {
        { Context: CrashContext.Nmi or CrashContext.Unknown } => $"the crash is in {KillStrategy.Describe(evidence.Context)}",
        { Context: CrashContext.Process } when Attacks.WhatItMeans(evidence) is { } attack => $"{attack}: such a process does not go on",
        { FaultyFrame: null } => evidence.WhyNoFaultyFrame ?? "the faulty function can't be told",
        _ => null,
    };
}
