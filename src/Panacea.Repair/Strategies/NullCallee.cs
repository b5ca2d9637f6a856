using Panacea.Diagnosis;
using Panacea.Kernel.Code;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>
/// The CPU has gone to where no code is. Where a dispatch point has called it through a pointer to nothing (<see cref="Boundaries"/>), nothing has been executed, and it can come back as if something had. At the end of an
/// interrupt, the entry of the interrupt gives every register back from what it has saved itself, and nothing is left to be done but to go on in it: a function that has not given back a register, and takes another word of
/// the stack for its way back, comes out so.
/// </summary>
internal static class NullCallee
{
    /// <summary>Words of the stack in which the way back is looked for: registers that were not given back lie before it.</summary>
    private const int MaxWords = 10;

    /// <summary>A plan, where it is so; else null.</summary>
    public static StrategyVerdict? Evaluate(CrashEvidence evidence)
    {
        if (evidence is not { Hang: null, Point.Symbol: "oops_end", Kind: CrashKind.NullCall or CrashKind.WildCall, Context: not (CrashContext.Nmi or CrashContext.Unknown) }
            || evidence.Stack.Frames is not [{ IsTrap: true }, ..] || Attacks.WhatItMeans(evidence) is not null)
            return null;

        // Interrupts are counted until their handlers have come to their ends (irq_exit_rcu()).
        if (evidence is { PreemptWord: { } word, Crash.InterruptsEnabled: false } && (word & PerCpu.InterruptMask) == 0 && FindEntry(evidence) is (ulong entry, ulong at))
        {
            string to = Name(evidence, entry);
            return Plan(evidence, entry, at + 8, null, false, null, $"an interrupt that has come to its end, and has not found the way back, comes back to {to}", []);
        }

        if (evidence.Stack.Frames is not [_, { IsTrap: false, Reliability: FrameReliability.Exact } caller, ..] || !TryRead(evidence, evidence.Crash.Sp, out ulong back) || back != caller.Ip
            || ReturnCandidate.BoundaryAbove(evidence, 0) is not { } boundary)
            return null;
        Boundary now = boundary.For("", evidence.EarlierRepairs);
        return Plan(
            evidence, back, evidence.Crash.Sp + 8, now.Result, now.Interrupts ?? evidence.Crash.InterruptsEnabled, now.PreemptCount,
            $"what is called at 0x{evidence.Crash.Ip:x} is no code: {Name(evidence, back)} goes on as if it had come back{(now.Shown.Length > 0 ? $" with {now.Shown}" : "")}", [now.Lost]);
    }

    /// <summary>The nearest return address on the stack that leads into the entry of an interrupt, with the registers of what was interrupted above it (asm_sysvec_*, asm_common_interrupt: arch/x86/entry/entry_64.S).</summary>
    private static (ulong Ip, ulong At)? FindEntry(CrashEvidence evidence)
    {
        for (int i = 0; i < MaxWords; i++)
        {
            ulong at = unchecked(evidence.Crash.Sp + ((ulong)i * 8));
            if (!TryRead(evidence, at, out ulong ip))
                return null;
            if (evidence.Kernel.Image.Symbolize(ip)?.Name is not { } name || (!name.StartsWith("asm_sysvec_", StringComparison.Ordinal) && name != "asm_common_interrupt") || !CallSites.IsPrecededByCall(evidence.Analysis.Code, ip))
                continue;
            byte[] bytes = new byte[PtRegs.Size];
            return evidence.Kernel.Space.TryRead(new VirtualAddress(at + 8), bytes, out _) && IsContext(evidence, PtRegs.Read(bytes)) ? (ip, at) : null;
        }

        return null;
    }

    /// <summary>What was interrupted had interrupts on, and was code of the kernel or of a process (__KERNEL_CS is 0x10, __USER_CS 0x33: arch/x86/include/asm/segment.h).</summary>
    private static bool IsContext(CrashEvidence evidence, PtRegs regs) => regs.InterruptsEnabled
        && (regs.Cs == 0x10 ? evidence.Kernel.Image.IsText(regs.Ip) : regs.Cs is 0x33 or 0x23 && !new VirtualAddress(regs.Ip).IsKernelHalf);

    private static bool TryRead(CrashEvidence evidence, ulong at, out ulong value) => evidence.Kernel.Space.TryReadUInt64(new VirtualAddress(at), out value, out _);

    private static string Name(CrashEvidence evidence, ulong address) => evidence.Kernel.Image.Symbolize(address)?.ToString() ?? $"0x{address:x}";

    private static StrategyVerdict Plan(CrashEvidence evidence, ulong ip, ulong stackPointer, ulong? result, bool interrupts, uint? preemptCount, string explanation, IReadOnlyList<string> lost)
    {
        List<(Gpr, ulong)> registers = [.. Enumerable.Range((int)Gpr.Rcx, (int)Gpr.R15).Select(i => (Gpr)i).Where(r => r != Gpr.Rsp).Select(r => (r, evidence.Crash.Gpr[r]))];
        var landing = new Landing(ip, stackPointer, registers, WritableRegister.Rax, result ?? evidence.Crash.Gpr[Gpr.Rax], interrupts, preemptCount, new AbandonedFrames([], 0, false, false, []));
        return ReturnPlan.TryMake(evidence, landing, out RepairPlan plan, out string whyNot)
            ? StrategyVerdict.Applies(plan with { Kind = RepairKind.Unwind, Explanation = explanation, Lost = lost, Risks = ["what wrong values had led to elsewhere before the crash stays"] })
            : StrategyVerdict.Declines(whyNot);
    }
}
