using Panacea.Diagnosis;
using Panacea.Kernel.Code;
using Panacea.Kernel.Replay;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>
/// A double fault because the stack pointer was no stack's: an instruction that sets it from another register (as entries of interrupts do, when they go to the task's stack: arch/x86/entry/entry_64.S) has set it from
/// somewhere else. The register that it should have been set from still holds where the stack is, and the CPU goes back to that instruction. Nothing could have been stored meanwhile.
/// </summary>
internal static class LostStackPointer
{
    /// <summary>How far below a stack what has used it up may have come.</summary>
    private const ulong Below = 1 << 16;

    /// <summary>The stack pointer is none that a recursion leads to.</summary>
    public static bool Is(CrashEvidence evidence) => evidence is { IsDoubleFault: true, IsGuardHit: false } && !StacksOf(evidence).Exists(s => unchecked(evidence.Crash.Sp - (s.Start - Below)) <= s.End - s.Start + Below);

    /// <summary>Goes back to where the stack pointer is set.</summary>
    public static StrategyVerdict Evaluate(CrashEvidence evidence)
    {
        ulong ip = evidence.Crash.Ip;
        if (!evidence.Analysis.Functions.TryFindFunction(ip, out FunctionParts function))
            return StrategyVerdict.Declines("the code that has lost the stack pointer is no function");
        if (!StackSwitch.TryFind(evidence.Analysis.Code, function, evidence.Analysis.Hints, ip, out ulong at, out Gpr from))
            return StrategyVerdict.Declines($"{function.Main.Name} does not set the stack pointer right before it crashed");
        ulong stackPointer = evidence.Crash.Gpr[from];
        if (!StacksOf(evidence).Exists(s => s.Contains(stackPointer)))
            return StrategyVerdict.Declines($"{from.ToString().ToLowerInvariant()}, which the stack pointer is set from, is 0x{stackPointer:x}, which is on no stack");
        List<(Gpr, ulong)> registers = [.. Enumerable.Range((int)Gpr.Rcx, (int)Gpr.R15).Select(i => (Gpr)i).Where(r => r != Gpr.Rsp).Select(r => (r, evidence.Crash.Gpr[r]))];
        var landing = new Landing(at, stackPointer, registers, WritableRegister.Rax, evidence.Crash.Gpr[Gpr.Rax], evidence.Crash.InterruptsEnabled, null, new AbandonedFrames([], 0, false, false, []));
        if (!ReturnPlan.TryMake(evidence, landing, out RepairPlan plan, out string whyNot))
            return StrategyVerdict.Declines(whyNot);
        return StrategyVerdict.Applies(plan with
        {
            Kind = RepairKind.Retry,
            Explanation = $"{evidence.Kernel.Image.Symbolize(at)?.ToString() ?? $"0x{at:x}"} sets the stack pointer again, from {from.ToString().ToLowerInvariant()} 0x{stackPointer:x}, instead of 0x{evidence.Crash.Sp:x}",
            Lost = [],
            Risks = ["what wrong values had led to elsewhere before the crash stays"],
        });
    }

    private static List<KernelStack> StacksOf(CrashEvidence evidence) => Stacks.Of(evidence.Kernel, evidence.Cpu, evidence.Task?.Address ?? 0);
}
