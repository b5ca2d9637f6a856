using System.Buffers.Binary;
using Panacea.Kernel.Structures;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>What a sleeping task waits for.</summary>
/// <param name="Task">task_struct address.</param>
/// <param name="Kind">Kind of lock.</param>
/// <param name="Lock">Guest-virtual address of the lock.</param>
/// <param name="Waiter">Address of the waiter's record on its stack that led there.</param>
/// <param name="Function">The lock function that it sleeps in, or for a wait queue the function that waits; null where the stack did not tell.</param>
/// <param name="IsExclusive">It wants the lock for itself; false for a reader.</param>
public sealed record LockWait(ulong Task, LockKind Kind, ulong Lock, ulong Waiter, string? Function, bool IsExclusive);

/// <summary>Finds the lock that a sleeping task waits for. Its record in the lock's queue (struct mutex_waiter, rwsem_waiter, …) is a local variable of the lock function, and names the task: so
/// the stack is searched for the task's own address, and what stands there must be linked from both sides into a list whose head is in a lock. What kind of lock is told by the function on the
/// stack.</summary>
/// <remarks>Remembers lists that it has walked: build one for a moment of a guest, not for its life. Not for concurrent use.</remarks>
/// <param name="kernel">The kernel.</param>
/// <param name="backtraces">Tells where tasks sleep.</param>
/// <param name="limits">Ceilings.</param>
public sealed class LockWaits(LinuxKernel kernel, TaskBacktraces backtraces, TargetLimits limits)
{
    /// <summary>Words of a stack that are looked at: the largest kernel stack (KASAN's 64 KiB).</summary>
    private const int MaxStackBytes = 64 << 10;

    /// <summary>Steps along lists for all tasks together: what takes more was made to.</summary>
    private const int StepsPerChain = 4;

    /// <summary>How a kind of waiter is laid out, and what its list hangs in; its wake function, where an element need not be on the stack of the task that it names.</summary>
    private sealed record Layout(LockKind Kind, string Node, string Task, string Head, string? Function = null);

    private static readonly Layout[] Layouts =
    [
        new(LockKind.Mutex, "mutex_waiter.list", "mutex_waiter.task", "mutex.wait_list"),
        new(LockKind.RwSemaphore, "rwsem_waiter.list", "rwsem_waiter.task", "rw_semaphore.wait_list"),
        new(LockKind.Semaphore, "semaphore_waiter.list", "semaphore_waiter.task", "semaphore.wait_list"),
        new(LockKind.PercpuRwSemaphore, "wait_queue_entry.entry", "wait_queue_entry.private", "percpu_rw_semaphore.waiters.head", "wait_queue_entry.func"),
        new(LockKind.Completion, "swait_queue.task_list", "swait_queue.task", "completion.wait.task_list"),
        new(LockKind.WaitQueue, "wait_queue_entry.entry", "wait_queue_entry.private", "wait_queue_head.head", "wait_queue_entry.func"),
    ];

    private readonly Dictionary<(Layout, ulong), ulong> _heads = [];
    private long _steps;

    /// <summary>What a task waits for, by its stack.</summary>
    /// <param name="backtrace">The stack of a task that sleeps.</param>
    /// <returns>Null where it waits for no lock that keeps a list of waiters, or the list did not hold together.</returns>
    /// <exception cref="GuestMemoryException">The stack can't be read.</exception>
    public LockWait? Find(TaskBacktrace backtrace)
    {
        (LockKind kind, string? function) = KindOf(backtrace);
        function ??= backtraces.WaitsIn(backtrace) is { } sleeps ? backtraces.Locate(sleeps)?.Name : null;
        bool exclusive = !IsReader(kind, backtrace);
        byte[] stack = ReadStack(backtrace);
        if (kind == LockKind.PercpuRwSemaphore && function!.StartsWith("percpu_down_write", StringComparison.Ordinal))
            return FindWriter(backtrace, stack, function);
        foreach (ulong at in Mentions(stack, backtrace))
        {
            if (kind == LockKind.RtMutex && FindRtMutex(backtrace.Task, at) is { } rtMutex)
                return new LockWait(backtrace.Task, kind, rtMutex, at, function, exclusive);
            foreach (Layout layout in Layouts)
            {
                // wait_event() is a macro: its function is no lock function, and what it waits for is a wait queue.
                if ((layout.Kind == kind || (kind == LockKind.Unknown && layout.Kind == LockKind.WaitQueue)) && FindHead(at, layout) is { } head)
                    return new LockWait(backtrace.Task, layout.Kind, unchecked(head - kernel.Offset(layout.Head)), at, function, exclusive);
            }
        }

        return null;
    }

