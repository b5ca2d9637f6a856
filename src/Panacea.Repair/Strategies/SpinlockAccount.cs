using Panacea.Diagnosis;
using Panacea.Kernel.Holdings;
using Panacea.Kernel.Unwind;

namespace Panacea.Repair.Strategies;

/// <summary>Which spinlocks a CPU holds that hangs: what the functions on its stacks have taken, where that is as much as its preempt count says. Whoever takes one adds to the count (include/linux/spinlock_api_smp.h).</summary>
public static class SpinlockAccount
{
    /// <summary>Their addresses, guest-virtual.</summary>
    /// <param name="evidence">A CPU that hangs.</param>
    /// <param name="held">The result.</param>
    /// <param name="whyNot">Why they can't be told.</param>
    public static bool TryFind(CrashEvidence evidence, out IReadOnlyCollection<ulong> held, out string whyNot)
    {
        (held, whyNot) = ([], "");
        if (evidence is not { Hang: not null, FaultyFrame: not null, PreemptCount: { } count } || evidence.Stack.Frames is not { Count: > 0 } frames)
        {
            whyNot = "no CPU hangs, or its count is not known";
            return false;
        }

        if (frames.FirstOrDefault(f => f.Reliability != FrameReliability.Exact) is { } guessed)
        {
            whyNot = $"that a function was called at 0x{guessed.Ip:x} is not proved";
            return false;
        }

        AbandonedFrames all = AbandonedFrames.Of(evidence, frames.Count - 1);
        if (!all.IsCounted)
        {
            whyNot = "what each of the functions has added to the count is not known";
            return false;
        }

        // A lock function that has just taken its lock has not come back with it.
        if (frames.Skip(2).FirstOrDefault(f => evidence.LocationOf(f)?.Name is { } name && LockFunctions.Find(name) is { Takes: true, IsHelper: false, Kind: not HoldingKind.Other }) is { } taking)
        {
            whyNot = $"{evidence.LocationOf(taking)?.Name} may have taken its lock already";
            return false;
        }

        if (all.Doubts.Except(all.Atomics).FirstOrDefault() is { } doubt)
        {
            whyNot = doubt;
            return false;
        }

        // The idle task has preemption off (commit f1a0a376ca0c, "sched/core: Initialize the idle task with preemption disabled").
        int sum = all.PreemptCount + all.PreemptCountOfLocks + (evidence.Task is { Pid: 0 } ? 1 : 0);
        if ((sum & 0xff) != count)
        {
            whyNot = $"the functions on the stack have added 0x{sum & 0xff:x} to the preempt count, which is 0x{count:x}";
            return false;
        }

        held = [.. all.Locks.Where(l => LockFunctions.PreemptCountOf(l.Kind) != 0).Select(l => l.Address)];
        return true;
    }

    /// <summary>The lock function that a CPU waits in was called with that address: what it looks at is the lock itself, and no place of its own in the queue of those who wait (kernel/locking/mcs_spinlock.h).</summary>
    /// <param name="evidence">A CPU whose innermost function is a slow path.</param>
    /// <param name="address">Guest-virtual.</param>
    public static bool IsWaitedFor(CrashEvidence evidence, ulong address) => SpinWait.TryFindLock(evidence, 0, out ulong found) && found == address;
}
