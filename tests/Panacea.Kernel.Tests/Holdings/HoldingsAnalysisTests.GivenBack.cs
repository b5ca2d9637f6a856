using Iced.Intel;
using Panacea.Kernel.Code;
using Panacea.Kernel.Holdings;
using Panacea.Kernel.Tests.Code;
using static Iced.Intel.AssemblerRegisters;

namespace Panacea.Kernel.Tests.Holdings;

/// <summary>Locks that are given back for a caller, one of several, or in another function.</summary>
public sealed partial class HoldingsAnalysisTests
{
    [Fact]
    public void A_lock_of_the_caller_that_is_taken_again_is_owed_until_then()
    {
        FrameHoldings without = At((c, l) =>
        {
            c.mov(rdi, rbp);
            Call(c, "_raw_spin_unlock");
            l.Mark(c, "without");
            Call(c, "work");
            c.mov(rdi, rbp);
            Call(c, "_raw_spin_lock");
            l.Mark(c, "end");
            c.ret();
        }, "without", out FrameHoldings end, "end");
        Assert.Equal([HoldingKind.Spinlock], without.Owed);
        Assert.True(end.IsNothing);
    }

    /// <summary>move_queued_task() (kernel/sched/core.c) gives back the lock of one run queue and takes that of another.</summary>
    [Fact]
    public void Another_lock_than_the_callers_is_held_beside_what_was_given_back()
    {
        FrameHoldings end = At((c, l) =>
        {
            c.lea(rdi, __[rbp + 8]);
            Call(c, "_raw_spin_unlock");
            c.lea(rdi, __[rbx + 8]);
            Call(c, "_raw_spin_lock");
            l.Mark(c, "end");
            c.ret();
        }, "end");
        Assert.Single(end.Held);
        Assert.Equal([HoldingKind.Spinlock], end.GivenBack);
        Assert.Equal([HoldingKind.Spinlock], end.PerhapsGivenBack);
    }

    [Fact]
    public void Of_two_locks_it_is_the_one_with_the_same_argument_that_is_given_back()
    {
        FrameHoldings one = At((c, l) =>
        {
            c.mov(rdi, rbp);
            Call(c, "mutex_lock");
            c.lea(rdi, __[rbx + 0x10]);
            Call(c, "mutex_lock");
            c.mov(rdi, rbp);
            Call(c, "mutex_unlock");
            l.Mark(c, "one");
            c.mov(rdi, __[rsp + 8]);
            Call(c, "mutex_unlock");
            l.Mark(c, "end");
            c.ret();
        }, "one", out FrameHoldings end, "end");
        Assert.Equal(AssembledFunction.Start + 12, Assert.Single(one.Held).Call);
        Assert.Empty(one.MayHold);
        Assert.True(end.IsNothing);
    }

    [Fact]
    public void Where_the_code_does_not_show_which_of_two_locks_was_given_back_the_other_one_may_be_held()
    {
        FrameHoldings one = At((c, l) =>
        {
            c.mov(rdi, rbp);
            Call(c, "mutex_lock");
            c.mov(rdi, rbx);
            Call(c, "mutex_lock");
            c.mov(rdi, __[rsp + 8]);
            Call(c, "mutex_unlock");
            l.Mark(c, "one");
            c.ret();
        }, "one");
        Assert.Empty(one.Held);
        Assert.Single(one.MayHold);
    }

    [Fact]
    public void Two_locks_that_are_given_back_are_two()
    {
        FrameHoldings end = At((c, l) =>
        {
            c.mov(rdi, rbp);
            Call(c, "_raw_spin_unlock");
            c.mov(rdi, rbx);
            Call(c, "_raw_spin_unlock");
            l.Mark(c, "end");
            c.ret();
        }, "end");
        Assert.Equal([HoldingKind.Spinlock, HoldingKind.Spinlock], end.GivenBack);
        Assert.Empty(end.PerhapsGivenBack);
    }

    /// <summary>count_memcg_events() and the like, inlined into a section of a lock.</summary>
    [Fact]
    public void Interrupts_that_are_restored_within_a_section_that_has_turned_them_off_are_off()
    {
        FrameHoldings at = At((c, l) =>
        {
            Call(c, "_raw_spin_lock_irqsave");
            c.pushfq();
            c.pop(rbx);
            c.cli();
            c.test(ebx, 0x200);
            c.je(l["off"]);
            c.sti();
            l.Mark(c, "off");
            c.ret();
        }, "off");
        Assert.Equal(InterruptChange.Off, at.Interrupts);
    }

    [Fact]
    public void Whether_a_lock_that_may_not_be_got_has_turned_interrupts_off_is_not_known_before_that()
    {
        FrameHoldings before = At((c, l) =>
        {
            Call(c, "__lock_task_sighand");
            l.Mark(c, "before");
            c.ret();
        }, "before");
        Assert.Equal(InterruptChange.Unknown, before.Interrupts);
    }

    [Fact]
    public void A_lock_of_the_caller_that_was_given_back_for_good_is_the_callers_no_more()
    {
        FrameHoldings end = At((c, l) =>
        {
            Call(c, "raw_spin_rq_unlock");
            l.Mark(c, "end");
            c.ret();
        }, "end");
        Assert.Equal([HoldingKind.Spinlock], end.GivenBack);
        Assert.Empty(end.Owed);
        FrameHoldings caller = At((c, l) =>
        {
            Call(c, "mutex_lock");
            Call(c, "raw_spin_rq_lock_nested");
            l.Mark(c, "here");
            Call(c, "work");
            c.ret();
        }, "here");
        Assert.Equal([HoldingKind.Mutex], caller.Without(end.GivenBack, out IReadOnlyList<HoldingKind> left).Held.Select(h => h.Kind));
        Assert.Empty(left);
        caller.Without([HoldingKind.RwsemRead], out left);
        Assert.Equal([HoldingKind.RwsemRead], left);
    }

    /// <summary>deactivate_super() (fs/super.c) takes a lock and goes on in another function, which gives it back.</summary>
    [Fact]
    public void What_is_held_where_a_function_goes_on_in_another_is_told()
    {
        var function = new AssembledFunction((c, _) => { Call(c, "mutex_lock"); c.jmp(AddressOf("work")); });
        var analysis = new HoldingsAnalysis(function.Code, a => Array.Find(Names, n => AddressOf(n) == a), null, PreemptCount, GsBase);
        Assert.True(analysis.TryFindEnds(function.Parts, out IReadOnlyList<FunctionEnd> ends, out _));
        FunctionEnd end = Assert.Single(ends);
        Assert.Equal(AddressOf("work"), end.JumpsTo);
        Assert.False(end.Holdings.IsBalanced);
    }
}