    /// <summary>Of the locks that readers share, the function that a reader sleeps in says so, or one that has called it.</summary>
    private bool IsReader(LockKind kind, TaskBacktrace backtrace) => kind is LockKind.RwSemaphore or LockKind.PercpuRwSemaphore
        && backtrace.Trace.Frames.TakeWhile(f => f.Reliability == FrameReliability.Exact).Take(8).Select(f => kernel.Image.Symbolize(f.Point.LookupAddress)?.Name)
            .Any(name => name is not null && (name.StartsWith("rwsem_down_read", StringComparison.Ordinal) || name.Contains("percpu_down_read", StringComparison.Ordinal)));

    /// <summary>The kind of wait that a stack shows: the innermost function of those that wait for a lock.</summary>
    public (LockKind Kind, string? Function) KindOf(TaskBacktrace backtrace)
    {
        foreach (StackFrame frame in backtrace.Trace.Frames)
        {
            if (kernel.Image.Symbolize(frame.Point.LookupAddress)?.Name is not { } name)
                continue;
            LockKind kind = KindOf(name);
            if (kind != LockKind.Unknown)
                return (kind, name);
        }

        return (LockKind.Unknown, null);
    }

    /// <summary>The functions of kernel/locking, kernel/sched/completion.c and wait.c that sleep with a waiter on their stack; compilers add suffixes (.constprop.0, .isra.0).</summary>
    private static LockKind KindOf(string function)
    {
        int dot = function.IndexOf('.');
        return (dot < 0 ? function : function[..dot]) switch
        {
            "__mutex_lock" or "__mutex_lock_common" or "__mutex_lock_slowpath" or "__ww_mutex_lock" or "mutex_lock" => LockKind.Mutex,
            "rwsem_down_read_slowpath" or "rwsem_down_write_slowpath" => LockKind.RwSemaphore,
            "__down" or "__down_common" or "___down_common" or "__down_timeout" or "__down_killable" or "__down_interruptible" => LockKind.Semaphore,
            "percpu_rwsem_wait" or "percpu_down_write" => LockKind.PercpuRwSemaphore,
            "rt_mutex_slowlock" or "rt_mutex_slowlock_block" or "__rt_mutex_slowlock" or "__rt_mutex_slowlock_locked" or "rtlock_slowlock_locked" => LockKind.RtMutex,
            "__wait_for_common" or "wait_for_completion" or "do_wait_for_common" => LockKind.Completion,
            "wait_on_bit" or "__wait_on_bit" or "out_of_line_wait_on_bit" or "__wait_on_bit_lock" or "bit_wait" or "bit_wait_io" => LockKind.WaitQueue,
            "folio_wait_bit_common" or "__wait_on_buffer" or "jbd2_log_wait_commit" or "wait_woken" or "sleep_on_page" => LockKind.WaitQueue,
            _ => LockKind.Unknown,
        };
    }

    /// <summary>The list's head: the one element that is no waiter. Every other one must name a task on whose stack it lies, or, in a wait queue, a function that wakes. A list that has been walked
    /// for one of its waiters need not be walked for the next.</summary>
    private ulong? FindHead(ulong mention, Layout layout)
    {
        if (!kernel.HasMember(layout.Node) || !kernel.HasMember(layout.Task) || !kernel.HasMember(layout.Head))
            return null;
        ulong nodeAt = kernel.Offset(layout.Node), taskAt = kernel.Offset(layout.Task);
        ulong first = unchecked(mention - taskAt + nodeAt);
        if (_heads.TryGetValue((layout, first), out ulong known))
            return known;
        try
        {
            if (!IsWaiter(first, layout))
                return null;
            var nodes = new List<ulong> { first };
            ulong before = first, at = kernel.ReadU64(first, layout.Node);
            if (at == first || kernel.ReadU64(unchecked(first + 8), layout.Node) == first)
                return null;
            ulong? head = null;
            var guard = new ChainGuard(layout.Node, limits.MaxChain);
            for (; at != first; before = at, at = kernel.ReadU64(at, layout.Node))
            {
                guard.Step(at);
                if (++_steps > (long)StepsPerChain * limits.MaxChain)
                    throw new StructureException(StructureFault.TooLong, at, "lists of waiters: too many elements");
                if (kernel.ReadU64(unchecked(at + 8), layout.Node) != before)
                    return null;
                if (IsWaiter(at, layout))
                {
                    nodes.Add(at);
                    continue;
                }

                if (head is not null)
                    return null;
                head = at;
            }

            if (head is not { } found || kernel.ReadU64(unchecked(first + 8), layout.Node) != before)
                return null;
            foreach (ulong node in nodes)
                _heads[(layout, node)] = found;
            return found;
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException)
        {
            // Not a waiter after all: the word that looked like one is something else.
            return null;
        }
    }

