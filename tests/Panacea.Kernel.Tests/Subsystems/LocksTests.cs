using Panacea.Kernel.Code;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Tests.Image;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests.Subsystems;

public sealed class LocksTests
{
    private static readonly TargetLimits Few = TargetLimits.Default with { MaxChain = 100 };

    [Theory]
    [InlineData(0UL, false, 0UL, false)]
    [InlineData(0xffff_8880_0100_0000UL, true, 0xffff_8880_0100_0000UL, false)]
    [InlineData(0xffff_8880_0100_0001UL, true, 0xffff_8880_0100_0000UL, false)]
    [InlineData(0xffff_8880_0100_0005UL, true, 0xffff_8880_0100_0000UL, true)]
    [InlineData(1UL, false, 0UL, false)]
    public void A_mutex_keeps_flags_beside_its_owner(ulong word, bool held, ulong owner, bool handoff)
    {
        using var g = new KernelGuest();
        ulong mutex = g.Guest.Allocate(64);
        g.Guest.Put(mutex, "mutex.owner.counter", word);
        g.Guest.Ring([mutex + g.Guest.Types.Offset("mutex.wait_list")]);
        LockState state = Locks.Read(g.Kernel, LockKind.Mutex, mutex, Few);
        Assert.Equal((held, owner, handoff, 0), (state.IsHeld, state.Owner, state.IsHandoff, state.Waiters.Items.Count));
    }

    [Theory]
    [InlineData(0UL, 0UL, false, 0, true)]
    [InlineData(1UL, 0xffff_8880_0100_0000UL, true, 0, false)]
    [InlineData(0x302UL, 0xffff_8880_0100_0003UL, true, 3, true)]
    [InlineData(0x8000_0000_0000_0100UL, 0xffff_8880_0100_0001UL, true, 1, true)]
    public void An_rwsem_counts_readers_and_names_a_writer(ulong count, ulong owner, bool held, long readers, bool hint)
    {
        using var g = new KernelGuest();
        ulong rwsem = g.Guest.Allocate(64);
        g.Guest.Put(rwsem, "rw_semaphore.count.counter", count);
        g.Guest.Put(rwsem, "rw_semaphore.owner.counter", owner);
        g.Guest.Ring([rwsem + g.Guest.Types.Offset("rw_semaphore.wait_list")]);
        LockState state = Locks.Read(g.Kernel, LockKind.RwSemaphore, rwsem, Few);
        Assert.Equal((held, readers, hint, owner & ~7UL), (state.IsHeld, state.Readers, state.OwnerIsHint, state.Owner));
    }

    [Theory]
    [InlineData(0u, false, false, null, true)]
    [InlineData(1u, true, false, null, true)]
    [InlineData(0x101u, true, true, null, true)]
    [InlineData(0x0004_0001u, true, false, 0, true)]
    [InlineData(0x0008_0101u, true, true, 1, true)]
    [InlineData(0x000c_0001u, true, false, 2, false)]
    [InlineData(2u, true, false, null, false)]
    [InlineData(0xffff_ffffu, true, true, 16382, false)]
    public void A_spinlocks_word_says_who_queued_last(uint word, bool locked, bool pending, int? tail, bool plausible)
    {
        using var g = new KernelGuest();
        ulong spinlock = g.Guest.Allocate(4);
        g.Guest.Write(spinlock, BitConverter.GetBytes(word));
        SpinlockState state = Locks.Spinlock(g.Kernel, spinlock);
        Assert.Equal((locked, pending, tail, plausible), (state.IsLocked, state.IsPending, state.TailCpu, state.IsPlausible(2)));
    }

    [Theory]
    [InlineData(LockKind.Mutex)]
    [InlineData(LockKind.RwSemaphore)]
    [InlineData(LockKind.Semaphore)]
    [InlineData(LockKind.PercpuRwSemaphore)]
    [InlineData(LockKind.RtMutex)]
    [InlineData(LockKind.Completion)]
    [InlineData(LockKind.WaitQueue)]
    public void A_lock_of_rubbish_is_read_or_fails_typed(LockKind kind)
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        ulong at = k.Allocate(256);
        foreach (ulong rubbish in (ulong[])[0, ulong.MaxValue, 0x1000, at, at + 8, 0xdead_0000_0000_0100])
        {
            for (ulong i = 0; i < 256; i += 8)
                k.WriteU64(at + i, rubbish);
            Exception? e = Record.Exception(() => Assert.InRange(Locks.Read(g.Kernel, kind, at, Few).Waiters.Items.Count, 0, 100));
            Assert.True(e is null or GuestMemoryException or KernelShapeException, $"{rubbish:x}: {e}");
        }

        // A completion and a wait queue are nothing but their list; the others have words of their own.
        if (kind is LockKind.Completion or LockKind.WaitQueue)
            Assert.Contains("not mapped", Locks.Read(g.Kernel, kind, 0xffff_c900_0000_0000, Few).Waiters.Broken);
        else
            Assert.Throws<GuestMemoryException>(() => Locks.Read(g.Kernel, kind, 0xffff_c900_0000_0000, Few));
        Assert.Throws<KernelShapeException>(() => Locks.Read(g.Kernel, LockKind.Unknown, at, Few));
    }

    [Fact]
    public void A_cpu_that_spins_is_found_by_its_registers()
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        ulong spinlock = k.Allocate(64);
        k.Write(spinlock, 1, 0, 0, 0);
        GprFile spins = default, runs = default;
        spins[Gpr.Rbx] = spinlock;
        spins[Gpr.Rdi] = spinlock;
        spins[Gpr.R12] = k.PerCpu("qnodes", 1);
        spins[Gpr.R13] = 0xffff_c900_0000_0000;
        spins[Gpr.Rsp] = k.Kthread.StackTop - 0x200;
        runs[Gpr.Rsp] = k.Victim.StackTop - 0x200;
        k.WriteU64(spins[Gpr.Rsp], k["ct_sleeper:back:schedule"]);
        k.WriteU64(k.PerCpu("qnodes", 1), 1);
        k.Run(k.Kthread, 1, preemptCount: 1);
        k.Run(k.Victim, 0, preemptCount: 1);
        VcpuRegisters[] vcpus = [k.Vcpu(0, k["ct_int"], runs), k.Vcpu(1, k["native_queued_spin_lock_slowpath:spin"], spins)];
        var finder = new SpinningCpus(g.Kernel, Few, new CodeMap(g.Image));
        SpinningCpu found = Assert.Single(finder.Find(vcpus));
        Assert.Equal((1, k.Kthread.Address, spinlock, true, "ct_sleeper"), (found.Cpu, found.Task, found.Lock, found.IsSure, found.Caller?.Name));
        Assert.Equal([0], found.PossibleHolders);
        Assert.False(found.IsSelfDeadlock);

        // Nobody else has preemption off: the second count of its own is the lock that it holds already.
        k.Run(k.Victim, 0, preemptCount: 0);
        k.Run(k.Kthread, 1, preemptCount: 2);
        Assert.True(Assert.Single(finder.Find(vcpus)).IsSelfDeadlock);

        // A free lock, or nothing that looks like one.
        k.Write(spinlock, 0, 0, 0, 0);
        Assert.Empty(finder.Find(vcpus));
    }
}
