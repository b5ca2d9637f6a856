using System.Buffers.Binary;
using Panacea.Diagnosis;
using Panacea.Kernel;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>
/// Quarantine by the kernel's own hand: the stack is unwound as far as it has to be, the functions further out give back what they hold as they return, and the process dies of a SIGKILL before it gets
/// back to user space. Applies where the unwinding can be proved; <see cref="KillStrategy"/> takes the others.
/// </summary>
public sealed class KillBySignalStrategy : IRepairStrategy
{
    private const ulong SigkillBit = 1UL << 8, SignalPending = 1UL << 2;

    /// <inheritdoc/>
    public RepairKind Kind => RepairKind.Kill;

    /// <inheritdoc/>
    public StrategyVerdict Evaluate(CrashEvidence evidence)
    {
        if (evidence.Context != CrashContext.Process || evidence.Task is not { } task)
            return StrategyVerdict.Declines($"the crash is in {KillStrategy.Describe(evidence.Context)}: there is no process to signal");
        if (task.Tgid == 1)
            return StrategyVerdict.Declines("the crash is in init, which the kernel can't live without");

        // Where the kernel would have gone on but for a setting, it goes on, and only the process does not.
        StrategyVerdict unwound = SettingStrategy.Return(evidence, Kind);
        if (unwound.Plan is null && evidence.FaultyFrame is null)
            return StrategyVerdict.Declines("the stack can't be unwound");
        if (unwound.Plan is null && TaskSwitch.WhyNot(evidence) is { } half)
            return StrategyVerdict.Declines(half);
        if (unwound.Plan is null)
            unwound = UnwindStrategy.Unwind(evidence, Kind, withFaulty: true, acceptsDoubt: false);
        if (unwound.Plan is not { } plan)
            return unwound;
        try
        {
            // A signal without a queue entry is taken from the set alone (kernel/signal.c, collect_signal); TIF_SIGPENDING is bit 2 (arch/x86/include/asm/thread_info.h).
            PlannedWrite[] signal =
            [
                Set(evidence.Kernel, task.Address, "task_struct.pending.signal.sig", SigkillBit, "SIGKILL is pending"),
                Set(evidence.Kernel, task.Address, "task_struct.thread_info.flags", SignalPending, "a signal is pending"),
            ];
            return StrategyVerdict.Applies(plan with
            {
                Kind = Kind,
                Writes = [.. signal, .. plan.Writes],
                Lost = [$"process {task.Tgid} ({task.Comm})"],
                Explanation = $"process {task.Tgid} ({task.Comm}) dies of SIGKILL before it gets back to user space: {plan.Explanation.Replace("; the process lives", "", StringComparison.Ordinal).Replace("; nothing is lost", "", StringComparison.Ordinal)}",
            });
        }
        catch (Exception e) when (e is KernelShapeException or GuestMemoryException or OverflowException)
        {
            return StrategyVerdict.Declines($"the process can't be signalled: {e.Message}");
        }
    }

    private static PlannedWrite Set(LinuxKernel kernel, ulong task, string member, ulong bits, string why)
    {
        ulong address = unchecked(task + kernel.Offset(member));
        byte[] bytes = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, kernel.ReadU64(address, member) | bits);
        return new PlannedWrite(new VirtualAddress(address), bytes, why);
    }
}
