using System.Buffers.Binary;
using Panacea.Diagnosis;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>
/// Quarantine without an end: the offending task sleeps for ever where it stands, its stack and its memory stay for inspection, and the OS goes on. It sleeps in <c>msleep(UINT_MAX)</c>
/// (kernel/time/timer.c), which goes back to sleep whoever wakes it, as if the code that crashed had called it: so <c>/proc/PID/stack</c> shows what it was doing. What its functions hold is
/// given back first. The last rung: it is also what is left where a task can't be killed, as init can't.
/// </summary>
public sealed class FreezeStrategy : IRepairStrategy
{
    private const string Sleep = "msleep";

    /// <inheritdoc/>
    public RepairKind Kind => RepairKind.Freeze;

    /// <inheritdoc/>
    public StrategyVerdict Evaluate(CrashEvidence evidence)
    {
        if (evidence.Context is not (CrashContext.Process or CrashContext.KernelThread) || evidence.Task is not { Pid: not 0 } task)
            return StrategyVerdict.Declines($"the crash is in {KillStrategy.Describe(evidence.Context)}: there is no task that could sleep");
        if (KillStrategy.WhyIndispensable(evidence) is { } indispensable)
            return StrategyVerdict.Declines(indispensable);
        if (TaskSwitch.WhyNot(evidence) is { } half)
            return StrategyVerdict.Declines(half);
        if (!evidence.Kernel.HasSymbol(Sleep))
            return StrategyVerdict.Declines($"this kernel has no {Sleep}()");
        AbandonedFrames abandoned = AbandonedFrames.All(evidence);
        if (!TryFrame(evidence, out ulong stack, out PlannedWrite[] caller, out string whyNot))
            return StrategyVerdict.Declines(whyNot);
        var landing = new Landing(evidence.Kernel.Symbol(Sleep), stack, [], WritableRegister.Rdi, uint.MaxValue, true, 0, abandoned) { CallStack = ReturnPlan.StackBelow(evidence), AtEnd = caller };
        if (!ReturnPlan.TryMake(evidence, landing, out RepairPlan plan, out whyNot))
            return StrategyVerdict.Declines(whyNot);
        var risks = new List<string> { "it stays in D state: the load average counts it, and hung_task_panic would take it for a hang" };
        if (task.Tgid == 1)
            risks.Add("nobody reaps orphans any more, which stay as zombies, and nobody answers a shutdown: plan a reboot (reboot -f)");
        risks.AddRange(abandoned.StaysHeld(evidence));
        return StrategyVerdict.Applies(plan with
        {
            Kind = Kind,
            Explanation = $"thread {task.Pid} ({task.Comm}) sleeps for ever where it crashed{abandoned.Given}; the rest of the OS goes on",
            Lost = [task.IsKernelThread ? $"kernel thread {task.Pid} ({task.Comm})" : $"thread {task.Pid} of process {task.Tgid} ({task.Comm})"],
            Risks = risks,

            // What the functions further out hold is not given back.
            Confidence = Confidence.Medium,
        });
    }

    /// <summary>The stack as after a call of the sleeping function from where the task stands, or from the innermost function that has left room for it. A call to where there is no code, and panic(), have made that call already.</summary>
    private static bool TryFrame(CrashEvidence evidence, out ulong stack, out PlannedWrite[] caller, out string whyNot)
    {
        bool isTrap = evidence.Point.Symbol == "oops_end";
        ulong ip = isTrap ? evidence.Crash.Ip : evidence.Vcpu.Rip;
        stack = isTrap ? evidence.Crash.Sp : evidence.Vcpu.Gpr[Gpr.Rsp];
        (caller, whyNot) = ([], "");
        if (UsedUpStack.Is(evidence))
        {
            if (!UsedUpStack.TryRoom(evidence, out StackFrame frame, out whyNot))
                return false;
            (stack, ip) = (frame.Sp, frame.Ip);
        }

        if ((!isTrap && evidence.Hang is null) || !evidence.Kernel.Image.IsText(ip))
            return true;
        byte[] bytes = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, ip);
        stack = unchecked(stack - 8);
        caller = [new PlannedWrite(new VirtualAddress(stack), bytes, "return address: where it crashed")];
        return true;
    }
}
