using Panacea.Diagnosis;
using Panacea.Kernel.Code;
using Panacea.Kernel.Holdings;
using Panacea.Kernel.Types;
using Panacea.Kernel.Unwind;

namespace Panacea.Repair.Strategies;

/// <summary>What a function is made to return.</summary>
/// <param name="Returned">The function, and the value that it may return for good.</param>
/// <param name="Value">RAX; null where it returns nothing.</param>
/// <param name="Shown">The value for a person.</param>
/// <param name="Boundary">The dispatch point that called it; null where an ordinary caller did.</param>
internal sealed record ReturnResult(ReturnedFunction Returned, ulong? Value, string Shown, Boundary? Boundary)
{
    /// <summary>What is lost where nobody misses its work; null for all others.</summary>
    public Expendable? Expendable { get; init; }

    /// <summary>The function's symbol.</summary>
    public string Function => Returned.Function;
}

/// <summary>One frame of a crashed stack as the last that a repair abandons: what it would return, and the plan for it.</summary>
internal static class ReturnCandidate
{
    private const long Eio = 5;

    /// <summary>What frame <paramref name="index"/>'s function can be made to return: what its dispatch point takes, or an error of its type.</summary>
    public static bool TryResult(CrashEvidence evidence, int index, out ReturnResult result, out string whyNot)
    {
        result = null!;
        whyNot = "";
        StackFrame frame = evidence.Stack.Frames[index];
        if (evidence.LocationOf(frame) is not { } location || !evidence.Analysis.Functions.TryFindFunction(frame.Point.LookupAddress, out FunctionParts parts))
        {
            whyNot = "the faulty function has no symbol";
            return false;
        }

        string function = parts.Main.Name;
        if (BoundaryAbove(evidence, index) is { } boundary)
        {
            Boundary now = boundary.For(Boundaries.WithoutSuffix(function), evidence.EarlierRepairs);
            result = new ReturnResult(new ReturnedFunction(function, location.Module, parts.Main.Start, boundary.Result), now.Result, now.Shown, now);
            return true;
        }

        if (Expendables.Find(function) is { } expendable && evidence.Kernel.Image.TryTypesFor(location.Module, out TypeCatalog catalog) && catalog.TryReturnType(function, out ReturnType type)
            && (type.Kind == ReturnKind.Void) == expendable.Result is null)
        {
            result = new ReturnResult(new ReturnedFunction(function, location.Module, parts.Main.Start, expendable.Result), expendable.Result, expendable.Shown, null) { Expendable = expendable };
            return true;
        }

        if (!TryErrorValue(evidence, index, function, location.Module, out ulong value, out string shown, out whyNot))
            return false;
        result = new ReturnResult(new ReturnedFunction(function, location.Module, parts.Main.Start, value), value, shown, null);
        return true;
    }

    /// <summary>The dispatch point that called frame <paramref name="index"/>'s function through a pointer; null where none did.</summary>
    public static Boundary? BoundaryAbove(CrashEvidence evidence, int index)
    {
        if (index + 1 >= evidence.Stack.Frames.Count)
            return null;
        StackFrame caller = evidence.Stack.Frames[index + 1];
        if (caller.Reliability != FrameReliability.Exact || caller.IsTrap || !evidence.Analysis.Functions.TryFindFunction(caller.Point.LookupAddress, out FunctionParts parts)
            || Boundaries.Find(parts.Main.Name) is not { } boundary)
            return null;
        if (!CallSites.TryFindCallBefore(evidence.Analysis.Code, parts, caller.Ip, out CallSite call))
            return null;

        // A call through a pointer, as it stands or through a retpoline.
        bool isIndirect = call.Target is not { } target || evidence.Kernel.Image.Symbolize(target)?.Name.StartsWith("__x86_indirect_", StringComparison.Ordinal) == true;
        return isIndirect || (evidence.LocationOf(evidence.Stack.Frames[index])?.Name is { } name && boundary.Directly.Contains(name)) ? boundary : null;
    }

