using System.Buffers.Binary;
using Panacea.Diagnosis;
using Panacea.Kernel;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>A task that waits for what has come already was woken to be looked at; it only has to find out what for.</summary>
internal static class LostWake
{
    /// <summary>A plan for a task that has been woken, and stands where it comes out of the scheduler.</summary>
    public static StrategyVerdict Evaluate(CrashEvidence evidence, LockWait wait)
    {
        string who = evidence.Task is { } task ? $"task {task.Pid} ({task.Comm})" : "the task";
        try
        {
            if (!LostWakes.HasCome(evidence.Kernel, wait, TargetLimits.Default))
                return StrategyVerdict.Declines("what the task waits for is gone again: it waits on");
            var writes = new List<PlannedWrite>();
            if (LostWakes.Sign(evidence.Kernel, wait) is (var address, var value))
            {
                byte[] flags = new byte[4];
                BinaryPrimitives.WriteUInt32LittleEndian(flags, value);
                writes.Add(new PlannedWrite(new VirtualAddress(address), flags, "flags of its wait: it was woken"));
            }

            return StrategyVerdict.Applies(new RepairPlan
            {
                Kind = RepairKind.Heal, Explanation = $"{who}, which waits for what has come already, is woken; nothing is lost", Writes = writes, Registers = [], Lost = [], Risks = [],
            });
        }
        catch (Exception e) when (e is KernelShapeException or GuestMemoryException or OverflowException)
        {
            return StrategyVerdict.Declines($"what the task waits for can't be read: {e.Message}");
        }
    }
}
