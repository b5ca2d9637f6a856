using Panacea.Kernel.Structures;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>Waits whose end has come without that anybody has woken the waiter. A wake-up without a reason does no harm: whoever sleeps looks for himself what he has been woken for.</summary>
public static class LostWakes
{
    /// <summary>WQ_FLAG_WOKEN (include/linux/wait.h): what somebody who waits for a folio looks at instead of the folio (mm/filemap.c, folio_wait_bit_common; since 5.9, commit 2a9127fcf229, "mm: rewrite wait_on_page_bit_common() logic").</summary>
    private const uint Woken = 2;

    /// <summary>What a task waits for is there: the lock is free, the completion is complete, the bit is clear.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="wait">What it waits for.</param>
    /// <param name="limits">Ceilings.</param>
    /// <returns>False also where that can't be told.</returns>
    /// <exception cref="GuestMemoryException">Something can't be read.</exception>
    /// <exception cref="KernelShapeException">The kernel lacks a type.</exception>
    public static bool HasCome(LinuxKernel kernel, LockWait wait, TargetLimits limits) => wait.Kind switch
    {
        LockKind.Mutex => Locks.Read(kernel, wait.Kind, wait.Lock, limits) is { IsHeld: false },

        // Readers are let in by whoever wakes them (rwsem_mark_wake), writers by themselves.
        LockKind.RwSemaphore => wait.IsExclusive && Locks.Read(kernel, wait.Kind, wait.Lock, limits) is { IsHeld: false },
        LockKind.Completion => kernel.ReadU32(wait.Lock, "completion.done") != 0,
        LockKind.WaitQueue => BitOf(kernel, wait) is (var word, var bit, _) && (kernel.ReadU64(word, "the word of a bit that is waited for") >> bit & 1) == 0,
        _ => false,
    };

    /// <summary>What has to be written for a waiter to see that it was woken; null where it looks at what it waits for.</summary>
    /// <inheritdoc cref="HasCome" path="/exception"/>
    public static (ulong Address, uint Value)? Sign(LinuxKernel kernel, LockWait wait)
    {
        if (wait.Kind != LockKind.WaitQueue || BitOf(kernel, wait) is not (_, _, true))
            return null;
        ulong entry = Walk.ContainerOf(kernel, wait.Waiter, "wait_queue_entry.private");
        return (unchecked(entry + kernel.Offset("wait_queue_entry.flags")), kernel.ReadU32(entry, "wait_queue_entry.flags") | Woken);
    }

    /// <summary>The bit that is waited for to be cleared, and whether it is a folio's.</summary>
    private static (ulong Word, int Bit, bool IsFolio)? BitOf(LinuxKernel kernel, LockWait wait)
    {
        ulong entry = Walk.ContainerOf(kernel, wait.Waiter, "wait_queue_entry.private");
        switch (kernel.Image.Symbolize(kernel.Read(entry, "wait_queue_entry.func")))
        {
            case { Offset: 0, Name: "wake_bit_function" }:
                ulong waiter = Walk.ContainerOf(kernel, entry, "wait_bit_queue_entry.wq_entry");
                int bit = kernel.ReadS32(waiter, "wait_bit_queue_entry.key.bit_nr");
                return bit is >= 0 and < 64 ? (kernel.Read(waiter, "wait_bit_queue_entry.key.flags"), bit, false) : null;
            case { Offset: 0, Name: "wake_page_function" }:
                ulong page = Walk.ContainerOf(kernel, entry, "wait_page_queue.wait");

                // A folio since 5.16 (commit 4c6355b25e8b, "mm/filemap: Add folio_wait_bit()"), a page before; both begin with their flags.
                int number = kernel.ReadS32(page, "wait_page_queue.bit_nr");
                return number is >= 0 and < 64 ? (kernel.ReadFirst(page, "wait_page_queue.folio", "wait_page_queue.page"), number, true) : null;
            default:
                return null;
        }
    }
}
