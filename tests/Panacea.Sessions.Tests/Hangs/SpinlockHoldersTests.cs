using Panacea.Diagnosis;
using Panacea.Kernel;
using Panacea.Sessions.Hangs;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Sessions.Tests.Hangs;

/// <summary>A spinlock is given back only where it is proved that nobody holds it.</summary>
public sealed class SpinlockHoldersTests : IDisposable
{
    private const ulong On = 0x246, Off = 0x46;

    private readonly ArmedGuest _guest = new();
    private readonly ulong _lock;

    public SpinlockHoldersTests()
    {
        _lock = Kernel.Allocate(8);
        Kernel.WriteU64(_lock, 1);
    }

    private SyntheticKernel Kernel => _guest.Guest;

    private LinuxKernel Live => _guest.Armed.Image.KernelOver(Kernel.Memory);

    public void Dispose() => _guest.Dispose();

    /// <summary>Whoever holds one has added to the count, or has interrupts off.</summary>
    [Theory]
    [InlineData(0u, On, true)]
    [InlineData(1u, On, false)]
    [InlineData(0x101u, On, false)]
    [InlineData(0u, Off, false)]
    public void Another_CPU_holds_nothing_where_its_count_and_its_flags_say_so(uint count, ulong flags, bool proves)
    {
        Kernel.Run(Kernel.AddTask(600, "other"), 1, count);
        SpinlockHolders holders = Look(flags);
        Assert.Equal(proves, holders.IsProved);
        CrashEvidence waiter = Waiter(1);
        Assert.Equal(proves ? _lock : null, holders.Of(waiter, [waiter]).OrphanSpinlock);
    }

    /// <summary>What was so a moment ago says nothing of a lock that may have been taken since.</summary>
    [Fact]
    public void It_is_the_last_moment_that_counts()
    {
        SyntheticTask other = Kernel.AddTask(600, "other");
        Kernel.Run(other, 1);
        SpinlockHolders holders = Look(On);
        Assert.True(holders.IsProved);
        Kernel.Run(other, 1, 1);
        holders.Look(Live, [Vcpu(1, On)], [0]);
        Assert.False(holders.IsProved);
        Kernel.Run(other, 1);
        holders.Look(Live, [Vcpu(1, On)], [0]);
        Assert.True(holders.IsProved);
        holders.Forget();
        Assert.False(holders.IsProved);
    }

    [Fact]
    public void A_CPU_that_is_not_seen_proves_nothing()
    {
        Kernel.Run(Kernel.AddTask(600, "other"), 1);
        var holders = new SpinlockHolders(2);
        holders.Look(Live, [], [0]);
        Assert.False(holders.IsProved);
    }

    /// <summary>The waiter may hold it itself, and so may another that hangs and waits for something else.</summary>
    [Fact]
    public void Those_that_hang_have_to_wait_for_it_and_hold_nothing_else()
    {
        Kernel.Run(Kernel.AddTask(600, "other"), 1);
        SpinlockHolders holders = Look(On);
        CrashEvidence waiter = Waiter(1), holding = Waiter(2), free = Waiter(1, word: 0);
        Assert.Equal(_lock, holders.Of(waiter, [waiter, waiter]).OrphanSpinlock);
        Assert.Null(holders.Of(holding, [holding]).OrphanSpinlock);
        Assert.Null(holders.Of(waiter, [waiter, holding]).OrphanSpinlock);
        Assert.Null(holders.Of(free, [free]).OrphanSpinlock);
    }

    /// <summary>A mistake has put into it what nobody puts there: where those who wait leave nothing in it, nobody would ever take it. Where they do, it may be theirs.</summary>
    [Theory]
    [InlineData("tests", true)]
    [InlineData("spin", false)]
    public void What_nobody_has_put_into_it_is_in_nobodys_way(string loop, bool isOrphan)
    {
        Kernel.Run(Kernel.AddTask(600, "other"), 1);
        SpinlockHolders holders = Look(On);
        CrashEvidence waiter = Waiter(1, word: 0x241f_cb00, loop);
        Assert.Equal(isOrphan ? _lock : null, holders.Of(waiter, [waiter]).OrphanSpinlock);
    }

