using Panacea.Diagnosis;
using Panacea.Kernel.Code;
using Panacea.Kernel.Holdings;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>
/// A CPU that is to leave off waiting for a spinlock, or a task for a mutex. A CPU that waits by testing the word leaves no trace in it; the first of several waiters has set the pending byte, which is taken back; those
/// behind it stand in a queue that can't be left (kernel/locking/qspinlock.c, include/asm-generic/qspinlock_types.h).
/// </summary>
internal static class SpinWait
{
    private const uint PendingMask = 0xff00, TailMask = 0xffff_0000;

    /// <summary>What has to be written so that nobody thinks any more that the CPU waits.</summary>
    /// <param name="evidence">A CPU that hangs; of a crash there is nothing to do.</param>
    /// <param name="writes">Empty where nothing has to be written.</param>
    /// <param name="whyNot">Why it can't be done.</param>
    public static bool TryLeave(CrashEvidence evidence, out IReadOnlyList<PlannedWrite> writes, out string whyNot)
    {
        (writes, whyNot) = ([], "");
        if (evidence.Hang is not { } hang || evidence.FaultyFrame is not { } faulty)
            return true;
        if (hang.Wait is { } wait)
            return MutexWait.TryLeave(evidence.Kernel, wait, out writes, out whyNot);
        IReadOnlyList<StackFrame> frames = evidence.Stack.Frames;
        for (int i = 0; i < faulty; i++)
        {
            if (evidence.LocationOf(frames[i])?.Name is not { } name)
                continue;
            if (name.StartsWith("queued_read_lock_slowpath", StringComparison.Ordinal) || name.StartsWith("queued_write_lock_slowpath", StringComparison.Ordinal))
            {
                whyNot = "the CPU waits for an rwlock, in a queue that can't be left";
                return false;
            }

            if (!name.Contains("queued_spin_lock_slowpath", StringComparison.Ordinal))
                continue;

            // Whatever the word holds, it is not of this CPU.
            if (evidence.IsUntracedWait(i))
                return true;
            if (!TryFindLock(evidence, i, out ulong address) || !evidence.Kernel.Space.TryReadUInt32(new VirtualAddress(address), out uint word, out _))
            {
                whyNot = "the CPU waits for a spinlock, and for which can't be told";
                return false;
            }

            if ((word & TailMask) != 0)
            {
                whyNot = $"the CPU waits for spinlock {evidence.Kernel.Image.Symbolize(address)?.ToString() ?? $"0x{address:x}"}, for which others wait too, in a queue that can't be left";
                return false;
            }

            if ((word & PendingMask) != 0)
                writes = [new PlannedWrite(new VirtualAddress(address + 1), new byte[1], "pending byte of the spinlock: nobody waits for it any more")];
            return true;
        }

        return true;
    }

    /// <summary>The argument of the call of a lock function that led to the slow path in frame <paramref name="slow"/>.</summary>
    internal static bool TryFindLock(CrashEvidence evidence, int slow, out ulong address)
    {
        address = 0;
        IReadOnlyList<StackFrame> frames = evidence.Stack.Frames;
        int caller = slow + 1;
        while (caller < frames.Count && evidence.LocationOf(frames[caller])?.Name is { } name && LockFunctions.Find(name) is { Takes: true, IsHelper: false })
            caller++;
        if (caller >= frames.Count || !evidence.Analysis.Functions.TryFindFunction(frames[caller].Point.LookupAddress, out FunctionParts function)
            || !CallSites.TryFindCallBefore(evidence.Analysis.Code, function, frames[caller].Ip, out CallSite call))
            return false;
        ulong? Read(ulong at) => evidence.Kernel.Space.TryReadUInt64(new VirtualAddress(at), out ulong value, out _) ? value : null;
        FrameRegisters.TryRecover(evidence.Analysis, frames, caller, out KnownRegisters registers, out _);
        return LockArguments.TryFind(evidence.Analysis, function, frames[caller].Point, registers, new Holding(HoldingKind.Spinlock, call.Address, "", 0), Read, out address);
    }
}
