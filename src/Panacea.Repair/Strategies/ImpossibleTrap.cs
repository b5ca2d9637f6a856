using Iced.Intel;
using Panacea.Diagnosis;
using Panacea.Kernel.Code;
using Panacea.Kernel.Replay;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>
/// A trap that the instruction at its place can't have caused: an invalid opcode where there is a valid one, an access to memory by an instruction that makes none, or one that with the registers of the crash would not
/// trap now. The CPU has executed something else there, which is gone (a bit that had flipped, code that was being changed), or has come to memory that was not mapped yet. What traps does nothing before it does, so
/// the instruction is executed now, with everything as it is.
/// </summary>
internal static class ImpossibleTrap
{
    /// <summary>RF would let the instruction escape a breakpoint.</summary>
    private const ulong ResumeFlag = 1 << 16;

    /// <summary>A plan, where it is so; else null.</summary>
    public static StrategyVerdict? Evaluate(CrashEvidence evidence)
    {
        if (evidence is not { Hang: null, Point.Symbol: "oops_end", FaultyFrame: not null, LeftCodeAt: null } || evidence.Stack.Frames is not [{ IsTrap: true }, ..] || !evidence.Analysis.Functions.TryFindFunction(evidence.Crash.Ip, out FunctionParts function)
            || !CallSites.TryInstruction(evidence.Analysis.Code, function, evidence.Crash.Ip, evidence.Analysis.Hints, out Instruction instruction) || !IsThere(evidence, instruction))
            return null;
        bool isImpossible = IsImpossible(evidence, instruction);
        if (!isImpossible && !ExecutesNow(evidence))
            return null;
        string where = evidence.Kernel.Image.Symbolize(evidence.Crash.Ip)?.ToString() ?? $"0x{evidence.Crash.Ip:x}";
        string explanation = $"what has trapped at {where} is not there any more: the instruction that is, which {(isImpossible ? "can't" : "does not with the registers and the memory of now")}, is executed";
        if (TrapReturn.IsSilent(evidence))
            return StrategyVerdict.Applies(TrapReturn.Plan(evidence, evidence.Crash with { Flags = evidence.Crash.Flags & ~ResumeFlag }) with { Kind = RepairKind.Retry, Explanation = explanation });
        List<(Gpr, ulong)> registers = [.. Enumerable.Range((int)Gpr.Rcx, (int)Gpr.R15).Select(i => (Gpr)i).Where(r => r != Gpr.Rsp).Select(r => (r, evidence.Crash.Gpr[r]))];
        var landing = new Landing(
            evidence.Crash.Ip, evidence.Crash.Sp, registers, WritableRegister.Rax, evidence.Crash.Gpr[Gpr.Rax], evidence.Crash.InterruptsEnabled, null, new AbandonedFrames([], 0, false, false, []))
        {
            KeepsFlags = true,
        };
        return ReturnPlan.TryMake(evidence, landing, out RepairPlan plan, out _) ? StrategyVerdict.Applies(plan with { Kind = RepairKind.Retry, Explanation = explanation, Lost = [], Risks = [] }) : null;
    }

    private static bool ExecutesNow(CrashEvidence evidence) => evidence.TrapEntry is "asm_exc_page_fault" or "asm_exc_general_protection" or "asm_exc_stack_segment" or "asm_exc_divide_error"
        && TrappedInstruction.ExecutesNow(evidence.Kernel.Space, evidence.Replays, evidence.Vcpu.GsBase, evidence.Crash.Ip, evidence.Crash.Gpr, evidence.Crash.Flags);

    /// <summary>Memory holds it now: damage that is still there would trap again.</summary>
    private static bool IsThere(CrashEvidence evidence, in Instruction instruction)
    {
        byte[] pristine = new byte[instruction.Length], now = new byte[instruction.Length];
        return evidence.Analysis.Code.TryReadCode(instruction.IP, pristine) && evidence.Kernel.Space.TryRead(new VirtualAddress(instruction.IP), now, out _) && pristine.AsSpan().SequenceEqual(now);
    }

    private static bool IsImpossible(CrashEvidence evidence, in Instruction instruction) => evidence.TrapEntry switch
    {
        "asm_exc_invalid_op" => evidence.Kind == CrashKind.InvalidOpcode && instruction.FlowControl != FlowControl.Exception && !instruction.IsPrivileged && IsKnownToAll(instruction),
        "asm_exc_page_fault" or "asm_exc_general_protection" =>
            instruction.FlowControl is FlowControl.Next or FlowControl.ConditionalBranch or FlowControl.UnconditionalBranch && !instruction.IsPrivileged && !instruction.IsStackInstruction && TouchesNoMemory(instruction),
        _ => false,
    };

    /// <summary>Every x86-64 CPU has it: others an old one does not know.</summary>
    private static bool IsKnownToAll(in Instruction instruction)
    {
        foreach (CpuidFeature feature in instruction.CpuidFeatures)
        {
            if (feature is not (CpuidFeature.INTEL8086 or CpuidFeature.INTEL186 or CpuidFeature.INTEL286 or CpuidFeature.INTEL386 or CpuidFeature.INTEL486 or CpuidFeature.X64 or CpuidFeature.CMOV or CpuidFeature.MULTIBYTENOP))
                return false;
        }

        return true;
    }

    private static bool TouchesNoMemory(in Instruction instruction)
    {
        foreach (UsedMemory used in new InstructionInfoFactory().GetInfo(instruction).GetUsedMemory())
        {
            if (used.Access != OpAccess.NoMemAccess)
                return false;
        }

        return true;
    }
}