    private bool IsWaiter(ulong node, Layout layout)
    {
        ulong waiter = Walk.ContainerOf(kernel, node, layout.Node);
        if (layout.Function is { } function)
            return kernel.Space.TryReadUInt64(new VirtualAddress(unchecked(waiter + kernel.Offset(function))), out ulong wakes, out _) && kernel.Image.IsText(wakes);
        return kernel.Space.TryReadUInt64(new VirtualAddress(unchecked(waiter + kernel.Offset(layout.Task))), out ulong named, out _) && IsOnStackOf(named, node);
    }

    /// <summary>struct rt_mutex_waiter names its lock.</summary>
    private ulong? FindRtMutex(ulong task, ulong mention)
    {
        if (!kernel.HasMember("rt_mutex_waiter.lock"))
            return null;
        try
        {
            ulong waiter = Walk.ContainerOf(kernel, mention, "rt_mutex_waiter.task"), rtMutex = kernel.Read(waiter, "rt_mutex_waiter.lock");
            return rtMutex != 0 && Locks.RtMutex(kernel, rtMutex, LockKind.RtMutex, rtMutex, limits).Waiters.Items.Contains(task) ? rtMutex : null;
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException)
        {
            return null;
        }
    }

    /// <summary>A writer that waits for the readers to leave has no record of its own: the lock names it (percpu_rw_semaphore.writer), and the lock's address is in a register that the frames
    /// below have saved on the stack.</summary>
    private LockWait? FindWriter(TaskBacktrace backtrace, byte[] stack, string function)
    {
        if (!kernel.HasMember("percpu_rw_semaphore.writer.task"))
            return null;
        for (int i = 0; i + 8 <= stack.Length; i += 8)
        {
            ulong candidate = BinaryPrimitives.ReadUInt64LittleEndian(stack.AsSpan(i));
            ulong writer = unchecked(candidate + kernel.Offset("percpu_rw_semaphore.writer.task"));
            if (new VirtualAddress(candidate).IsKernelHalf && kernel.Space.TryReadUInt64(new VirtualAddress(writer), out ulong named, out _) && named == backtrace.Task
                && kernel.Space.TryReadUInt32(new VirtualAddress(unchecked(candidate + kernel.Offset("percpu_rw_semaphore.block.counter"))), out uint block, out _) && block <= 1)
                return new LockWait(backtrace.Task, LockKind.PercpuRwSemaphore, candidate, unchecked(backtrace.StackPointer + (ulong)i), function, true);
        }

        return null;
    }

    private byte[] ReadStack(TaskBacktrace backtrace)
    {
        ulong top = Stacks.Of(kernel, null, backtrace.Task) is [var own, ..] ? own.End : 0;
        if (top <= backtrace.StackPointer || top - backtrace.StackPointer > MaxStackBytes)
            throw new KernelShapeException($"the stack pointer 0x{backtrace.StackPointer:x} of the task at 0x{backtrace.Task:x} is not on its stack");
        byte[] stack = new byte[(int)(top - backtrace.StackPointer) & ~7];
        kernel.Space.Read(new VirtualAddress(backtrace.StackPointer), stack, "task stack");
        return stack;
    }

    private static IEnumerable<ulong> Mentions(byte[] stack, TaskBacktrace backtrace)
    {
        for (int i = 0; i + 8 <= stack.Length; i += 8)
        {
            if (BinaryPrimitives.ReadUInt64LittleEndian(stack.AsSpan(i)) == backtrace.Task)
                yield return unchecked(backtrace.StackPointer + (ulong)i);
        }
    }

    private bool IsOnStackOf(ulong task, ulong address)
    {
        if (!new VirtualAddress(task).IsKernelHalf || !kernel.Space.TryReadUInt64(new VirtualAddress(unchecked(task + kernel.Offset("task_struct.stack"))), out ulong stack, out _))
            return false;
        ulong size = kernel.Image.Types.TrySizeOf("thread_union", out int bytes) ? (ulong)bytes : 16384;
        return unchecked(address - stack) < size;
    }
}
