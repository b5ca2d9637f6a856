using Panacea.Kernel.Holdings;
using Panacea.Repair.Strategies;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Repair.Tests.Strategies;

/// <summary>What is held where several functions have taken and given back, one for the other.</summary>
public sealed class AbandonedFramesTests
{
    /// <summary>Whoever holds the lock now is somebody else.</summary>
    [Fact]
    public void A_lock_that_a_callee_has_given_back_for_good_is_not_given_back_a_second_time()
    {
        using CrashedGuest g = Holder("ct_gives");
        int faulty = g.Evidence.FaultyFrame!.Value;
        Assert.Equal([HoldingKind.Spinlock], AbandonedFrames.Of(g.Evidence, faulty).GivenBack);
        AbandonedFrames both = AbandonedFrames.Of(g.Evidence, faulty + 1);
        Assert.Empty(both.Locks);
        Assert.Empty(both.Doubts);
        Assert.Empty(both.GivenBack);
    }

    [Fact]
    public void A_lock_that_the_caller_would_give_back_a_second_time_is_missed()
    {
        using CrashedGuest g = Holder("ct_owes");
        int faulty = g.Evidence.FaultyFrame!.Value;
        Assert.Contains("ct_owes has given back a spinlock that it would take again for its caller", AbandonedFrames.Of(g.Evidence, faulty).Doubts);
    }

    /// <summary>An interrupt comes between the store that gives a lock back and the end of the section that it has opened: the word says that it is free, and the count does not yet.</summary>
    [Theory]
    [InlineData(0UL, 1, 0)]
    [InlineData(1UL, 0, 1)]
    public void A_lock_that_is_just_being_given_back_counts_until_it_is(ulong word, int count, int locks)
    {
        ulong held = 0;
        using var g = new CrashedGuest(new CrashSpec
        {
            Function = "ct_leaves", Inner = ["_raw_spin_unlock_irq"], Chain = ["do_syscall_64", "ksys_write", "vfs_write", "ct_more"], Preempt = 1,
            Prepare = (kernel, _) =>
            {
                held = kernel.Allocate(8);
                kernel.WriteU64(held, word);
                return new Dictionary<Gpr, ulong> { [Gpr.Rbx] = held };
            },
        });
        int index = g.Evidence.Stack.Frames.ToList().FindIndex(f => g.Evidence.LocationOf(f)?.Name == "ct_leaves");
        AbandonedFrames abandoned = AbandonedFrames.Of(g.Evidence, index);
        Assert.Equal((count, locks), (abandoned.PreemptCount, abandoned.Locks.Count));
        Assert.Empty(abandoned.Doubts);
    }

    /// <summary>Who has taken a lock has gone on in another function, and is on no stack any more.</summary>
    [Fact]
    public void What_a_function_has_taken_before_it_went_on_in_another_is_missed()
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_read", Chain = ["do_syscall_64", "ksys_write", "vfs_write", "ct_more", "ct_handed"] });
        int faulty = g.Evidence.FaultyFrame!.Value;
        Assert.Empty(AbandonedFrames.Of(g.Evidence, faulty).Doubts);
        Assert.Contains("ct_takes, which ct_handed has called, may have taken or given back something before it went on in ct_read", AbandonedFrames.Of(g.Evidence, faulty + 1).Doubts);
    }

    private static CrashedGuest Holder(string function) => new(new CrashSpec
    {
        Function = function, Chain = ["do_syscall_64", "ksys_write", "vfs_write", "ct_more", "ct_holder"],
        Prepare = (kernel, _) =>
        {
            ulong held = kernel.Allocate(8);
            kernel.WriteU64(held, 1);
            return new Dictionary<Gpr, ulong> { [Gpr.Rbx] = held };
        },
    });
}
