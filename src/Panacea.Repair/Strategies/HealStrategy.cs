using Iced.Intel;
using Panacea.Diagnosis;
using Panacea.Kernel.Code;
using Panacea.Kernel.Image;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>
/// The code of a function on the crashed stack is not what it was: a bit has flipped, or something has written over it. It is restored from the pristine copy in the repair image. Where the
/// damaged instruction is the one that trapped, nothing wrong has been executed: it is tried again, and nothing is lost. Where it was executed, its function returns as the next rungs have it,
/// and the next call finds it healed. The trap table, lists of which one pointer is wrong, free lists that lead nowhere and mutexes whose owner is gone are healed likewise (<see cref="TrapGates"/>, <see cref="BrokenList"/>, <see cref="BrokenFreelist"/>,
/// <see cref="OrphanLock"/>), and so are disks whose requests do not get on (<see cref="StalledDisk"/>), tasks that nobody has woken
/// (<see cref="LostWake"/>) and CPUs that have lost their timer tick (<see cref="TickAgain"/>).
/// </summary>
public sealed class HealStrategy : IRepairStrategy
{
    /// <summary>Functions of the stack that are compared, and bytes of each.</summary>
    private const int MaxFrames = 8, MaxBytes = 1 << 16;

    /// <summary>RF would let the instruction escape a breakpoint.</summary>
    private const ulong ResumeFlag = 1 << 16;

    /// <summary>Runs of damaged bytes that are restored; more is no accident to one function.</summary>
    private const int MaxRuns = 64;

    /// <inheritdoc/>
    public RepairKind Kind => RepairKind.Heal;

    /// <inheritdoc/>
    public StrategyVerdict Evaluate(CrashEvidence evidence)
    {
        if (evidence.Hang is { Stall: { } stall })
            return StalledDisk.Evaluate(evidence, stall);
        if (evidence.Hang is { Timer: { } timer })
            return TickAgain.Evaluate(evidence, timer);
        if (evidence.Hang is { HasCome: true, Wait: { } wait })
            return LostWake.Evaluate(evidence, wait);
        if (evidence.Hang is { IsOwnerGone: true } or { OrphanSpinlock: not null })
            return OrphanLock.Evaluate(evidence);
        if (evidence.Context is CrashContext.Nmi)
            return StrategyVerdict.Declines("the trap handler does not come back");
        if ((TrapGates.Evaluate(evidence) ?? BrokenList.Evaluate(evidence) ?? BrokenFreelist.Evaluate(evidence)) is { } other)
            return other;
        var damage = new List<PlannedWrite>();
        var names = new List<string>();
        bool isRetry = false;
        IReadOnlyList<StackFrame> frames = evidence.Stack.Frames;
        for (int i = 0; i < frames.Count && i < MaxFrames && frames[i].Reliability == FrameReliability.Exact; i++)
        {
            if (!evidence.Analysis.Functions.TryFindFunction(frames[i].Point.LookupAddress, out FunctionParts function) || names.Contains(function.Main.Name))
                continue;
            int before = damage.Count;
            foreach (FunctionRange part in (IReadOnlyList<FunctionRange>)[function.Main, .. function.Fragments ?? []])
                Compare(evidence, part, damage);
            if (damage.Count > MaxRuns)
                return StrategyVerdict.Declines($"the text of {function.Main.Name} differs from the pristine copy in more than {MaxRuns} places");
            if (damage.Count == before)
                continue;
            names.Add(function.Main.Name);
            isRetry |= i == 0 && evidence.Point.Symbol == "oops_end" && !UsedUpStack.Is(evidence) && damage.Count == 1 && IsTheInstruction(evidence, damage[0]);
        }

        if (damage.Count == 0)
            return StrategyVerdict.Declines("the code of the functions on the stack is what it was");
        string healed = $"the code of {string.Join(" and ", names)}, which was damaged at 0x{damage[0].Address.Value:x}, is restored";
        if (isRetry)
        {
            RepairPlan again = TrapReturn.Plan(evidence, evidence.Crash with { Flags = evidence.Crash.Flags & ~ResumeFlag });
            if (TrapReturn.IsSilent(evidence))
                return StrategyVerdict.Applies(again with { Kind = Kind, Explanation = $"{healed}, and the instruction runs again; nothing is lost", Writes = [.. damage, .. again.Writes], Risks = [] });
            return Restart(evidence, damage, healed);
        }

        foreach (IRepairStrategy next in (IRepairStrategy[])[new ErrorReturnStrategy(), new UnwindStrategy()])
        {
            if (next.Evaluate(evidence).Plan is { } plan)
                return StrategyVerdict.Applies(plan with { Kind = Kind, Explanation = $"{healed}; {plan.Explanation}", Writes = [.. damage, .. plan.Writes] });
        }

        return StrategyVerdict.Declines($"{healed}, but no function could be made to return after it");
    }

