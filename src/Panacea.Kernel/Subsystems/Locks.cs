using Panacea.Kernel.Structures;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>What a task can wait for.</summary>
public enum LockKind
{
    /// <summary>Not told: something with a list of waiters.</summary>
    Unknown,

    /// <summary>struct mutex.</summary>
    Mutex,

    /// <summary>struct rw_semaphore.</summary>
    RwSemaphore,

    /// <summary>struct semaphore.</summary>
    Semaphore,

    /// <summary>struct percpu_rw_semaphore.</summary>
    PercpuRwSemaphore,

    /// <summary>struct rt_mutex; with PREEMPT_RT, what mutexes, rw_semaphores and spinlocks are made of.</summary>
    RtMutex,

    /// <summary>spinlock_t or raw_spinlock_t.</summary>
    Spinlock,

    /// <summary>struct completion: nobody owns it, somebody will complete it.</summary>
    Completion,

    /// <summary>A wait queue: nobody owns it.</summary>
    WaitQueue,
}

/// <summary>A sleeping lock as it is now.</summary>
/// <param name="Kind">Kind.</param>
/// <param name="Address">Guest-virtual address.</param>
/// <param name="IsHeld">Somebody holds it; null where that can't be told.</param>
/// <param name="Owner">task_struct of its owner, 0 where there is none or it is not kept.</param>
/// <param name="OwnerIsHint">The owner is one of several readers, or one that may have let go: it says where to look, not who it is.</param>
/// <param name="IsHandoff">It is being handed to its first waiter.</param>
/// <param name="Readers">Readers that hold it; 0 for locks without readers.</param>
/// <param name="Waiters">Tasks that wait for it, first in line first, as far as the list holds together.</param>
public sealed record LockState(LockKind Kind, ulong Address, bool? IsHeld, ulong Owner, bool OwnerIsHint, bool IsHandoff, long Readers, Walked<ulong> Waiters);

/// <summary>A spinlock's word (include/asm-generic/qspinlock_types.h, for fewer than 16384 CPUs). Nothing says who holds it.</summary>
/// <param name="Raw">The word.</param>
/// <param name="IsLocked">Held.</param>
/// <param name="IsPending">One CPU waits next in line, outside the queue.</param>
/// <param name="TailCpu">The CPU that queued last; null where there is no queue, as with a hypervisor's simple test-and-set (virt_spin_lock).</param>
/// <param name="OwnerCpu">CPU that holds it, where the kernel keeps that (CONFIG_DEBUG_SPINLOCK).</param>
public sealed record SpinlockState(uint Raw, bool IsLocked, bool IsPending, int? TailCpu, int? OwnerCpu)
{
    /// <summary>The word could be a spinlock's: each byte holds what such a byte may.</summary>
    /// <param name="cpus">Number of CPUs.</param>
    public bool IsPlausible(int cpus) => (Raw & 0xfe) == 0 && (Raw & 0xfe00) == 0 && (TailCpu is not { } tail || tail < cpus);
}

/// <summary>Locks (include/linux/mutex.h, rwsem.h, semaphore.h, percpu-rwsem.h, rtmutex.h). Each is read as it is: over a running guest, owner and waiters may be of different moments.</summary>
public static class Locks
{
    /// <summary>Flags in a mutex's and an rwsem's owner word; task_structs are aligned far beyond them (kernel/locking/mutex.c, rwsem.c).</summary>
    private const ulong OwnerFlags = 7;

    /// <summary>Reads a lock of a known kind.</summary>
    /// <exception cref="GuestMemoryException">It can't be read.</exception>
    /// <exception cref="KernelShapeException">The kernel has no such type, or nothing can be read of that kind.</exception>
    public static LockState Read(LinuxKernel kernel, LockKind kind, ulong address, TargetLimits limits) => kind switch
    {
        LockKind.Mutex => Mutex(kernel, address, limits),
        LockKind.RwSemaphore => RwSemaphore(kernel, address, limits),
        LockKind.Semaphore => Semaphore(kernel, address, limits),
        LockKind.PercpuRwSemaphore => PercpuRwSemaphore(kernel, address, limits),
        LockKind.RtMutex => RtMutex(kernel, address, LockKind.RtMutex, address, limits),
        LockKind.Completion => Completion(kernel, address, limits),
        LockKind.WaitQueue => WaitQueue(kernel, address, limits),
        _ => throw new KernelShapeException($"a lock of kind {kind} says nothing of its owner"),
    };

