using Panacea.Kernel.Code;
using Panacea.Kernel.Image;
using Panacea.Kernel.Structures;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>A CPU that spins for a lock.</summary>
/// <param name="Cpu">The kernel's number of the CPU.</param>
/// <param name="Task">The task that runs there.</param>
/// <param name="Lock">Address of the spinlock.</param>
/// <param name="State">Its word.</param>
/// <param name="Symbol">The lock's name, where it is a variable of the kernel or a module.</param>
/// <param name="IsSure">Two registers agree on the address; else it is the one register that points to what looks like a held spinlock.</param>
/// <param name="Caller">The function that wants the lock; null where the stack did not tell.</param>
/// <param name="PossibleHolders">CPUs that could hold it: those that run with preemption or interrupts off, for a spinlock is never held otherwise. Empty where that can't be told.</param>
public sealed record SpinningCpu(
    int Cpu, ulong Task, ulong Lock, SpinlockState State, SymbolLocation? Symbol, bool IsSure, SymbolLocation? Caller, IReadOnlyList<int> PossibleHolders)
{
    /// <summary>Nobody but this CPU itself can hold the lock: it waits for itself.</summary>
    public bool IsSelfDeadlock => State.IsLocked && PossibleHolders is [var only] && only == Cpu;
}

/// <summary>Finds CPUs that spin in the slow path of a spinlock, from their registers (kernel/locking/qspinlock.c).</summary>
/// <param name="kernel">The kernel.</param>
/// <param name="limits">Ceilings.</param>
/// <param name="code">Map of the kernel's code.</param>
public sealed class SpinningCpus(LinuxKernel kernel, TargetLimits limits, CodeMap code)
{
    /// <summary>The lock is the first argument, and the compiler keeps it in a register that survives calls.</summary>
    private static readonly Gpr[] Candidates = [Gpr.Rdi, Gpr.Rbx, Gpr.Rbp, Gpr.R12, Gpr.R13, Gpr.R14, Gpr.R15];

    /// <summary>The CPUs that spin.</summary>
    /// <param name="vcpus">Registers of all vCPUs of a guest that stands still.</param>
    public IReadOnlyList<SpinningCpu> Find(IReadOnlyList<VcpuRegisters> vcpus)
    {
        var found = new List<SpinningCpu>();
        foreach (VcpuRegisters vcpu in vcpus)
        {
            if (!vcpu.IsUserMode && PerCpu.CpuOf(kernel, vcpu) is { } cpu && TryFind(vcpu, cpu, out SpinningCpu? spinning))
                found.Add(spinning! with { PossibleHolders = Holders(vcpus, spinning) });
        }

        return found;
    }

    private bool TryFind(VcpuRegisters vcpu, int cpu, out SpinningCpu? spinning)
    {
        spinning = null;

        // pv_queued_spin_lock_slowpath() of a hypervisor that can wait, native_ of all others; both are one frame.
        if (kernel.Image.Symbolize(vcpu.Rip)?.Name is not { } function || !function.Contains("queued_spin_lock_slowpath", StringComparison.Ordinal))
            return false;
        try
        {
            ulong task = PerCpu.CurrentTask(kernel, cpu);
            var pointed = new List<(ulong Address, SpinlockState State)>();
            foreach (Gpr register in Candidates)
            {
                ulong address = vcpu.Gpr[register];
                if (!new VirtualAddress(address).IsKernelHalf || (address & 3) != 0 || IsQueueNode(address))
                    continue;
                if (kernel.Space.TryReadUInt32(new VirtualAddress(address), out uint word, out _) && word != 0
                    && Locks.Spinlock(kernel, address) is var state && state.IsPlausible(kernel.Image.Meta.PerCpuBases.Count))
                    pointed.Add((address, state));
            }

            if (pointed.Count == 0)
                return false;
            (ulong at, SpinlockState word2) = pointed.GroupBy(p => p.Address).OrderByDescending(g => g.Count()).First().First();
            bool sure = pointed.Count(p => p.Address == at) > 1;
            spinning = new SpinningCpu(cpu, task, at, word2, kernel.Image.Symbolize(at), sure, CallerOf(vcpu, cpu, task), []);
            return true;
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException)
        {
            return false;
        }
    }

    /// <summary>The queue's own nodes (per-CPU mcs nodes) are in registers too.</summary>
    private bool IsQueueNode(ulong address)
    {
        if (!kernel.Image.TryFindPerCpuSymbol("qnodes", out ulong nodes) && !kernel.Image.TryFindPerCpuSymbol("mcs_nodes", out nodes))
            return false;
        return kernel.Image.Meta.PerCpuBases.Any(start => unchecked(address - start - nodes) < 256);
    }

    private SymbolLocation? CallerOf(VcpuRegisters vcpu, int cpu, ulong task)
    {
        var stacks = new StackMap([.. Stacks.Of(kernel, cpu, task).Select(s => s.BoundsOn(cpu))]);
        Backtrace trace = new OrcUnwinder(kernel.Image, code, kernel.Image, kernel.Space, stacks, limits).Unwind(UnwindStart.From(vcpu));
        ulong start = kernel.Image.TryFindSymbol("__lock_text_start", out ulong from) ? from : 0, end = kernel.Image.TryFindSymbol("__lock_text_end", out ulong to) ? to : 0;
        StackFrame? caller = trace.Frames.Skip(1).FirstOrDefault(f => f.Point.LookupAddress < start || f.Point.LookupAddress >= end);
        return caller is null ? null : kernel.Image.Symbolize(caller.Point.LookupAddress);
    }

    /// <summary>A holder runs with preemption off (or its interrupts): the preempt count of its CPU says so, where the kernel keeps one. The spinning CPU has counted the lock that it wants
    /// already.</summary>
    private List<int> Holders(IReadOnlyList<VcpuRegisters> vcpus, SpinningCpu spinning)
    {
        var holders = new List<int>();

        // Without CONFIG_PREEMPT_COUNT the count says nothing of locks; CONFIG_PREEMPTION selects it and brings preempt_schedule().
        if (!kernel.HasSymbol("preempt_schedule"))
            return holders;
        try
        {
            foreach (int cpu in Cpus.Online(kernel))
            {
                uint count = PerCpu.PreemptCount(kernel, cpu);
                uint own = vcpus.Any(v => PerCpu.CpuOf(kernel, v) == cpu && !v.IsUserMode && kernel.Image.Symbolize(v.Rip)?.Name.Contains("queued_spin_lock_slowpath", StringComparison.Ordinal) == true) ? 1u : 0;
                bool isUser = vcpus.Any(v => PerCpu.CpuOf(kernel, v) == cpu && v.IsUserMode);

                // An idle task runs with a preempt count of one and holds nothing by that; interrupt context counts in the upper bits.
                bool isIdle = PerCpu.CurrentTask(kernel, cpu) == kernel.Read(PerCpu.Address(kernel, "runqueues", cpu), "rq.idle");
                uint held = (count & 0xff) - Math.Min(count & 0xff, own + (isIdle ? 1u : 0));
                bool isInterrupt = (count & 0xff_ff00) != 0;
                if (!isUser && (held > 0 || (isInterrupt && cpu != spinning.Cpu)))
                    holders.Add(cpu);
            }
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException)
        {
            holders.Clear();
        }

        return holders;
    }
}
