using Panacea.Diagnosis;
using Panacea.Kernel.Code;
using Panacea.Kernel.Replay;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>
/// A double fault because the stack pointer was no stack's. An instruction that sets it from another register (as entries of interrupts do, when they go to the task's stack: arch/x86/entry/entry_64.S) may have set it from
/// somewhere else: then the register that it should have been set from still holds where the stack is, and the CPU goes back to that instruction. Else a bit of it is wrong, or its low half alone is left, rotated or not (a
/// flipped bit makes RET a rotation of ESP): of what it may have been, the one from which the stack unwinds to its end is right, and the CPU goes on where it was. Nothing could have been stored meanwhile.
/// </summary>
internal static class LostStackPointer
{
    /// <summary>How far below a stack what has used it up may have come.</summary>
    private const ulong Below = 1 << 16;

    /// <summary>Places at which a CPU may have left its function's code.</summary>
    private const int MaxPlaces = 4;

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

    private static StrategyVerdict Found(CrashEvidence evidence, in FunctionParts function)
    {
        bool isThere = CallSites.TryInstruction(evidence.Analysis.Code, function, evidence.Crash.Ip, evidence.Analysis.Hints, out _);
        IReadOnlyList<ulong> places = isThere ? [evidence.Crash.Ip] : [.. Derailment.Left(evidence.Analysis, evidence.Stack.Frames[0]).Take(MaxPlaces)];
        List<(ulong Ip, ulong Sp)> whole = [.. places.SelectMany(ip => Candidates(evidence).Where(sp => IsWhole(evidence, ip, sp)).Select(sp => (ip, sp)))];
        if (whole.Count == 0)
            return StrategyVerdict.Declines($"the stack pointer 0x{evidence.Crash.Sp:x} is on no stack, and none that it may have been leads to the end of one");
        (ulong at, ulong stackPointer) = whole[0];
        if (whole.Exists(w => w.Sp != stackPointer))
            return StrategyVerdict.Declines($"the stack pointer 0x{evidence.Crash.Sp:x} may have been {string.Join(" or ", whole.Select(w => $"0x{w.Sp:x}").Distinct())}");
        string was = $"the stack pointer was 0x{stackPointer:x}, not 0x{evidence.Crash.Sp:x}: from there, and from nothing else that is like it, the stack leads to its end";
        if (Undelivered.TryFind(evidence, at, stackPointer, out Undelivered lost))
            return Plan(evidence, GoOn(evidence, lost.Handler, lost.StackPointer) with { Interrupts = false }, [lost.Frame], $"{was}; interrupt {lost.Vector}, which could not be delivered, goes to its handler, and {Name(evidence, at)} on behind it");
        return Plan(evidence, GoOn(evidence, at, stackPointer), [], $"{was}; {Name(evidence, at)} goes on");
    }

    /// <summary>What the stack pointer may have been: it with one bit flipped, and the places on stacks whose low half is its own, rotated or not.</summary>
    private static IEnumerable<ulong> Candidates(CrashEvidence evidence)
    {
        ulong sp = evidence.Crash.Sp;
        var candidates = new HashSet<ulong>();
        for (int bit = 0; bit < 64; bit++)
            candidates.Add(sp ^ (1UL << bit));
        foreach (KernelStack stack in StacksOf(evidence).Where(_ => sp <= uint.MaxValue))
        {
            for (int by = 0; by < 32; by++)
                candidates.Add((stack.Start & ~(ulong)uint.MaxValue) | uint.RotateLeft((uint)sp, by));
        }

        List<KernelStack> stacks = StacksOf(evidence);
        return candidates.Where(c => c % 8 == 0 && stacks.Exists(s => s.Contains(c)));
    }

    /// <summary>From there the stack leads to its end, and every return address on the way stands behind a call.</summary>
    private static bool IsWhole(CrashEvidence evidence, ulong ip, ulong sp) => evidence.StackFrom?.Invoke(ip, sp) is { IsComplete: true, Frames.Count: > 1 } stack
        && stack.Frames.Skip(1).All(f => f.IsTrap || CallSites.IsPrecededByCall(evidence.Analysis.Code, f.Ip));

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