    /// <summary>struct mutex: the owner's address with three flags in its lowest bits: waiters, handoff, pickup (kernel/locking/mutex.c). With PREEMPT_RT an rt_mutex.</summary>
    public static LockState Mutex(LinuxKernel kernel, ulong address, TargetLimits limits)
    {
        if (!kernel.HasMember("mutex.owner") && kernel.HasMember("mutex.rtmutex"))
            return RtMutex(kernel, unchecked(address + kernel.Offset("mutex.rtmutex")), LockKind.Mutex, address, limits);
        ulong word = kernel.Read(address, "mutex.owner.counter");
        return new LockState(
            LockKind.Mutex, address, (word & ~OwnerFlags) != 0, word & ~OwnerFlags, false, (word & 6) != 0, 0,
            Waiters(kernel, unchecked(address + kernel.Offset("mutex.wait_list")), "mutex_waiter.list", "mutex_waiter.task", limits));
    }

    /// <summary>struct rw_semaphore: bit 0 of count is a writer, bits from 8 on are readers; of owner, bit 0 says that it is a reader's (kernel/locking/rwsem.c).</summary>
    public static LockState RwSemaphore(LinuxKernel kernel, ulong address, TargetLimits limits)
    {
        if (!kernel.HasMember("rw_semaphore.owner") && kernel.HasMember("rw_semaphore.rwbase.rtmutex"))
            return RtMutex(kernel, unchecked(address + kernel.Offset("rw_semaphore.rwbase.rtmutex")), LockKind.RwSemaphore, address, limits);
        ulong count = kernel.Read(address, "rw_semaphore.count.counter"), word = kernel.Read(address, "rw_semaphore.owner.counter");
        bool written = (count & 1) != 0, byReader = (word & 1) != 0;

        // Bit 63 (RWSEM_FLAG_READFAIL) guards the reader count against overflow.
        long readers = (long)(count >> 8 & ((1UL << 55) - 1));
        return new LockState(
            LockKind.RwSemaphore, address, written || readers > 0, word & ~OwnerFlags, OwnerIsHint: byReader || !written, (count & 4) != 0, readers,
            Waiters(kernel, unchecked(address + kernel.Offset("rw_semaphore.wait_list")), "rwsem_waiter.list", "rwsem_waiter.task", limits));
    }

    /// <summary>struct semaphore: nobody knows who went through; newer kernels keep the last holder for the hung-task detector (last_holder, 6.16, commit 194a9b9e843b).</summary>
    public static LockState Semaphore(LinuxKernel kernel, ulong address, TargetLimits limits) => new(
        LockKind.Semaphore, address, kernel.ReadU32(address, "semaphore.count") == 0, Shapes.ReadIfAny(kernel, address, "semaphore.last_holder") ?? 0, true, false, 0,
        Waiters(kernel, unchecked(address + kernel.Offset("semaphore.wait_list")), "semaphore_waiter.list", "semaphore_waiter.task", limits));

    /// <summary>struct percpu_rw_semaphore: readers count on their own CPU, so only the sum means something; block is 1 while a writer has it or waits for the readers
    /// (kernel/locking/percpu-rwsem.c).</summary>
    public static LockState PercpuRwSemaphore(LinuxKernel kernel, ulong address, TargetLimits limits)
    {
        ulong counts = kernel.Read(address, "percpu_rw_semaphore.read_count");
        uint readers = 0;
        foreach (int cpu in Cpus.Possible(kernel))
            readers = unchecked(readers + kernel.Space.ReadUInt32(new VirtualAddress(Cpus.At(kernel, counts, cpu)), "percpu_rw_semaphore.read_count"));
        bool written = kernel.Read(address, "percpu_rw_semaphore.block.counter") != 0;

        // The writer that waits for the readers; one that has got through is not kept.
        ulong writer = kernel.Read(address, "percpu_rw_semaphore.writer.task");
        return new LockState(
            LockKind.PercpuRwSemaphore, address, written || readers != 0, 0, true, false, unchecked((int)readers),
            Walk.Collect(new[] { writer }.Where(w => w != 0).Concat(QueueWaiters(kernel, unchecked(address + kernel.Offset("percpu_rw_semaphore.waiters")), limits))));
    }

