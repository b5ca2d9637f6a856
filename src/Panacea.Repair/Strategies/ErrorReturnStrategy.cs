using Panacea.Diagnosis;
using Panacea.Kernel.Code;
using Panacea.Kernel.Types;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>
/// The faulty function returns an error to its caller: registers and stack become what they are when it has just returned, and the return value is an error of its BTF return type.
/// The process lives and sees the error. Nothing is guessed: where the state can't be proved, the strategy does not apply.
/// </summary>
public sealed class ErrorReturnStrategy : IRepairStrategy
{
    private const long Eio = 5;

    /// <inheritdoc/>
    public RepairKind Kind => RepairKind.ErrorReturn;

    /// <inheritdoc/>
    public StrategyVerdict Evaluate(CrashEvidence evidence)
    {
        if (evidence.Context is not (CrashContext.Process or CrashContext.KernelThread))
            return StrategyVerdict.Declines($"the crash is in {KillStrategy.Describe(evidence.Context)}");
        if (evidence.Kind is CrashKind.DoubleFault or CrashKind.StackOverflow)
            return StrategyVerdict.Declines("the double fault handler does not return");
        if (!evidence.Crash.InterruptsEnabled)
            return StrategyVerdict.Declines("interrupts are off, and who turned them off can't be shown");
        if (evidence.FaultyFrame is not { } index)
            return StrategyVerdict.Declines(evidence.WhyNoFaultyFrame ?? "the faulty function can't be told");

        StackFrame frame = evidence.Stack.Frames[index];
        if (evidence.LocationOf(frame) is not { } location || !evidence.Analysis.Functions.TryFindFunction(frame.Point.LookupAddress, out FunctionParts parts))
            return StrategyVerdict.Declines("the faulty function has no symbol");
        string function = parts.Main.Name;
        if (!TryErrorValue(evidence, index, function, location.Module, out ulong value, out string shown, out string whyNot))
            return StrategyVerdict.Declines(whyNot);
        if (!TakenOnTheWay.TryProveNothing(evidence, frame, parts, out bool mayHoldReference, out whyNot))
            return StrategyVerdict.Declines(whyNot);
        if (!FunctionReturn.TryCompute(evidence.Analysis, evidence.Stack.Frames, index, out ReturnState state, out Decline decline))
            return StrategyVerdict.Declines($"the state in which {function} has returned can't be proved: {decline}");

        string explanation = $"{function} returns {shown} to {evidence.Kernel.Image.Symbolize(state.Rip)?.ToString() ?? $"0x{state.Rip:x}"}; the process lives";
        List<string> risks = ["what the function had half done stays half done"];
        if (mayHoldReference)
            risks.Add($"{function} may have counted a reference that nobody drops: an object may never be freed");
        var plan = new RepairPlan { Kind = Kind, Explanation = explanation, Writes = [], Registers = [], Lost = [], Risks = risks };
        if (evidence.Point.Symbol != "oops_end")
            return StrategyVerdict.Applies(plan with { Registers = Direct(evidence, evidence.Vcpu.Rflags, state, value) });
        if (TrapReturn.IsSilent(evidence))
        {
            RepairPlan back = TrapReturn.Plan(evidence, state.Apply(evidence.Crash with { Flags = TrapReturn.CleanFlags(evidence.Crash.Flags) }, value));
            return StrategyVerdict.Applies(plan with { Writes = back.Writes, Registers = back.Registers });
        }

        ulong stack = evidence.Vcpu.Gpr[Gpr.Rsp];
        if (!evidence.Kernel.Space.TryReadUInt64(new VirtualAddress(stack), out ulong after, out _) || !evidence.Kernel.Image.IsText(after))
            return StrategyVerdict.Declines("where oops_end returns to can't be told");
        var next = new PlannedContinuation(evidence.Vcpu.Vcpu, after, stack + 8, Direct(evidence, evidence.Crash.Flags, state, value));
        return StrategyVerdict.Applies(plan with { Registers = TrapReturn.Handled(evidence), Continuation = next });
    }

    private static List<PlannedRegister> Direct(CrashEvidence evidence, ulong flags, ReturnState state, ulong value)
    {
        int vcpu = evidence.Vcpu.Vcpu;
        var registers = new List<PlannedRegister>();
        foreach (Gpr register in KnownRegisters.CalleeSaved)
            registers.Add(new(vcpu, (WritableRegister)(int)register, state.CalleeSaved[register]!.Value, "callee-saved register as the caller left it"));
        registers.Add(new(vcpu, WritableRegister.Rax, value, "return value"));
        registers.Add(new(vcpu, WritableRegister.Rflags, TrapReturn.CleanFlags(flags), "flags"));
        registers.Add(new(vcpu, WritableRegister.Rsp, state.Rsp, "stack as after the return"));
        registers.Add(new(vcpu, WritableRegister.Rip, state.Rip, "return address"));
        return registers;
    }

    private static bool TryErrorValue(
        CrashEvidence evidence, int index, string function, string? module, out ulong value, out string shown, out string whyNot)
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
            case { Kind: ReturnKind.SignedInteger, Bytes: 4 or 8 }:
                value = unchecked((ulong)-Eio);
                if (returns.Bytes == 4)
                    value &= uint.MaxValue;
                shown = "-EIO";
                return true;
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