    /// <summary>A plan in which frame <paramref name="index"/>'s function returns <paramref name="result"/>; kind and explanation are filled in.</summary>
    /// <param name="evidence">The crash.</param>
    /// <param name="index">The last frame that is abandoned.</param>
    /// <param name="result">What it returns.</param>
    /// <param name="kind">The rung.</param>
    /// <param name="acceptsDoubt">True where there is no other way: what can't be proved becomes a risk.</param>
    public static StrategyVerdict Plan(CrashEvidence evidence, int index, ReturnResult result, RepairKind kind, bool acceptsDoubt)
    {
        if (!FunctionReturn.TryCompute(evidence.Analysis, evidence.Stack.Frames, index, out ReturnState state, out Decline decline))
            return StrategyVerdict.Declines($"the state in which {result.Function} has returned can't be proved: {decline}");
        if (!UsedUpStack.HasRoom(evidence, state.Rsp))
            return StrategyVerdict.Declines($"{result.Function} would return to where the stack is all but used up");
        AbandonedFrames abandoned = AbandonedFrames.Of(evidence, index);
        List<string> doubts = [.. abandoned.Doubts];
        bool now = evidence.Crash.InterruptsEnabled;
        Surroundings around = result.Boundary is { } b ? new Surroundings(b.Interrupts, b.PreemptCount) : Surroundings.Of(evidence, index, abandoned);
        if ((around.Interrupts ?? (abandoned.ChangedInterrupts ? null : now)) is not { } interrupts)
        {
            if (!acceptsDoubt)
                return StrategyVerdict.Declines($"whether interrupts were on before {result.Function} can't be told");
            doubts.Add("whether interrupts were on before can't be told: they are left as they are");
            interrupts = now;
        }

        int added = abandoned.PreemptCount + abandoned.PreemptCountOfLocks;
        if (doubts.Count > 0 && !acceptsDoubt)
            return StrategyVerdict.Declines($"{doubts[0]}, which nobody would give back");

        // A plug lies in the abandoned frames: what gives it back must not overwrite it.
        Landing landing = Landing.OfReturn(state, result.Value, interrupts, result.Boundary?.PreemptCount, abandoned) with
        {
            CallStack = abandoned.Locks.Any(l => l.Kind == HoldingKind.Plug) ? ReturnPlan.StackBelow(evidence) : null,
        };
        if (!ReturnPlan.TryMake(evidence, landing, out RepairPlan plan, out string whyNot))
            return StrategyVerdict.Declines(whyNot);

        string caller = evidence.Kernel.Image.Symbolize(state.Rip)?.ToString() ?? $"0x{state.Rip:x}";
        string returns = result.Value is null ? "returns" : $"returns {result.Shown}";
        var risks = new List<string> { "what the function had half done stays half done" };
        if (abandoned.MayCountReference)
            risks.Add($"{result.Function} may have counted a reference that nobody drops: an object may never be freed");
        if ((result.Boundary?.Risk ?? result.Expendable?.Risk) is { } risk)
            risks.Add(risk);
        risks.AddRange(doubts);
        bool isSure = doubts.Count == 0;
        if (around.PreemptCount is { } outside && evidence.PreemptWord is { } word && word != outside + added)
        {
            isSure = false;
            risks.Add($"the preempt count was 0x{word:x}, and what is known to have been taken makes it 0x{outside + added:x}: a lock may be held that nobody gives back");
        }

        return StrategyVerdict.Applies(plan with
        {
            Kind = kind,
            Confidence = isSure ? Confidence.High : Confidence.Low,
            Returned = result.Returned,
            Explanation = $"{result.Function} {returns} to {caller}{abandoned.Given}; {(evidence.Context == CrashContext.Process ? "the process lives" : "the OS goes on")}",
            Lost = (result.Boundary?.Lost ?? result.Expendable?.Lost) is { } lost ? [lost] : [],
            Risks = risks,
        });
    }

    private static bool TryErrorValue(CrashEvidence evidence, int index, string function, string? module, out ulong value, out string shown, out string whyNot)
    {
        (value, shown, whyNot) = (0, "", "");
        if (!evidence.Kernel.Image.TryTypesFor(module, out TypeCatalog types))
        {
            whyNot = $"{module ?? "the kernel"} has no BTF, so what {function} returns is unknown";
            return false;
        }

        if (!types.TryReturnType(function, out ReturnType returns))
        {
            whyNot = $"BTF has no prototype of {function}, so what it returns is unknown";
            return false;
        }

        switch (returns)
        {
            // How many it has allocated (mm/slub.c): all, or none.
            case { Kind: ReturnKind.SignedInteger } when function == "kmem_cache_alloc_bulk":
                shown = "0";
                return true;

            // Which CPU, which slot: minus five of them would be somebody else's memory.
            case { Kind: ReturnKind.SignedInteger } when index + 1 < evidence.Stack.Frames.Count && ReturnUse.IsIndex(evidence.Kernel.Image, evidence.Stack.Frames[index + 1].Ip):
                whyNot = $"{function} returns a number that its caller takes for an index, without a look at whether it says an error";
                return false;
            case { Kind: ReturnKind.SignedInteger, Bytes: 4 or 8 }:
                value = unchecked((ulong)-Eio);
                if (returns.Bytes == 4)
                    value &= uint.MaxValue;
                shown = "-EIO";
                return true;

            // The former says that the device is polled on, the latter (napi_poll() where it is inlined) does not say that it is to be, and nobody would poll it (net/core/dev.c).
            case { Kind: ReturnKind.Bool or ReturnKind.SignedInteger } when function is "napi_complete_done" or "__napi_poll" or "napi_poll":
                whyNot = $"{function}() that has not come to its end leaves its device without polls";
                return false;
            case { Kind: ReturnKind.Bool }:
                shown = "false";
                return true;
            case { Kind: ReturnKind.Pointer }:
                ReturnCheck check = index + 1 < evidence.Stack.Frames.Count
                    ? ReturnUse.PointerCheck(evidence.Kernel.Image, evidence.Stack.Frames[index + 1].Ip)
                    : ReturnCheck.Unknown;
                value = check == ReturnCheck.ErrorPointer ? unchecked((ulong)-Eio) : 0;
                shown = check == ReturnCheck.ErrorPointer ? "ERR_PTR(-EIO)" : "NULL";
                whyNot = $"{function} returns a pointer, and its caller does not show whether it checks it for NULL or for ERR_PTR";
                return check != ReturnCheck.Unknown;
            default:
                whyNot = $"{function} returns {returns.Name}, which has no value that says an error";
                return false;
        }
    }
}
