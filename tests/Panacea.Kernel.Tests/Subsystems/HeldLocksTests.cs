using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Tests.Image;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests.Subsystems;

/// <summary>Locks found by their owners.</summary>
public sealed class HeldLocksTests
{
    private static readonly TargetLimits Few = TargetLimits.Default with { MaxChain = 100, MaxTasks = 100 };

    private static HeldLocks Search(KernelGuest g) => new(g.Kernel, Tasks.Enumerate(g.Kernel, Few), Few);

    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void A_mutex_and_an_rwsem_that_name_a_task_are_found_in_an_object_with_their_waiters(KernelShape shape)
    {
        SyntheticTask owner = null!, waiter = null!;
        ulong area = 0;
        using var g = new KernelGuest(new SyntheticKernelOptions { Shape = shape }, k =>
        {
            (owner, waiter) = (k.AddTask(700, "owner"), k.AddTask(701, "waiter"));
            area = k.Allocate(512);
            k.HoldMutex(area + 64, owner.Address, waiter);
            HoldRwsem(k, area + 256, count: 1, owner.Address);
        });
        List<HeldLock> held = Search(g).In(area, 512);
        Assert.Equal([(LockKind.Mutex, area + 64), (LockKind.RwSemaphore, area + 256)], held.Select(h => (h.Lock.Kind, h.Lock.Address)));
        Assert.All(held, h => Assert.Equal(owner.Address, h.Lock.Owner));
        Assert.Equal([waiter.Address], held[0].Lock.Waiters.Items);
        Assert.Equal((true, false), (held[0].IsSure, held[1].IsSure));
    }

    [Fact]
    public void A_mutex_of_the_kernels_data_is_found_by_name()
    {
        SyntheticTask owner = null!;
        using var g = new KernelGuest(null, k =>
        {
            owner = k.AddTask(700, "owner");
            k.HoldMutex(k.Mutex(0), owner.Address);
        });
        HeldLock held = Assert.Single(Search(g).InData([]));
        Assert.Equal((g.Guest.Mutex(0), "ct_mutexes"), (held.Lock.Address, held.Symbol?.Name));
    }

    /// <summary>A word with a task's address is no lock by itself: not in a list, a pointer, a waiter's record.</summary>
    [Theory]
    [InlineData("alone")]
    [InlineData("list broken")]
    [InlineData("lock word")]
    [InlineData("nobody's")]
    [InlineData("unmapped list")]
    [InlineData("flag without waiters")]
    [InlineData("waiters without flag")]
    [InlineData("released by its last reader")]
    public void What_only_looks_like_a_lock_is_none(string what)
    {
        ulong area = 0;
        using var g = new KernelGuest(null, k =>
        {
            SyntheticTask owner = k.AddTask(700, "owner");
            area = k.Allocate(256);
            ulong mutex = area + 64;
            k.HoldMutex(mutex, owner.Address);
            ulong list = mutex + k.Types.Offset("mutex.wait_list");
            switch (what)
            {
                case "alone":
                    k.Write(list, new byte[16]);
                    break;
                case "list broken":
                    k.WriteU64(list + 8, area);
                    break;
                case "lock word":
                    k.Put(mutex, "mutex.wait_lock", 0xdead);
                    break;
                case "nobody's":
                    k.Put(mutex, "mutex.owner.counter", owner.Address + 64);
                    break;
                case "flag without waiters":
                    k.Put(mutex, "mutex.owner.counter", owner.Address | 1);
                    break;
                case "waiters without flag":
                    k.HoldMutex(mutex, owner.Address, k.AddTask(701, "waiter"));
                    k.Put(mutex, "mutex.owner.counter", owner.Address);
                    break;
                case "released by its last reader":
                    k.Put(mutex, "mutex.owner.counter", 0);
                    HoldRwsem(k, mutex, 0, owner.Address | 3);
                    break;
                default:
                    k.WriteU64(list, 0xffff_9fff_0000_0000);
                    k.WriteU64(list + 8, 0xffff_9fff_0000_0000);
                    break;
            }
        });
        Assert.Empty(Search(g).In(area, 256));
    }

    [Theory]
    [InlineData(0x301UL, 0UL, true, false)]
    [InlineData(0x300UL, 1UL, true, true)]
    [InlineData(0x0UL, 1UL, false, false)]
    [InlineData(0x20UL, 0UL, false, false)]
    public void An_rwsem_is_held_as_its_count_and_its_owner_agree(ulong count, ulong ownerFlags, bool found, bool reader)
    {
        ulong rwsem = 0;
        using var g = new KernelGuest(null, k =>
        {
            rwsem = k.Allocate(64);
            HoldRwsem(k, rwsem, count, k.AddTask(700, "owner").Address | ownerFlags);
        });
        HeldLock? held = Search(g).In(rwsem, 64).FirstOrDefault(h => h.Lock.Kind == LockKind.RwSemaphore);
        Assert.Equal((found, reader), (held is not null, held?.Lock.OwnerIsHint ?? false));
    }

    [Fact]
    public void An_area_with_holes_gives_what_is_there()
    {
        ulong mutex = 0;
        using var g = new KernelGuest(null, k =>
        {
            mutex = k.Allocate(64);
            k.HoldMutex(mutex, k.AddTask(700, "owner").Address);
        });
        Assert.Equal(mutex, Assert.Single(Search(g).In(mutex - (mutex % 4096) - (1 << 20), 3 << 20)).Lock.Address);
    }

    private static void HoldRwsem(SyntheticKernel k, ulong rwsem, ulong count, ulong owner)
    {
        k.Put(rwsem, "rw_semaphore.count.counter", count);
        k.Put(rwsem, "rw_semaphore.owner.counter", owner);
        k.Ring([rwsem + k.Types.Offset("rw_semaphore.wait_list")]);
    }
}