    /// <summary>Past a handler that would signal the process, straight back to the instruction.</summary>
    private StrategyVerdict Restart(CrashEvidence evidence, List<PlannedWrite> damage, string healed)
    {
        PtRegs crash = evidence.Crash;
        var registers = new List<(Gpr, ulong)>();
        foreach (Gpr register in KnownRegisters.CalleeSaved)
            registers.Add((register, crash.Gpr[register]));
        foreach (Gpr register in (Gpr[])[Gpr.Rcx, Gpr.Rdx, Gpr.Rsi, Gpr.Rdi, Gpr.R8, Gpr.R9, Gpr.R10, Gpr.R11])
            registers.Add((register, crash.Gpr[register]));
        var landing = new Landing(crash.Ip, crash.Sp, registers, WritableRegister.Rax, crash.Gpr[Gpr.Rax], crash.InterruptsEnabled, null, new AbandonedFrames([], 0, false, false, []));
        return ReturnPlan.TryMake(evidence, landing, out RepairPlan plan, out string whyNot)
            ? StrategyVerdict.Applies(plan with { Kind = Kind, Explanation = $"{healed}, and the instruction runs again; nothing is lost", Writes = [.. damage, .. plan.Writes], Lost = [], Risks = [] })
            : StrategyVerdict.Declines(whyNot);
    }

    /// <summary>The damage lies within the instruction that trapped, as it should have been.</summary>
    private static bool IsTheInstruction(CrashEvidence evidence, PlannedWrite damage)
    {
        Span<byte> code = stackalloc byte[15];
        int length = 15;
        while (length > 0 && !evidence.Kernel.Image.TryReadCode(evidence.Crash.Ip, code[..length]))
            length--;
        if (length == 0)
            return false;
        var decoder = Decoder.Create(64, code[..length].ToArray());
        decoder.IP = evidence.Crash.Ip;
        decoder.Decode(out Instruction instruction);
        return !instruction.IsInvalid && damage.Address.Value >= evidence.Crash.Ip && damage.Address.Value + (ulong)damage.Bytes.Length <= instruction.NextIP;
    }

    /// <summary>Adds a write for each run of bytes that differ and that nobody is known to patch.</summary>
    private static void Compare(CrashEvidence evidence, FunctionRange part, List<PlannedWrite> damage)
    {
        int length = (int)Math.Min(part.Length, MaxBytes);
        byte[] pristine = new byte[length], live = new byte[length];
        if (length == 0 || !evidence.Kernel.Image.TryReadCode(part.Start, pristine) || !evidence.Kernel.Space.TryRead(new VirtualAddress(part.Start), live, out _))
            return;
        for (int i = 0; i < length && damage.Count <= MaxRuns; i++)
        {
            if (pristine[i] == live[i] || IsInjected(evidence, part.Start + (ulong)i))
                continue;
            if (TextPatches.Patcher(evidence.Kernel, evidence.Kernel.Image, part.Start + (ulong)i, pristine[i], live[i]) is not null)
            {
                i += TextPatches.PatchBytes - 1;
                continue;
            }

            int end = i + 1;
            while (end < length && pristine[end] != live[end] && !IsInjected(evidence, part.Start + (ulong)end))
                end++;
            damage.Add(new PlannedWrite(new VirtualAddress(part.Start + (ulong)i), pristine.AsMemory(i, end - i), $"text of {part.Name} as it was"));
            i = end;
        }
    }

    private static bool IsInjected(CrashEvidence evidence, ulong address) => evidence.Injected.Any(r => unchecked(address - r.Start) < (ulong)r.Length);
}
