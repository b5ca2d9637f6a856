using Panacea.Diagnosis;
using Panacea.Kernel.Code;
using Panacea.Kernel.Replay;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>
/// A function has used the NULL that a call of its own returned, as an allocation's that has failed: the call is made once more, where over a copy of memory it returns something else and the function gets past the crash.
/// A call that returned NULL has done nothing that would be done twice, or has given it back. Nothing is lost.
/// </summary>
internal static class NullAgain
{
    /// <summary>A plan, or why there is none.</summary>
    /// <param name="evidence">The crash.</param>
    /// <param name="most">Instructions that may be executed.</param>
    /// <param name="left">Takes off those that were.</param>
    public static StrategyVerdict Evaluate(CrashEvidence evidence, int most, ref int left)
    {
        StackFrame frame = evidence.Stack.Frames[0];
        if (evidence.FaultyFrame != 0 || evidence.Hang is not null || evidence.LeftCodeAt is not null || !frame.IsTrap || evidence.Fault?.BadRegister is not { Value: 0 } bad
            || !evidence.Analysis.Functions.TryFindFunction(frame.Point.LookupAddress, out FunctionParts function))
            return StrategyVerdict.Declines("the crash is no use of a NULL pointer");
        if (!ReturnedNull.TryFind(evidence.Analysis.Code, function, evidence.Analysis.Hints, frame.Ip, bad.Register, address => Replays.NameOf(evidence, address), out ReturnedNull call, out string whyNot))
            return StrategyVerdict.Declines(whyNot);
        if (!FunctionReturn.TryCompute(evidence.Analysis, evidence.Stack.Frames, 0, out ReturnState state, out Decline decline))
            return StrategyVerdict.Declines($"where {function.Main.Name} returns to can't be told: {decline}");
        KnownRegisters saved = default;
        foreach (Gpr register in KnownRegisters.CalleeSaved)
            saved[register] = evidence.Crash.Gpr[register];
        ReplayResult replay = CallReplay.RunPart(
            Replays.Of(evidence, 0, state, most) with
            {
                Interrupts = evidence.Crash.InterruptsEnabled,
                PreemptCount = evidence is { PreemptCountAddress: { } count, PreemptWord: { } word } ? (count, word) : null,
            }, call.Start, saved, isDone: false);
        left -= replay.Instructions + 1;
        string callee = call.Callee is { } target && evidence.Kernel.Image.Symbolize(target) is { } symbol ? symbol.Name : "a function called through a pointer";
        string where = evidence.Kernel.Image.Symbolize(call.Call)?.ToString() ?? $"0x{call.Call:x}";
        if (replay.Verdict != ReplayVerdict.Passes)
            return StrategyVerdict.Declines($"{callee}, called once more at {where} over a copy of memory: it {replay.Why} at {evidence.Kernel.Image.Symbolize(replay.At)?.ToString() ?? $"0x{replay.At:x}"}");
        List<(Gpr, ulong)> registers = [.. KnownRegisters.CalleeSaved.ToArray().Select(r => (r, evidence.Crash.Gpr[r]))];
        var landing = new Landing(call.Start, frame.Sp, registers, WritableRegister.Rax, 0, evidence.Crash.InterruptsEnabled, null, new AbandonedFrames([], 0, false, false, []));
        if (!ReturnPlan.TryMake(evidence, landing, out RepairPlan plan, out whyNot))
            return StrategyVerdict.Declines(whyNot);
        return StrategyVerdict.Applies(plan with
        {
            Kind = RepairKind.Retry,
            Confidence = Confidence.High,
            Explanation = $"{callee}, which had returned NULL to {where}, is called once more: over a copy of memory {function.Main.Name} gets past the crash ({replay.Instructions} instructions)",
            Lost = [],
            Risks = [$"what {callee} had done before it returned NULL is done again"],
        });
    }
}