    /// <summary>What a waiter holds beside need not be told where its word says that nobody holds it; another CPU that may be in it has to be seen without it all the same.</summary>
    [Theory]
    [InlineData("tests", 0x241f_cb00u, 0u, true)]
    [InlineData("tests", 0x241f_cb00u, 1u, false)]
    [InlineData("tests", 0x241f_cb01u, 0u, false)]
    [InlineData("spin", 0x241f_cb00u, 0u, false)]
    public void A_lock_that_is_not_taken_by_its_own_word(string loop, uint word, uint othersCount, bool isOrphan)
    {
        Kernel.Run(Kernel.AddTask(600, "other"), 1, othersCount);
        SpinlockHolders holders = Look(On);
        CrashEvidence waiter = Waiter(3, word, loop);
        Assert.Equal(isOrphan ? _lock : null, holders.Of(waiter, [waiter]).OrphanSpinlock);
    }

    /// <summary>What a softirq or an interrupt adds to the count is none of a lock's.</summary>
    [Fact]
    public void A_CPU_with_bottom_halves_off_holds_nothing_by_that()
    {
        Kernel.Run(Kernel.AddTask(600, "other"), 1, 0x100);
        Assert.True(Look(On).IsProved);
    }

    /// <summary>Printing takes long, and is left to it; but waiting within it for what nobody can hold takes for ever.</summary>
    [Theory]
    [InlineData(false, true)]
    [InlineData(true, false)]
    public void Who_prints_is_left_alone_as_long_as_it_can_end(bool isOrphan, bool isMeant)
    {
        CrashEvidence waiter = Waiter(1);
        CrashEvidence printing = waiter with
        {
            Stack = waiter.Stack with { Frames = [.. waiter.Stack.Frames.Select((f, i) => i == 1 ? f with { Ip = Kernel["oops_begin"] + 1 } : f)] },
            Hang = waiter.Hang! with { OrphanSpinlock = isOrphan ? _lock : null },
        };
        Assert.False(StopWindow.IsMeant(waiter));
        Assert.Equal(isMeant, StopWindow.IsMeant(printing));
    }

    [Fact]
    public void Who_waits_for_what_nobody_holds_is_helped_first_and_who_only_waits_for_an_answer_last()
    {
        CrashEvidence waiter = Waiter(1);
        CrashEvidence Innermost(string function) => waiter with { Stack = waiter.Stack with { Frames = [.. waiter.Stack.Frames.Select((f, i) => i == 0 ? f with { Ip = Kernel[function] + 1 } : f)] } };
        int[] ranks =
        [
            StopWindow.Rank(waiter with { Hang = waiter.Hang! with { OrphanSpinlock = _lock } }), StopWindow.Rank(Innermost("ct_int") with { Stack = waiter.Stack with { Frames = [waiter.Stack.Frames[^1]] } }),
            StopWindow.Rank(waiter), StopWindow.Rank(Innermost("smp_call_function_ct")),
        ];
        Assert.Equal(ranks.Order(), ranks);
        Assert.Equal(4, ranks.Distinct().Count());
    }

    private SpinlockHolders Look(ulong flags)
    {
        var holders = new SpinlockHolders(2);
        holders.Look(Live, [Vcpu(0, Off), Vcpu(1, flags)], [0]);
        return holders;
    }

    private VcpuRegisters Vcpu(int cpu, ulong flags) => Kernel.Vcpu(cpu, Kernel["vfs_write"], default, flags);

    /// <summary>CPU 0 in the loop that waits for the lock.</summary>
    private CrashEvidence Waiter(uint preempt, uint word = 1, string loop = "spin")
    {
        SyntheticCrash crash = Kernel.Crash(new CrashSpec { Function = "ct_locked", Preempt = preempt });
        GprFile gpr = crash.Vcpu.Gpr;
        ulong sp = crash.FaultSp - 16;
        Kernel.WriteU64(sp + 8, Kernel.Text["ct_locked:back:_raw_spin_lock"]);
        Kernel.WriteU64(sp, Kernel.Text["_raw_spin_lock:back:native_queued_spin_lock_slowpath"]);
        Kernel.WriteU64(_lock, word);
        (gpr[Gpr.Rsp], gpr[Gpr.Rdi], gpr[Gpr.Rbx]) = (sp, _lock, _lock);
        var hang = new Hang(CrashKind.HardLockup, TimeSpan.FromSeconds(2), ["seen"]);
        CrashEvidence evidence = _guest.Armed.Capture.CaptureHang(Kernel.Memory, Kernel.Vcpu(0, Kernel.Text[$"native_queued_spin_lock_slowpath:{loop}"], gpr, Off), hang, []);

        // What is read of the lock is as of now.
        Assert.True(evidence.Kernel.Space.TryReadUInt32(new VirtualAddress(_lock), out _, out _));
        return evidence;
    }
}
