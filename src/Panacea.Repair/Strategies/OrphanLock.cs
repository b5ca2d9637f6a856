using Panacea.Diagnosis;
using Panacea.Kernel;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>A mutex whose owner is no task any more is released; the task that waits for it gets it as it would have from its owner. What the owner was changing under it may be half done.</summary>
internal static class OrphanLock
{
    /// <summary>A plan for a task that waits for such a mutex.</summary>
    public static StrategyVerdict Evaluate(CrashEvidence evidence)
    {
        if (evidence.Hang is not { Wait: { Kind: LockKind.Mutex } wait, IsOwnerGone: true })
            return StrategyVerdict.Declines("nobody waits for what somebody who is gone has left locked");
        string name = evidence.Kernel.Image.Symbolize(wait.Lock)?.ToString() ?? $"0x{wait.Lock:x}";
        try
        {
            return StrategyVerdict.Applies(new RepairPlan
            {
                Kind = RepairKind.Heal,
                Explanation = $"mutex {name}, whose owner is gone, is released; {(evidence.Task is { } task ? $"task {task.Pid} ({task.Comm})" : "its waiter")} gets it",
                Writes = [MutexWait.Release(evidence.Kernel, wait.Lock)],
                Registers = [],
                Lost = [],
                Risks = ["what the mutex's last owner had half done under it stays half done"],
            });
        }
        catch (Exception e) when (e is KernelShapeException or GuestMemoryException or OverflowException)
        {
            return StrategyVerdict.Declines($"the mutex can't be read: {e.Message}");
        }
    }
}
