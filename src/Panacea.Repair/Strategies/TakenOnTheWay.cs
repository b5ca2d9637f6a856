using Iced.Intel;
using Panacea.Diagnosis;
using Panacea.Kernel;
using Panacea.Kernel.Code;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>What a function took before it died stays taken when it returns. It took nothing where nothing on the way from its entry to the fault takes anything.</summary>
internal static class TakenOnTheWay
{
    /// <summary>Functions that take what must be given back; a function that called one before it died can't just return. Prefixes of symbol names.</summary>
    private static readonly string[] Acquires =
    [
        "_raw_spin_lock", "_raw_read_lock", "_raw_write_lock", "__raw_spin_lock", "mutex_lock", "ww_mutex_lock", "rt_mutex_lock", "down", "queued_spin_lock", "native_queued_spin_lock",
        "rwsem_down", "__mutex_lock", "__down", "rcu_read_lock", "__rcu_read_lock", "local_bh_disable", "__local_bh_disable", "preempt_disable", "percpu_down", "jbd2__journal_start", "jbd2_journal_start",
        "lock_sock", "lock_page", "folio_lock", "__folio_lock", "bit_spin_lock", "srcu_read_lock", "__srcu_read_lock", "kernfs_get_active",
    ];

    /// <summary>Looks at all code on the way.</summary>
    /// <param name="evidence">The crash.</param>
    /// <param name="frame">The frame that is to return.</param>
    /// <param name="function">Its function.</param>
    /// <param name="mayHoldReference">An atomic count may have been raised on the way (refcount_inc and its like are inlined): nothing waits for that, but the object may never be freed.</param>
    /// <param name="whyNot">What it may hold, or why that can't be told.</param>
    /// <returns>True where it holds nothing that somebody may wait for.</returns>
    public static bool TryProveNothing(CrashEvidence evidence, StackFrame frame, in FunctionParts function, out bool mayHoldReference, out string whyNot)
    {
        mayHoldReference = false;
        whyNot = "";
        string name = function.Main.Name;
        if (!CallSites.TryFind(evidence.Analysis.Code, function, function.Main.Start, frame.Point, evidence.Analysis.Hints, out CallsOnPaths way, out Decline decline))
            whyNot = $"what {name} took before it died can't be told: {decline}";
        else if (!way.IsComplete)
            whyNot = $"what {name} took before it died can't be told: an indirect jump in it may lead over any of its code";
        if (whyNot.Length > 0)
            return false;
        foreach (CallSite call in way.Calls)
        {
            string? callee = call.Target is { } target ? evidence.Kernel.Image.Symbolize(target)?.Name : null;
            if (callee is not null && Array.Exists(Acquires, p => callee.StartsWith(p, StringComparison.Ordinal)))
            {
                whyNot = $"{name} may hold what it took through {callee}, which nobody would give back";
                return false;
            }
        }

        ulong? preemptCount = PreemptCount(evidence);
        foreach (Instruction instruction in way.Instructions)
        {
            if (IsLock(instruction))
                whyNot = $"{name} may hold a lock that it took by '{instruction.Mnemonic.ToString().ToLowerInvariant()}' at 0x{instruction.IP:x}, which nobody would give back";
            else if (preemptCount is { } address && RaisesPreemptCount(instruction, evidence.Vcpu.GsBase, address))
                whyNot = $"{name} may have disabled preemption, which nobody would enable again";
            if (whyNot.Length > 0)
                return false;
            mayHoldReference |= instruction is { HasLockPrefix: true, Mnemonic: Mnemonic.Inc or Mnemonic.Add or Mnemonic.Xadd };
        }

        return true;
    }

    /// <summary>Atomic operations that inlined locks are taken by: bit locks (LOCK BTS), trylocks and lock-free counts (LOCK CMPXCHG), exchanges. Most such instructions are no
    /// locks; which are can't be told from the code.</summary>
    private static bool IsLock(in Instruction instruction) => instruction.Mnemonic switch
    {
        Mnemonic.Bts or Mnemonic.Cmpxchg or Mnemonic.Cmpxchg8b or Mnemonic.Cmpxchg16b => instruction.HasLockPrefix,
        Mnemonic.Xchg => instruction.Op0Kind == OpKind.Memory,
        _ => false,
    };

    /// <summary>Where the preempt count lies; null where it is zero, so that whatever raised it has lowered it again (and where it is unknown: then the kernel has none).</summary>
    private static ulong? PreemptCount(CrashEvidence evidence)
    {
        if (evidence.PreemptCount is not > 0 || evidence.Cpu is not { } cpu)
            return null;
        try
        {
            return PerCpu.PreemptCountAddress(evidence.Kernel, cpu);
        }
        catch (Exception e) when (e is KernelShapeException or GuestMemoryException)
        {
            return null;
        }
    }

    /// <summary>preempt_disable() is inlined as an increment of the per-CPU count (arch/x86/include/asm/preempt.h, __preempt_count_add).</summary>
    private static bool RaisesPreemptCount(in Instruction instruction, ulong gsBase, ulong address) =>
        instruction is { Mnemonic: Mnemonic.Inc or Mnemonic.Add, Op0Kind: OpKind.Memory, MemorySegment: Register.GS, MemoryIndex: Register.None }
        && instruction.MemoryBase is Register.None or Register.RIP && unchecked(gsBase + instruction.MemoryDisplacement64) == address;
}
