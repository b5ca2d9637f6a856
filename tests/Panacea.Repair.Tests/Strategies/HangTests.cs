using Panacea.Diagnosis;
using Panacea.Kernel.Subsystems;
using Panacea.Repair.Strategies;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Repair.Tests.Strategies;

/// <summary>A CPU that waits for a spinlock in vain is led out of the function that wanted it.</summary>
public sealed class HangTests : IDisposable
{
    private readonly CrashedGuest _guest;
    private ulong _lock;

    public HangTests()
    {
        _guest = new CrashedGuest(new CrashSpec
        {
            Function = "ct_locked",
            Preempt = 1,
            Prepare = (kernel, _) => new Dictionary<Gpr, ulong> { [Gpr.Rbx] = _lock = kernel.Allocate(8) },
        });
    }

    public void Dispose() => _guest.Dispose();

    /// <summary>A waiter that only tests the word is not in it; the first of several has set the pending byte.</summary>
    [Theory]
    [InlineData(0x1u, false)]
    [InlineData(0x101u, true)]
    public void It_leaves_the_lock_as_if_it_had_never_waited(uint word, bool clearsPending)
    {
        CrashEvidence evidence = Waits(word);
        Assert.Equal((CrashKind.HardLockup, "ct_locked"), (evidence.Kind, evidence.LocationOf(evidence.Faulty!)?.Name));
        StrategyVerdict verdict = new ErrorReturnStrategy().Evaluate(evidence);
        Assert.Null(verdict.WhyNot);
        RepairPlan plan = verdict.Plan!;
        Assert.Contains("ct_locked returns -EIO", plan.Explanation, StringComparison.Ordinal);
        Assert.Equal(clearsPending, plan.Writes.Any(w => w.Address.Value == _lock + 1 && w.Bytes.Span is [0]));

        // Preemption was disabled for the lock that it never got.
        PlannedWrite count = plan.Writes.Single(w => w.Address.Value == PerCpu.PreemptCountAddress(evidence.Kernel, 0));
        Assert.Equal([0, 0, 0, 0x80], count.Bytes.ToArray());
        Assert.Empty(plan.Continuations);
        Assert.Equal(_guest.Crash.ReturnAddress, plan.Registers.Single(r => r.Register == WritableRegister.Rip).Value);
        Assert.Equal(_guest.Crash.ReturnSp, plan.Registers.Single(r => r.Register == WritableRegister.Rsp).Value);
    }

    [Fact]
    public void A_queue_of_waiters_is_not_left()
    {
        CrashEvidence evidence = Waits(0x0004_0101);
        foreach (IRepairStrategy strategy in (IRepairStrategy[])[new ErrorReturnStrategy(), new UnwindStrategy(), new KillStrategy()])
            Assert.Contains("in a queue that can't be left", strategy.Evaluate(evidence).WhyNot, StringComparison.Ordinal);
    }

    /// <summary>A guest of a hypervisor waits by testing the word: others may stand in it, or it may be no lock at all.</summary>
    [Theory]
    [InlineData(0x0004_0101u)]
    [InlineData(0x1234_5678u)]
    public void A_wait_that_leaves_nothing_in_the_word_is_left_whatever_is_in_it(uint word)
    {
        StrategyVerdict verdict = new ErrorReturnStrategy().Evaluate(Waits(word, "tests"));
        Assert.Contains("ct_locked returns -EIO", verdict.Plan?.Explanation, StringComparison.Ordinal);
        Assert.DoesNotContain(verdict.Plan!.Writes, w => unchecked(w.Address.Value - _lock) < 8);
    }

    /// <summary>Whoever waits gets it, the first of a queue too.</summary>
    [Theory]
    [InlineData(0x1u, "spin", 1)]
    [InlineData(0x0004_0101u, "spin", 1)]
    [InlineData(0x241f_cb00u, "tests", 4)]
    public void A_spinlock_that_no_CPU_can_hold_is_given_back(uint word, string loop, int bytes)
    {
        CrashEvidence evidence = Waits(word, loop);
        evidence = evidence with { Hang = evidence.Hang! with { OrphanSpinlock = _lock } };
        RepairPlan plan = new HealStrategy().Evaluate(evidence).Plan!;
        PlannedWrite write = Assert.Single(plan.Writes);
        Assert.Equal((_lock, bytes, 0, 0), (write.Address.Value, write.Bytes.Length, plan.Registers.Count, plan.Lost.Count));
        Assert.Contains("which no CPU can hold, is released; CPU 0, which waits for it, gets it", plan.Explanation, StringComparison.Ordinal);
        Assert.Equal(RepairKind.Heal, Ladder.Choose(evidence, (_, _) => null, out _)?.Kind);
    }

    /// <summary>Waiting has added one to the count; what the functions of the stack do not explain may be a lock that nobody knows of.</summary>
    [Theory]
    [InlineData(1u, true)]
    [InlineData(2u, false)]
    [InlineData(0x101u, true)]
    public void Which_spinlocks_a_CPU_holds_is_told_where_its_count_agrees(uint count, bool isTold)
    {
        _guest.Guest.Run(_guest.Guest.Victim, 0, count);
        Assert.Equal(isTold, SpinlockAccount.TryFind(Waits(1), out IReadOnlyCollection<ulong> held, out string whyNot));
        Assert.Empty(held);
        Assert.Equal(isTold ? "" : "the functions on the stack have added 0x1 to the preempt count, which is 0x2", whyNot);
        Assert.False(SpinlockAccount.TryFind(_guest.Evidence, out _, out _));
    }

    [Fact]
    public void What_is_common_to_all_moments_is_what_loops()
    {
        CrashEvidence now = Waits(1);
        Panacea.Kernel.Unwind.Backtrace then = now.Stack with { Frames = [.. now.Stack.Frames.Skip(2).Select((f, i) => f with { Index = i, Ip = i == 0 ? f.Ip + 4 : f.Ip })] };
        Assert.Equal(2, Hang.Looping(now.Stack, [then]));
        then = then with { Frames = [.. then.Frames.Select((f, i) => i == 1 ? f with { Ip = f.Ip + 1 } : f)] };
        Assert.Equal(3, Hang.Looping(now.Stack, [then, now.Stack]));
        Assert.Equal(0, Hang.Looping(now.Stack, [now.Stack]));
    }

    private CrashEvidence Waits(uint word, string place = "spin")
    {
        SyntheticKernel kernel = _guest.Guest;
        kernel.WriteU64(_lock, word);
        GprFile gpr = _guest.Evidence.Crash.Gpr;
        ulong sp = gpr[Gpr.Rsp] - 16;
        kernel.WriteU64(sp + 8, kernel.Text["ct_locked:back:_raw_spin_lock"]);
        kernel.WriteU64(sp, kernel.Text["_raw_spin_lock:back:native_queued_spin_lock_slowpath"]);
        gpr[Gpr.Rsp] = sp;
        var hang = new Hang(CrashKind.HardLockup, TimeSpan.FromSeconds(2), ["seen"]);
        return new CrashCapture(_guest.Image, TargetLimits.Default).CaptureHang(kernel.Memory, kernel.Vcpu(0, kernel.Text[$"native_queued_spin_lock_slowpath:{place}"], gpr, 0x2), hang, []);
    }
}
