using System.Buffers.Binary;
using Panacea.Kernel.Image;
using Panacea.Kernel.Structures;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>A sleeping lock that names a task as its owner.</summary>
/// <param name="Lock">The lock as it is.</param>
/// <param name="Symbol">The variable that it is or lies in; null where it lies in none.</param>
/// <param name="IsSure">It is beyond doubt: a variable's first word, or tasks wait for it. Else some other structure may look like it, and a mutex and an rw_semaphore differ only in the word before
/// the owner.</param>
public sealed record HeldLock(LockState Lock, SymbolLocation? Symbol, bool IsSure);

/// <summary>Finds locks by their owners. Nothing lists the locks that a task holds (without lockdep), but mutexes and rw_semaphores name their owner: a word with a task's address and at most the
/// three flags of an owner, next to a lock word that could be one and a list of waiters that is whole.</summary>
/// <remarks>Spinlocks and RCU read sections name nobody, and the readers of an rw_semaphore but the last are not kept. With PREEMPT_RT these locks are rt_mutexes, which are not searched for.</remarks>
public sealed class HeldLocks
{
    /// <summary>Bytes of data that are searched at once, and at most in one area: kernels have some ten megabytes of data and bss.</summary>
    private const int ChunkBytes = 1 << 16, MaxAreaBytes = 128 << 20;

    /// <summary>Flags in an owner word (kernel/locking/mutex.c, rwsem.c); bit 0 of an rw_semaphore's says that the owner is a reader.</summary>
    private const ulong OwnerFlags = 7, HasWaiters = 1, WriterLocked = 1;

    /// <summary>An rw_semaphore's count: bits 0 to 2 and 63 are flags, readers count from bit 8 on (kernel/locking/rwsem.c); more readers than this have never been.</summary>
    private const ulong CountFlags = 7, MaxReaders = 1 << 22;

    private readonly LinuxKernel _kernel;
    private readonly TargetLimits _limits;
    private readonly HashSet<ulong> _tasks;
    private readonly ulong _mutexOwner, _mutexList, _mutexWaitLock, _rwsemOwner, _rwsemCount, _rwsemList, _rwsemWaitLock;
    private readonly int _cpus;

    /// <summary>Searches for locks that any of these tasks owns.</summary>
    /// <exception cref="KernelShapeException">The kernel's locks keep no owner of the known shape (PREEMPT_RT).</exception>
    public HeldLocks(LinuxKernel kernel, IEnumerable<LinuxTask> tasks, TargetLimits limits)
    {
        _kernel = kernel;
        _limits = limits;
        _tasks = [.. tasks.Select(t => t.Address)];
        (_mutexOwner, _mutexList) = (kernel.Offset("mutex.owner"), kernel.Offset("mutex.wait_list"));
        (_rwsemOwner, _rwsemCount, _rwsemList) = (kernel.Offset("rw_semaphore.owner"), kernel.Offset("rw_semaphore.count"), kernel.Offset("rw_semaphore.wait_list"));
        (_mutexWaitLock, _rwsemWaitLock) = (kernel.Offset("mutex.wait_lock"), kernel.Offset("rw_semaphore.wait_lock"));
        _cpus = Cpus.Possible(kernel).Count();
    }

    /// <summary>Locks in the data of the kernel and of modules. Areas that can't be read are left out.</summary>
    public List<HeldLock> InData(IEnumerable<LinuxModule> modules)
    {
        var found = new List<HeldLock>();
        foreach ((string start, string end) in (ReadOnlySpan<(string, string)>)[("_sdata", "_edata"), ("__bss_start", "__bss_stop")])
        {
            if (_kernel.Image.TryFindSymbol(start, out ulong from) && _kernel.Image.TryFindSymbol(end, out ulong to) && to > from)
                found.AddRange(In(from, (long)Math.Min(to - from, MaxAreaBytes)));
        }

        foreach (ModuleMemory memory in modules.SelectMany(m => m.Memory).Where(m => !m.IsText))
            found.AddRange(In(memory.Start, (long)Math.Min(memory.Size, MaxAreaBytes)));
        return found;
    }

