using Iced.Intel;
using Panacea.Diagnosis;
using Panacea.Formats.Orc;
using Panacea.Kernel.Code;
using Panacea.Kernel.Replay;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>
/// A double fault because the stack pointer was no stack's. An instruction that sets it from another register (as entries of interrupts do, when they go to the task's stack: arch/x86/entry/entry_64.S) may have set it from
/// somewhere else: then the register that it should have been set from still holds where the stack is, and the CPU goes back to that instruction. Else a bit of it is wrong; or a flipped bit has made a rotation of ESP of a
/// RET, and its low half alone is left. Of what it may have been, the one from which the stack unwinds to its end is right, and the CPU goes on where it was.
/// </summary>
internal static class LostStackPointer
{
    /// <summary>How far below a stack what has used it up may have come.</summary>
    private const ulong Below = 1 << 16;

    /// <summary>The stack pointer is none that a recursion leads to.</summary>
    public static bool Is(CrashEvidence evidence) => evidence is { IsDoubleFault: true, IsGuardHit: false } && !StacksOf(evidence).Exists(s => unchecked(evidence.Crash.Sp - (s.Start - Below)) <= s.End - s.Start + Below);

    /// <summary>Goes back to where the stack pointer is set, or on with the one that it was.</summary>
    public static StrategyVerdict Evaluate(CrashEvidence evidence)
    {
        if (!evidence.Analysis.Functions.TryFindFunction(evidence.Crash.Ip, out FunctionParts function))
            return StrategyVerdict.Declines("the code that has lost the stack pointer is no function");
        StrategyVerdict set = SetAgain(evidence, function);
        if (set.Plan is not null)
            return set;
        StrategyVerdict found = Found(evidence, function);
        return found.Plan is not null ? found : found with { Tried = [set.WhyNot!] };
    }

    private static StrategyVerdict SetAgain(CrashEvidence evidence, in FunctionParts function)
    {
        if (!StackSwitch.TryFind(evidence.Analysis.Code, function, evidence.Analysis.Hints, evidence.Crash.Ip, out ulong at, out Gpr from))
            return StrategyVerdict.Declines($"{function.Main.Name} does not set the stack pointer right before it crashed");
        ulong stackPointer = evidence.Crash.Gpr[from];
        if (!StacksOf(evidence).Exists(s => s.Contains(stackPointer)))
            return StrategyVerdict.Declines($"{from.ToString().ToLowerInvariant()}, which the stack pointer is set from, is 0x{stackPointer:x}, which is on no stack");
        return Plan(evidence, GoOn(evidence, at, stackPointer), [], $"{Name(evidence, at)} sets the stack pointer again, from {from.ToString().ToLowerInvariant()} 0x{stackPointer:x}, instead of 0x{evidence.Crash.Sp:x}");
    }

    private static StrategyVerdict Found(CrashEvidence evidence, FunctionParts function)
    {
        string lost = $"the stack pointer 0x{evidence.Crash.Sp:x} is on no stack, and none that it may have been leads to the end of one";
        ulong ip = evidence.Crash.Ip;
        List<ulong> whole;
        if (CallSites.TryInstruction(evidence.Analysis.Code, function, ip, evidence.Analysis.Hints, out _))
        {
            // An instruction that has taken more than a bit of it was to do something else, which is not done.
            whole = [.. Whole(evidence, ip, Flipped(evidence)).Where(sp => IsCalled(evidence, function, ip, sp))];
        }
        else if (Derailment.Left(evidence.Analysis, evidence.Stack.Frames[0]) is [var left, ..] && CallSites.TryInstruction(evidence.Analysis.Code, function, left, evidence.Analysis.Hints, out Instruction last) && last.FlowControl == FlowControl.Return)
        {
            ip = left;
            whole = Whole(evidence, ip, [.. Flipped(evidence), .. Turned(evidence)]);
        }
        else
        {
            return StrategyVerdict.Declines($"the stack pointer 0x{evidence.Crash.Sp:x} is on no stack, and what was executed instead of the code of {function.Main.Name} can't be told");
        }

        if (whole.Count == 0)
            return StrategyVerdict.Declines(lost);
        if (whole is not [var stackPointer])
            return StrategyVerdict.Declines($"the stack pointer 0x{evidence.Crash.Sp:x} may have been {string.Join(" or ", whole.Select(w => $"0x{w:x}"))}");
        string was = $"the stack pointer was 0x{stackPointer:x}, not 0x{evidence.Crash.Sp:x}: from there, and from nothing else that is like it, the stack leads to its end";
        if (!Undelivered.TryFind(evidence, ip, stackPointer, out Undelivered? interrupt, out string whyNot))
            return StrategyVerdict.Declines($"{was}; {whyNot}");
        StrategyVerdict verdict = interrupt is null
            ? Plan(evidence, GoOn(evidence, ip, stackPointer), [], $"{was}; {Name(evidence, ip)} goes on")
            : Plan(evidence, GoOn(evidence, interrupt.Handler, interrupt.StackPointer) with { Interrupts = false }, [interrupt.Frame], $"{was}; interrupt {interrupt.Vector}, which could not be delivered, goes to its handler, and {Name(evidence, ip)} on behind it");

        // That nothing else is like it is no proof.
        return verdict.Plan is { } plan ? StrategyVerdict.Applies(plan with { Confidence = Confidence.Medium }) : verdict;
    }

