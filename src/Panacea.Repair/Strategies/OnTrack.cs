using Panacea.Diagnosis;
using Panacea.Kernel.Code;
using Panacea.Kernel.Unwind;

namespace Panacea.Repair.Strategies;

/// <summary>
/// A crash whose CPU has left its function's code (<see cref="Derailment"/>), as if it had stopped where it left it. What was executed since is not known: it may have changed registers, as a rule those that a function may
/// change anyway; of what the function has saved on its stack the slots are right. Where the stack does not fit, it was another place, or more has happened.
/// </summary>
internal static class OnTrack
{
    /// <summary>The crash at the nearest place that fits; as it is where the CPU is in its function's code, or where no place fits.</summary>
    public static CrashEvidence Of(CrashEvidence evidence) => Places(evidence).FirstOrDefault(evidence);

    /// <summary>The crash at each place that fits, the nearest first; none where the CPU is in its function's code.</summary>
    public static IEnumerable<CrashEvidence> Places(CrashEvidence evidence)
    {
        if (evidence.Hang is not null || evidence.FaultyFrame != 0 || evidence.Stack.Frames is not [{ } first, _, ..])
            yield break;

        // Where it stands already, as this has put it.
        StackFrame trapped = evidence.LeftCodeAt is null ? first : first with { Ip = evidence.Crash.Ip };
        foreach (ulong left in Derailment.Left(evidence.Analysis, trapped))
        {
            List<StackFrame> frames = [trapped with { Ip = left }, .. evidence.Stack.Frames.Skip(1)];
            if (FunctionReturn.TryCompute(evidence.Analysis, frames, 0, out _, out _))
                yield return evidence with { Stack = evidence.Stack with { Frames = frames }, LeftCodeAt = left };

            // What was read wrongly may have been a push: then all of the stack is another one than where the CPU has trapped the code would have it.
            else if (evidence.StackFrom?.Invoke(left, evidence.Crash.Sp) is { Frames: [_, { Reliability: FrameReliability.Exact } caller, ..] } other && evidence.LocationOf(caller) is not null
                && FunctionReturn.TryCompute(evidence.Analysis, other.Frames, 0, out _, out _))
                yield return evidence with { Stack = other, LeftCodeAt = left };
        }
    }

    /// <summary>A plan that rests on where that was says so.</summary>
    public static StrategyVerdict Warn(CrashEvidence evidence, StrategyVerdict verdict)
    {
        if (evidence.LeftCodeAt is not { } left || verdict.Plan is not { } plan)
            return verdict;
        string where = evidence.Kernel.Image.Symbolize(left)?.ToString() ?? $"0x{left:x}";
        string risk = $"at {where} the CPU is taken to have gone on in bytes that are no instructions of its function; what it did there can't be told";
        return verdict with { Plan = plan with { Risks = [.. plan.Risks, risk], Confidence = Confidence.Low } };
    }
}