    /// <summary>Locks that lie in an area of memory, by address.</summary>
    /// <param name="start">Guest-virtual address.</param>
    /// <param name="bytes">Length.</param>
    public List<HeldLock> In(ulong start, long bytes)
    {
        var found = new List<HeldLock>();
        byte[] chunk = new byte[ChunkBytes];
        for (ulong at = start & ~7UL, end = unchecked(start + (ulong)bytes); at < end;)
        {
            // Up to the end of a page at first: one that can't be read costs no more than itself.
            int take = (int)Math.Min((ulong)ChunkBytes, end - at);
            if (!_kernel.Space.TryRead(new VirtualAddress(at), chunk.AsSpan(0, take), out _))
            {
                take = (int)Math.Min((ulong)take, KernelReads.PageSize - (at % KernelReads.PageSize));
                if (!_kernel.Space.TryRead(new VirtualAddress(at), chunk.AsSpan(0, take), out _))
                    take = -take;
            }

            for (int i = 0; i + 8 <= take; i += 8)
            {
                ulong word = BinaryPrimitives.ReadUInt64LittleEndian(chunk.AsSpan(i)) & ~OwnerFlags;
                if (word >> 63 != 0 && _tasks.Contains(word) && At(unchecked(at + (ulong)i)) is { } held)
                    found.Add(held);
            }

            at = unchecked(at + (ulong)Math.Abs(take));
        }

        return found;
    }

    /// <summary>The lock whose owner word is at an address; null where there is none.</summary>
    private HeldLock? At(ulong owner)
    {
        try
        {
            ulong mutex = unchecked(owner - _mutexOwner), rwsem = unchecked(owner - _rwsemOwner);
            bool couldBeMutex = IsLock(mutex, _mutexList, _mutexWaitLock), couldBeRwsem = IsLock(rwsem, _rwsemList, _rwsemWaitLock);
            SymbolLocation? symbol = _kernel.Image.Symbolize(owner);
            bool isNamedMutex = symbol is { } s && s.Offset == _mutexOwner, isNamedRwsem = symbol is { } r && r.Offset == _rwsemOwner && _rwsemOwner != 0;
            if (couldBeRwsem && IsCount(rwsem, owner) && !isNamedMutex)
                return Held(LockKind.RwSemaphore, rwsem, symbol, isNamedRwsem);
            return couldBeMutex && IsOwned(mutex, owner) ? Held(LockKind.Mutex, mutex, symbol, isNamedMutex) : null;
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException or OverflowException)
        {
            return null;
        }
    }

    private HeldLock Held(LockKind kind, ulong address, SymbolLocation? owner, bool sure)
    {
        SymbolLocation? symbol = owner is { } o && _kernel.Image.Symbolize(address) is { } own && own.Name == o.Name ? own : null;
        LockState state = Locks.Read(_kernel, kind, address, _limits);
        return new HeldLock(state, symbol is { } named && named.Offset < Math.Max(named.Size, 1) ? named : null, sure || state.Waiters is { IsWhole: true, Items.Count: > 0 });
    }

    /// <summary>The flag "there are waiters" is set exactly while somebody is on the list (__mutex_add_waiter, __mutex_remove_waiter), and who is on it is a task. An rw_semaphore that its last
    /// reader has let go of, and a task pointer before a wait queue, look like a mutex but for that.</summary>
    private bool IsOwned(ulong mutex, ulong owner)
    {
        bool flagged = (_kernel.ReadU64(owner, "mutex.owner") & HasWaiters) != 0, listed = _kernel.ReadU64(unchecked(mutex + _mutexList), "mutex.wait_list") != unchecked(mutex + _mutexList);
        return flagged == listed && (!listed || Locks.Read(_kernel, LockKind.Mutex, mutex, _limits).Waiters is { IsWhole: true } waiters && waiters.Items.All(_tasks.Contains));
    }

    /// <summary>The list of waiters is whole at its head, and the word of the spinlock that guards it could be one.</summary>
    private bool IsLock(ulong address, ulong list, ulong waitLock)
    {
        ulong head = unchecked(address + list);
        return _kernel.Space.TryReadUInt64(new VirtualAddress(head), out ulong next, out _) && _kernel.Space.TryReadUInt64(new VirtualAddress(unchecked(head + 8)), out ulong prev, out _)
            && new VirtualAddress(next).IsKernelHalf && new VirtualAddress(prev).IsKernelHalf
            && _kernel.Space.TryReadUInt64(new VirtualAddress(unchecked(next + 8)), out ulong back, out _) && back == head
            && _kernel.Space.TryReadUInt64(new VirtualAddress(prev), out ulong forth, out _) && forth == head
            && Locks.Spinlock(_kernel, unchecked(address + waitLock)).IsPlausible(_cpus);
    }

    /// <summary>The word could be the count of an rw_semaphore that is held the way its owner word says.</summary>
    private bool IsCount(ulong rwsem, ulong owner)
    {
        ulong count = _kernel.ReadU64(unchecked(rwsem + _rwsemCount), "rw_semaphore.count"), readers = count >> 8;
        bool isReader = (_kernel.ReadU64(owner, "rw_semaphore.owner") & 1) != 0;
        return (count & 0xff & ~CountFlags) == 0 && (isReader ? readers is > 0 and < MaxReaders && (count & WriterLocked) == 0 : (count & WriterLocked) != 0 && readers < MaxReaders);
    }
}