    /// <summary>It with one bit flipped.</summary>
    private static IEnumerable<ulong> Flipped(CrashEvidence evidence) => Enumerable.Range(0, 64).Select(bit => evidence.Crash.Sp ^ (1UL << bit));

    /// <summary>Places on stacks whose low half is its own, rotated or not: what an instruction on 32 bits leaves.</summary>
    private static IEnumerable<ulong> Turned(CrashEvidence evidence) => evidence.Crash.Sp > uint.MaxValue ? []
        : StacksOf(evidence).SelectMany(s => Enumerable.Range(0, 32).Select(by => (s.Start & ~(ulong)uint.MaxValue) | uint.RotateLeft((uint)evidence.Crash.Sp, by)));

    private static List<ulong> Whole(CrashEvidence evidence, ulong ip, IEnumerable<ulong> candidates)
    {
        List<KernelStack> stacks = StacksOf(evidence);
        return [.. candidates.Where(c => c % 8 == 0 && stacks.Exists(s => s.Contains(c))).Distinct().Where(sp => IsWhole(evidence, ip, sp))];
    }

    /// <summary>From there the stack leads to its end, and every return address on the way stands behind a call.</summary>
    private static bool IsWhole(CrashEvidence evidence, ulong ip, ulong sp) => evidence.StackFrom?.Invoke(ip, sp) is { IsComplete: true, Frames: [{ Row.SpRegister: OrcRegister.Sp }, _, ..] } stack
        && stack.Frames.Skip(1).All(f => f.IsTrap || CallSites.IsPrecededByCall(evidence.Analysis.Code, f.Ip));

    /// <summary>The return address stands behind a call of this function, or of one that is not told: else the CPU has come here in another way than by being called.</summary>
    private static bool IsCalled(CrashEvidence evidence, FunctionParts function, ulong ip, ulong sp) =>
        evidence.StackFrom!(ip, sp).Frames[1] is var caller && (caller.IsTrap || !CallSites.TryDirectTarget(evidence.Analysis.Code, caller.Ip, out ulong called) || called == function.Main.Start);

    private static Landing GoOn(CrashEvidence evidence, ulong at, ulong stackPointer) => new(
        at, stackPointer, [.. Enumerable.Range((int)Gpr.Rcx, (int)Gpr.R15).Select(i => (Gpr)i).Where(r => r != Gpr.Rsp).Select(r => (r, evidence.Crash.Gpr[r]))],
        WritableRegister.Rax, evidence.Crash.Gpr[Gpr.Rax], evidence.Crash.InterruptsEnabled, null, new AbandonedFrames([], 0, false, false, []))
    {
        KeepsFlags = true,
    };

    private static StrategyVerdict Plan(CrashEvidence evidence, Landing landing, IReadOnlyList<PlannedWrite> writes, string explanation) =>
        !ReturnPlan.TryMake(evidence, landing, out RepairPlan plan, out string whyNot) ? StrategyVerdict.Declines(whyNot)
        : StrategyVerdict.Applies(plan with
        {
            Kind = RepairKind.Retry,
            Explanation = explanation,
            Writes = [.. writes, .. plan.Writes],
            Lost = [],
            Risks = ["what wrong values had led to elsewhere before the crash stays"],
        });

    private static string Name(CrashEvidence evidence, ulong at) => evidence.Kernel.Image.Symbolize(at)?.ToString() ?? $"0x{at:x}";

    private static List<KernelStack> StacksOf(CrashEvidence evidence) => Stacks.Of(evidence.Kernel, evidence.Cpu, evidence.Task?.Address ?? 0);
}