    /// <summary>struct rt_mutex or rt_mutex_base: the owner's address with "has waiters" in bit 0, waiters in a tree by priority (kernel/locking/rtmutex_common.h).</summary>
    public static LockState RtMutex(LinuxKernel kernel, ulong rtMutex, LockKind kind, ulong address, TargetLimits limits)
    {
        // rt_mutex_base since 5.15 (commit 830e6acc8a1c, "locking/rtmutex: Split out the inner parts of 'struct rtmutex'"); a struct rt_mutex begins with it.
        string type = kernel.HasMember("rt_mutex_base.owner") ? "rt_mutex_base" : "rt_mutex";
        ulong word = kernel.Read(rtMutex, $"{type}.owner");
        string node = Shapes.FirstOf(kernel, "rt_mutex_waiter.tree.entry", "rt_mutex_waiter.tree_entry");
        IEnumerable<ulong> waiters = RedBlackTrees.Entries(kernel, unchecked(rtMutex + kernel.Offset($"{type}.waiters")), node, limits).Select(w => kernel.Read(w, "rt_mutex_waiter.task"));
        return new LockState(kind, address, (word & ~1UL) != 0, word & ~1UL, false, false, 0, Walk.Collect(waiters));
    }

    /// <summary>struct completion.</summary>
    public static LockState Completion(LinuxKernel kernel, ulong address, TargetLimits limits) => new(
        LockKind.Completion, address, null, 0, true, false, 0,
        Waiters(kernel, unchecked(address + kernel.Offset("completion.wait.task_list")), "swait_queue.task_list", "swait_queue.task", limits));

    /// <summary>struct wait_queue_head.</summary>
    public static LockState WaitQueue(LinuxKernel kernel, ulong address, TargetLimits limits) =>
        new(LockKind.WaitQueue, address, null, 0, true, false, 0, Walk.Collect(QueueWaiters(kernel, address, limits)));

    /// <summary>The word of a spinlock_t or raw_spinlock_t, both of which begin with it.</summary>
    /// <exception cref="KernelShapeException">With PREEMPT_RT a spinlock_t is an rt_mutex: <see cref="RtMutex"/>.</exception>
    public static SpinlockState Spinlock(LinuxKernel kernel, ulong address)
    {
        uint raw = kernel.Space.ReadUInt32(new VirtualAddress(address), "raw_spinlock.raw_lock");
        uint tail = raw >> 18;
        int? owner = kernel.HasMember("raw_spinlock.owner_cpu") && (raw & 0xff) != 0 ? kernel.ReadS32(address, "raw_spinlock.owner_cpu") : null;
        return new SpinlockState(raw, (raw & 0xff) != 0, (raw & 0xff00) != 0, tail == 0 ? null : (int)tail - 1, owner);
    }

    private static Walked<ulong> Waiters(LinuxKernel kernel, ulong head, string node, string task, TargetLimits limits) =>
        Walk.Collect(Lists.Entries(kernel, head, node, limits).Select(w => kernel.Read(w, task)));

    /// <summary>The tasks of a wait queue; an entry with its own function need not be a task's, and its private pointer may be anything (epoll, poll): those are not given.</summary>
    private static IEnumerable<ulong> QueueWaiters(LinuxKernel kernel, ulong head, TargetLimits limits)
    {
        foreach (ulong entry in Lists.Entries(kernel, unchecked(head + kernel.Offset("wait_queue_head.head")), "wait_queue_entry.entry", limits))
        {
            string? wakes = kernel.Image.Symbolize(kernel.Read(entry, "wait_queue_entry.func"))?.Name;
            if (wakes is "default_wake_function" or "autoremove_wake_function" or "woken_wake_function" or "percpu_rwsem_wake_function" or "wake_bit_function" or "var_wake_function"
                or "wake_page_function")
                yield return kernel.Read(entry, "wait_queue_entry.private");
        }
    }
}
