using System.Buffers.Binary;
using Panacea.Diagnosis;
using Panacea.Kernel;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>A task that is to leave off waiting for a mutex: its record is taken off the lock's queue, as the kernel itself does where a signal ends the wait (kernel/locking/mutex.c,
/// __mutex_remove_waiter). The record is a local variable of a function that is abandoned: left in the queue it would be followed into memory that is something else by then.</summary>
internal static class MutexWait
{
    /// <summary>Waiters, handoff, pickup: the flags in the owner's word.</summary>
    private const ulong Flags = 7;

    /// <summary>What has to be written so that nobody thinks any more that the task waits.</summary>
    /// <param name="kernel">The kernel over a guest that stands still.</param>
    /// <param name="wait">What the task waits for.</param>
    /// <param name="writes">The writes.</param>
    /// <param name="whyNot">Why it can't be done.</param>
    public static bool TryLeave(LinuxKernel kernel, LockWait wait, out IReadOnlyList<PlannedWrite> writes, out string whyNot)
    {
        (writes, whyNot) = ([], "");
        if (wait.Kind != LockKind.Mutex)
        {
            whyNot = $"the task waits for a {wait.Kind.ToString().ToLowerInvariant()}, whose queue Panacea does not know to leave";
            return false;
        }

        try
        {
            ulong node = unchecked(wait.Waiter - kernel.Offset("mutex_waiter.task") + kernel.Offset("mutex_waiter.list"));
            ulong next = kernel.ReadU64(node, "mutex_waiter.list.next"), previous = kernel.ReadU64(node + 8, "mutex_waiter.list.prev");
            if (kernel.ReadU64(next + 8, "mutex_waiter.list.prev") != node || kernel.ReadU64(previous, "mutex_waiter.list.next") != node)
            {
                whyNot = "the task is not in the mutex's queue any more, or the queue is broken";
                return false;
            }

            if (kernel.Space.ReadUInt32(new VirtualAddress(unchecked(wait.Lock + kernel.Offset("mutex.wait_lock"))), "mutex.wait_lock") != 0)
            {
                whyNot = "another CPU is changing the mutex's queue at this moment";
                return false;
            }

            var list = new List<PlannedWrite> { Word(next + 8, previous, "mutex queue: without the task"), Word(previous, next, "mutex queue: without the task") };
            ulong owner = kernel.ReadU64(unchecked(wait.Lock + kernel.Offset("mutex.owner")), "mutex.owner");
            if (next == previous)
                list.Add(Word(unchecked(wait.Lock + kernel.Offset("mutex.owner")), owner & ~Flags, "mutex: nobody waits for it"));
            writes = list;
            return true;
        }
        catch (Exception e) when (e is KernelShapeException or GuestMemoryException or OverflowException)
        {
            whyNot = $"the mutex's queue can't be read: {e.Message}";
            return false;
        }
    }

    /// <summary>The write after which the mutex has no owner, as after mutex_unlock() (kernel/locking/mutex.c, __mutex_unlock_slowpath).</summary>
    public static PlannedWrite Release(LinuxKernel kernel, ulong mutex)
    {
        ulong at = unchecked(mutex + kernel.Offset("mutex.owner"));
        return Word(at, kernel.ReadU64(at, "mutex.owner") & Flags & ~6UL, "mutex: nobody holds it");
    }

    private static PlannedWrite Word(ulong address, ulong value, string why)
    {
        byte[] bytes = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        return new PlannedWrite(new VirtualAddress(address), bytes, why);
    }
}
