using System.Buffers.Binary;
using Panacea.Diagnosis;
using Panacea.Kernel.Unwind;
using Panacea.Repair.Strategies;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Repair.Tests.Strategies;

public sealed class RetryStrategyTests
{
    /// <summary>Offsets in the memory that the functions read what they crash of from: a pointer, a word that they write, a number, a lock, and what the pointer leads to.</summary>
    private const ulong Pointer = 0, Word = 16, Number = 24, Lock = 64, Target = 128;

    /// <summary>RDI as of the crash, where the functions that do not change it still have their argument.</summary>
    private const ulong Kept = 0x77;

    [Fact]
    public void What_made_it_crash_is_gone_and_the_call_is_made_again()
    {
        using CrashedGuest g = Crashed("ct_again", m => m[Pointer] = m.Base + Target);
        RepairPlan plan = new RetryStrategy().Evaluate(g.Evidence).Plan!;
        PtRegs next = PtRegs.Read(plan.Writes[^1].Bytes.Span);

        // As if its caller had just called it: the return address lies where it lay.
        Assert.Equal((g.Guest["ct_again"], g.Crash.ReturnSp - 8, g.Crash.CallerRbx), (next.Ip, next.Sp, next.Gpr[Gpr.Rbx]));
        Assert.Equal(g.Crash.ReturnAddress, g.Guest.ReadU64(next.Sp));
        Assert.Equal(g.Crash.CallerRbx, next.Gpr[Gpr.Rdi]);
        Assert.Equal((RepairKind.Retry, Confidence.High, 0, 0), (plan.Kind, plan.Confidence, plan.Lost.Count, plan.Continuations.Count));
        Assert.StartsWith("ct_again is called again, for ct_outer+", plan.Explanation, StringComparison.Ordinal);
    }

    [Fact]
    public void What_made_it_crash_is_still_there()
    {
        using CrashedGuest g = Crashed("ct_again", m => m[Pointer] = 0);
        StrategyVerdict verdict = new RetryStrategy().Evaluate(g.Evidence);
        Assert.Null(verdict.Plan);
        Assert.Matches(@"^ct_again, called again over a copy of memory, reads 0x8 at ct_again\+0x\w+/0x\w+: what made it crash is still there$", verdict.WhyNot);
    }

    /// <summary>What the crashed call had stored must be there, whatever it is: else it would be done twice.</summary>
    [Theory]
    [InlineData("ct_again_counted", 3UL, false)]
    [InlineData("ct_again_marked", 7UL, true)]
    [InlineData("ct_again_marked", 6UL, false)]
    public void Nothing_is_done_twice(string function, ulong word, bool again)
    {
        using CrashedGuest g = Crashed(function, m => (m[Pointer], m[Word]) = (m.Base + Target, word));
        StrategyVerdict verdict = new RetryStrategy().Evaluate(g.Evidence);
        Assert.Equal(again, verdict.Plan is not null);
        if (!again)
            Assert.Matches($@"^{function} can't be called a second time: at {function}\+0x\w+/0x\w+ it writes to 0x{g.Evidence.Crash.Gpr[Gpr.R12] + Word:x} what is not there yet, and may have written there before it crashed$", verdict.WhyNot);
    }

    /// <summary>A lock that it holds is given back before it is called again; one that nobody could name is the one that it takes then.</summary>
    [Theory]
    [InlineData("ct_again_locked", 0UL, "High")]
    [InlineData("ct_again_unnamed", 0UL, "Medium")]
    public void Its_lock_is_given_back_first(string function, ulong number, string confidence)
    {
        using CrashedGuest g = Crashed(function, m => (m[Pointer], m[Lock], m[Number]) = (m.Base + Target, 1, number), preempt: 1);
        RepairPlan plan = new RetryStrategy().Evaluate(g.Evidence).Plan!;
        ulong held = g.Evidence.Crash.Gpr[Gpr.R13];
        Assert.Equal(confidence, plan.Confidence.ToString());
        PtRegs next = PtRegs.Read(plan.Writes[^1].Bytes.Span);
        Assert.Equal((g.Guest["_raw_spin_unlock"], held, g.Crash.ReturnSp - 16), (next.Ip, next.Gpr[Gpr.Rdi], next.Sp));
        PlannedWrite slot = Assert.Single(plan.Writes, w => w.Why == "return address");
        Assert.Equal(g.Guest[function], BinaryPrimitives.ReadUInt64LittleEndian(slot.Bytes.Span));
        PlannedContinuation step = Assert.Single(plan.Continuations);
        Assert.Equal((g.Guest[function], g.Crash.ReturnSp - 8), (step.Address, step.StackPointer));
        Assert.Equal(function == "ct_again_unnamed", plan.Risks.Any(r => r.Contains("takes it, and somebody holds it", StringComparison.Ordinal)));
    }

    /// <summary>The lock that it takes when it is called again is free: which one it had taken before can't be told.</summary>
    [Fact]
    public void A_lock_that_cant_be_named_stays_a_reason_not_to()
    {
        using CrashedGuest g = Crashed("ct_again_unnamed", m => (m[Pointer], m[Number]) = (m.Base + Target, 1), preempt: 1);
        Assert.Contains("that is free: which it has taken before can't be told", new RetryStrategy().Evaluate(g.Evidence).WhyNot, StringComparison.Ordinal);
    }

