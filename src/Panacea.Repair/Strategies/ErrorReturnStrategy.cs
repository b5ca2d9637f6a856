using Panacea.Diagnosis;

namespace Panacea.Repair.Strategies;

/// <summary>
/// The faulty function returns an error to its caller: registers and stack become what they are when it has just returned, and the return value is an error of its BTF return type.
/// The process lives and sees the error. Nothing is guessed: where the state can't be proved, or what the function took can't be given back, the strategy does not apply.
/// </summary>
public sealed class ErrorReturnStrategy : IRepairStrategy
{
    /// <inheritdoc/>
    public RepairKind Kind => RepairKind.ErrorReturn;

    /// <inheritdoc/>
    public StrategyVerdict Evaluate(CrashEvidence evidence)
    {
        if (UnwindStrategy.WhyNoReturn(evidence) is { } why)
            return StrategyVerdict.Declines(why);
        int last = UsedUpStack.Outermost(evidence);
        if (!ReturnCandidate.TryResult(evidence, last, out ReturnResult result, out string whyNot))
            return StrategyVerdict.Declines(whyNot);
        return result.Boundary is { } boundary
            ? StrategyVerdict.Declines($"{boundary.Function} called {result.Function}, and takes no error for an answer: that is unwinding")
            : ReturnCandidate.Plan(evidence, last, result, Kind, acceptsDoubt: false);
    }
}
