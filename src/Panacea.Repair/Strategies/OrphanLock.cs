using Panacea.Diagnosis;
using Panacea.Kernel;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>A mutex whose owner is no task any more, or a spinlock that no CPU can hold, is released; who waits for it gets it as he would have from its owner. What the owner was changing under it may be half done.</summary>
internal static class OrphanLock
{
    /// <summary>A plan for a task or a CPU that waits for such a lock.</summary>
    public static StrategyVerdict Evaluate(CrashEvidence evidence)
    {
        if (evidence.Hang is { OrphanSpinlock: { } spinlock })
            return Spinlock(evidence, spinlock);
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

    /// <summary>The lowest byte is who holds it, the rest is who waits (include/asm-generic/qspinlock_types.h); whoever is first of those takes it. It is given back as queued_spin_unlock() does. Where who waits leaves nothing in
    /// it, whatever is in the rest is nobody's, and keeps all from taking it.</summary>
    private static StrategyVerdict Spinlock(CrashEvidence evidence, ulong address) => StrategyVerdict.Applies(new RepairPlan
    {
        Kind = RepairKind.Heal,
        Explanation = $"spinlock {evidence.Kernel.Image.Symbolize(address)?.ToString() ?? $"0x{address:x}"}, which no CPU can hold, is released; CPU {evidence.Cpu}, which waits for it, gets it",
        Writes = [new PlannedWrite(new VirtualAddress(address), new byte[evidence.IsUntracedWait(0) ? 4 : 1], "the spinlock is held by nobody")],
        Registers = [],
        Lost = [],
        Risks = ["what the spinlock's last owner had half done under it stays half done"],
    });
}