    /// <summary>One that it has taken on some ways only: on the way that it goes now it takes it, so it had it, or does not come by it, and nobody knows.</summary>
    [Theory]
    [InlineData(1UL, 1UL, true, true)]
    [InlineData(1UL, 0UL, true, false)]
    [InlineData(0UL, 1UL, false, false)]
    public void A_lock_that_it_may_hold_is_held_if_the_same_way_takes_it(ulong takes, ulong held, bool again, bool givesBack)
    {
        using CrashedGuest g = Crashed("ct_again_maybe", m => (m[Pointer], m[Lock], m[Number]) = (m.Base + Target, held, takes), preempt: (uint)held);
        StrategyVerdict verdict = new RetryStrategy().Evaluate(g.Evidence);
        Assert.Equal(again, verdict.Plan is not null);
        Assert.Equal(givesBack, verdict.Plan?.Continuations.Count > 0);
    }

    /// <summary>Whoever began it further out ends it: the call is made again under it, as it was made under it.</summary>
    [Fact]
    public void A_journal_handle_that_is_open_stays_open()
    {
        using CrashedGuest g = Crashed("ct_again", m => m[Pointer] = m.Base + Target, prepare: (kernel, task) => kernel.Put(task.Address, "task_struct.journal_info", kernel.Allocate(64)));
        Assert.NotNull(new RetryStrategy().Evaluate(g.Evidence).Plan);
    }

    /// <summary>It had taken its work off the list before it crashed: called again it finds none, and comes back at once.</summary>
    [Fact]
    public void Work_that_was_taken_already_is_not_lost_by_calling_again()
    {
        using CrashedGuest g = Crashed("ct_again_once", m => (m[Pointer], m[Word]) = (m.Base + Target, 0));
        Assert.Contains("comes back without coming by the place where it crashed, so that what it had to do may be lost", new RetryStrategy().Evaluate(g.Evidence).WhyNot, StringComparison.Ordinal);
    }

    /// <summary>A bug that stays is not met for ever.</summary>
    [Fact]
    public void Not_more_than_twice_at_one_place()
    {
        using CrashedGuest g = Crashed("ct_again", m => m[Pointer] = m.Base + Target);
        Assert.NotNull(new RetryStrategy().Evaluate(g.Evidence with { EarlierRepairs = 1 }).Plan);
        Assert.Equal("the guest has come back to this place 2 times", new RetryStrategy().Evaluate(g.Evidence with { EarlierRepairs = 2 }).WhyNot);
    }

    /// <summary>In an interrupt as elsewhere: the handler is called again, whatever register its dispatch point called it through.</summary>
    [Fact]
    public void A_handler_is_called_again_for_its_dispatch_point()
    {
        using CrashedGuest g = Crashed("ct_again_bare", m => m[Pointer] = m.Base + Target, preempt: 0x1_0000, chain: ["do_syscall_64", "__handle_irq_event_percpu"]);
        StrategyVerdict verdict = new RetryStrategy().Evaluate(g.Evidence);
        Assert.Null(verdict.WhyNot);
        RepairPlan plan = verdict.Plan!;
        PtRegs next = PtRegs.Read(plan.Writes[^1].Bytes.Span);
        Assert.Equal((g.Guest["ct_again_bare"], g.Crash.ReturnSp - 8, false), (next.Ip, next.Sp, next.InterruptsEnabled));
    }

    /// <summary>An argument that the code of the call does not tell is where the function has kept it; one that it has not kept nobody guesses.</summary>
    [Fact]
    public void An_argument_is_where_it_was_kept_or_is_not_known()
    {
        using CrashedGuest kept = Crashed("ct_again", m => m[Pointer] = m.Base + Target, preempt: 0x1_0000, chain: ["do_syscall_64", "__handle_irq_event_percpu"]);
        Assert.Equal(Kept, PtRegs.Read(new RetryStrategy().Evaluate(kept.Evidence).Plan!.Writes[^1].Bytes.Span).Gpr[Gpr.Rdi]);
        using CrashedGuest lost = Crashed("ct_again_lost", m => m[Pointer] = m.Base + Target, preempt: 0x1_0000, chain: ["do_syscall_64", "__handle_irq_event_percpu"]);
        Assert.Contains("needs rdi, which the code of the call does not tell", new RetryStrategy().Evaluate(lost.Evidence).WhyNot, StringComparison.Ordinal);
    }

    /// <summary>The rung stands behind those that put something right, and before those that lose something.</summary>
    [Fact]
    public void It_is_asked_before_anything_is_given_up()
    {
        using CrashedGuest g = Crashed("ct_again", m => m[Pointer] = m.Base + Target);
        Assert.Equal(RepairKind.Retry, Ladder.Choose(g.Evidence, (_, _) => null, out _)?.Kind);
    }

    private static CrashedGuest Crashed(string function, Action<Memory> fill, uint preempt = 0, string[]? chain = null, Action<SyntheticKernel, SyntheticTask>? prepare = null) => new(new CrashSpec
    {
        Function = function,
        Preempt = preempt,
        Chain = chain ?? new CrashSpec().Chain,
        Prepare = (kernel, task) =>
        {
            prepare?.Invoke(kernel, task);
            var memory = new Memory(kernel, kernel.Allocate(256));
            fill(memory);
            return new Dictionary<Gpr, ulong> { [Gpr.Rax] = 0, [Gpr.R12] = memory.Base, [Gpr.R13] = memory.Base + Lock, [Gpr.Rdi] = Kept };
        },
    });

    private sealed class Memory(SyntheticKernel kernel, ulong start)
    {
        public ulong Base => start;

        public ulong this[ulong offset]
        {
            set => kernel.WriteU64(start + offset, value);
        }
    }
}
