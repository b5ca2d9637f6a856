using Panacea.Diagnosis;
using Panacea.Kernel;
using Panacea.Kernel.Code;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Unwind;
using Panacea.Repair.Strategies;
using Panacea.Target;

namespace Panacea.Sessions.Hangs;

/// <summary>
/// Proves that a spinlock which a CPU waits for in vain is held by nobody. Whoever holds one has added to his CPU's preempt count, and keeps it for as long as he holds it; those few that are taken without it
/// (arch_spin_lock: die_lock, the HPET's) are held with interrupts off. A moment in which no CPU but those that wait has either is one in which nobody holds it, and who does not can't take it while it is taken.
/// </summary>
/// <param name="cpus">Number of CPUs.</param>
internal sealed class SpinlockHolders(int cpus)
{
    /// <summary>The lowest byte of the word is 1 while it is held (include/asm-generic/qspinlock_types.h).</summary>
    private const uint LockedMask = 0xff;

    /// <summary>What a lock adds to lies in these bits, also one that turns bottom halves off (include/linux/preempt.h).</summary>
    private const uint PreemptMask = 0xff;

    /// <summary>The last look was such a moment.</summary>
    public bool IsProved { get; private set; }

    /// <summary>Looks at all CPUs of a guest that stands still.</summary>
    /// <param name="live">The kernel over live memory.</param>
    /// <param name="vcpus">Registers of all vCPUs.</param>
    /// <param name="hanging">Numbers of the CPUs that hang: what they hold is asked of them when all is read.</param>
    public void Look(LinuxKernel live, IReadOnlyList<VcpuRegisters> vcpus, IReadOnlyCollection<int> hanging)
    {
        var free = new HashSet<int>(hanging);
        foreach (VcpuRegisters vcpu in vcpus)
        {
            if (PerCpu.CpuOf(live, vcpu) is { } cpu && HoldsNothing(live, cpu, vcpu))
                free.Add(cpu);
        }

        IsProved = Enumerable.Range(0, cpus).All(free.Contains);
    }

    /// <summary>Those that hang are not all where they wait for a spinlock, at this moment.</summary>
    public void Forget() => IsProved = false;

    private static bool HoldsNothing(LinuxKernel live, int cpu, VcpuRegisters vcpu)
    {
        const ulong interruptFlag = 1 << 9;
        try
        {
            // The idle task has preemption off and holds nothing by it (commit f1a0a376ca0c, "sched/core: Initialize the idle task with preemption disabled").
            bool isIdle = live.Read(PerCpu.CurrentTask(live, cpu), "task_struct.pid") == 0;
            return (vcpu.Rflags & interruptFlag) != 0 && (PerCpu.PreemptCount(live, cpu) & PreemptMask) == (isIdle ? 1u : 0);
        }
        catch (Exception e) when (e is KernelShapeException or GuestMemoryException or OverflowException)
        {
            return false;
        }
    }

    /// <summary>What of its hang is known with that.</summary>
    /// <param name="evidence">A CPU that hangs.</param>
    /// <param name="hanging">The evidence of all that hang.</param>
    public Hang Of(CrashEvidence evidence, IEnumerable<CrashEvidence> hanging)
    {
        // Nobody holds it by its own word, and nobody who waits for it has put there what keeps all from taking it. That word may have been written over a lock that is held: so no CPU may that runs, nor one that hangs
        // elsewhere or is known to.
        if (IsProved && WaitsFor(evidence) is { } unheld && evidence.IsUntracedWait(0) && Word(evidence, unheld) is { } word && (word & LockedMask) == 0
            && hanging.All(h => WaitsFor(h) is not null && !(SpinlockAccount.TryFind(h, out IReadOnlyCollection<ulong> theirs, out _) && theirs.Contains(unheld))))
            return evidence.Hang! with { OrphanSpinlock = unheld, Evidence = [.. evidence.Hang!.Evidence, $"spinlock 0x{unheld:x} is not taken, but holds 0x{word:x}, which nobody puts there"] };

        // Those that hang have to wait for spinlocks all, each for one, and their counts have to say that they hold nothing else, or nothing but what their functions have taken.
        if (!IsProved || WaitsFor(evidence) is not { } address || !hanging.All(h => WaitsFor(h) is not null && DoesNotHold(h, address)))
            return evidence.Hang!;
        return evidence.Hang! with { OrphanSpinlock = address, Evidence = [.. evidence.Hang!.Evidence, $"spinlock 0x{address:x} is taken, and no CPU can hold it"] };
    }

    /// <summary>Waiting has added to the count, as holding does; so has, for good, what is idle.</summary>
    private static bool DoesNotHold(CrashEvidence evidence, ulong address) => evidence.PreemptCount == (evidence.Task is { Pid: 0 } ? 2u : 1u)
        || (SpinlockAccount.TryFind(evidence, out IReadOnlyCollection<ulong> held, out _) && !held.Contains(address));

    /// <summary>A function in which a CPU waits for a spinlock, by its symbol.</summary>
    public static bool IsSlowPath(string? symbol) => symbol is "native_queued_spin_lock_slowpath" or "queued_spin_lock_slowpath" or "__pv_queued_spin_lock_slowpath";

    /// <summary>The spinlock that a CPU waits for: what the loop that it stands in looks at, taken; or, where who waits leaves nothing in it, with something in it that nobody puts there.</summary>
    private static ulong? WaitsFor(CrashEvidence evidence)
    {
        StackFrame innermost = evidence.Stack.Frames[0];
        return IsSlowPath(evidence.LocationOf(innermost)?.Name) && WatchedWord.TryFind(evidence.Analysis.Code, innermost.Ip, evidence.Crash.Gpr, out ulong address)
            && (evidence.IsUntracedWait(0) || SpinlockAccount.IsWaitedFor(evidence, address))
            && Word(evidence, address) is { } word && ((word & LockedMask) == 1 || (word != 0 && evidence.IsUntracedWait(0))) ? address : null;
    }

    private static uint? Word(CrashEvidence evidence, ulong address) => evidence.Kernel.Space.TryReadUInt32(new VirtualAddress(address), out uint word, out _) ? word : null;
}
