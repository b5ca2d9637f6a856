using Iced.Intel;
using Panacea.Kernel.Code;
using Panacea.Kernel.Holdings;
using Panacea.Kernel.Tests.Code;
using static Iced.Intel.AssemblerRegisters;

namespace Panacea.Kernel.Tests.Holdings;

/// <summary>What a function holds where it stands, by functions assembled for that.</summary>
public sealed partial class HoldingsAnalysisTests
{
    private const ulong GsBase = 0xffff_8880_0010_0000, PreemptCount = GsBase + 0x35008;

    private static readonly string[] Names =
    [
        "mutex_lock", "mutex_unlock", "mutex_lock_killable", "mutex_trylock", "_raw_spin_lock", "_raw_spin_unlock", "_raw_spin_lock_irqsave", "_raw_spin_unlock_irqrestore", "_raw_spin_lock_irq", "_raw_spin_unlock_irq",
        "_raw_spin_unlock_bh", "__local_bh_enable_ip", "__pte_offset_map_lock", "__rcu_read_unlock", "lock_sock_nested", "release_sock", "raw_spin_rq_lock_nested", "raw_spin_rq_unlock", "__lock_task_sighand", "__fdget_pos", "work", "prepare_to_wait_event", "finish_wait", "schedule",
    ];

    [Fact]
    public void One_lock_that_either_of_two_calls_has_taken_is_held_once()
    {
        FrameHoldings at = At((c, l) =>
        {
            c.test(rsi, rsi);
            c.je(l["other"]);
            Call(c, "mutex_lock");
            c.jmp(l["both"]);
            l.Mark(c, "other");
            Call(c, "mutex_lock");
            l.Mark(c, "both");
            c.nop();
            Call(c, "mutex_unlock");
            l.Mark(c, "end");
            c.ret();
        }, "both", out FrameHoldings end, "end");
        Holding held = Assert.Single(at.Held);
        Assert.Equal(2, held.Calls.Count());
        Assert.Empty(at.MayHold);
        Assert.True(end.IsNothing);
    }

    [Fact]
    public void A_third_call_that_may_have_taken_it_leaves_the_lock_without_a_name()
    {
        FrameHoldings at = At((c, l) =>
        {
            c.test(rsi, rsi);
            c.je(l["second"]);
            c.js(l["third"]);
            Call(c, "mutex_lock");
            c.jmp(l["all"]);
            l.Mark(c, "second");
            Call(c, "mutex_lock");
            c.jmp(l["all"]);
            l.Mark(c, "third");
            Call(c, "mutex_lock");
            l.Mark(c, "all");
            c.ret();
        }, "all");
        Assert.Empty(Assert.Single(at.Held).Calls);
    }

    [Theory]
    [InlineData("mutex_trylock", true)]
    [InlineData("mutex_lock_killable", false)]
    public void Where_the_result_was_looked_at_it_is_known_whether_the_lock_was_taken(string function, bool heldWhereNotZero)
    {
        FrameHoldings zero = At((c, l) =>
        {
            Call(c, function);
            l.Mark(c, "before");
            c.mov(ebx, eax);
            c.test(eax, eax);
            c.je(l["zero"]);
            l.Mark(c, "notzero");
            c.nop();
            c.jmp(l["end"]);
            l.Mark(c, "zero");
            c.nop();
            l.Mark(c, "end");
            c.ret();
        }, "zero", out FrameHoldings notZero, "notzero");
        Assert.Equal(heldWhereNotZero ? 0 : 1, zero.Held.Count);
        Assert.Equal(heldWhereNotZero ? 1 : 0, notZero.Held.Count);
        Assert.Empty(zero.MayHold.Concat(notZero.MayHold));
    }

    [Fact]
    public void A_copy_of_the_result_says_the_same_and_what_overwrote_it_does_not()
    {
        FrameHoldings copied = At((c, l) =>
        {
            Call(c, "mutex_trylock");
            c.mov(ebx, eax);
            c.mov(eax, __[rbp + 8]);
            c.test(ebx, ebx);
            c.je(l["zero"]);
            l.Mark(c, "here");
            c.nop();
            l.Mark(c, "zero");
            c.ret();
        }, "here");
        Assert.Single(copied.Held);
        FrameHoldings overwritten = At((c, l) =>
        {
            Call(c, "mutex_trylock");
            c.mov(eax, __[rbp + 8]);
            c.test(eax, eax);
            c.je(l["zero"]);
            l.Mark(c, "here");
            c.nop();
            l.Mark(c, "zero");
            c.ret();
        }, "here");
        Assert.Empty(overwritten.Held);
        Assert.Single(overwritten.MayHold);
    }

    [Fact]
    public void One_bit_of_a_result_is_not_told_by_its_being_zero()
    {
        FrameHoldings at = At((c, l) =>
        {
            Call(c, "__fdget_pos");
            c.test(rax, rax);
            c.je(l["zero"]);
            l.Mark(c, "here");
            c.nop();
            l.Mark(c, "zero");
            c.ret();
        }, "here");
        Assert.Empty(at.Held);
        Assert.Single(at.MayHold);
    }

    [Fact]
    public void Interrupts_stay_off_until_the_outer_of_two_locks_is_given_back()
    {
        FrameHoldings inner = At((c, l) =>
        {
            Call(c, "_raw_spin_lock_irqsave");
            Call(c, "_raw_spin_lock_irqsave");
            Call(c, "_raw_spin_unlock_irqrestore");
            l.Mark(c, "inner");
            c.nop();
            Call(c, "_raw_spin_unlock_irqrestore");
            l.Mark(c, "outer");
            c.ret();
        }, "inner", out FrameHoldings outer, "outer");
        Assert.Equal(InterruptChange.Off, inner.Interrupts);
        Assert.Equal(InterruptChange.None, outer.Interrupts);
    }

    [Fact]
    public void Interrupts_that_a_lock_has_turned_off_are_on_again_on_whichever_way()
    {
        FrameHoldings again = At((c, l) =>
        {
            c.test(rsi, rsi);
            c.je(l["end"]);
            Call(c, "_raw_spin_lock_irq");
            Call(c, "_raw_spin_unlock_irq");
            l.Mark(c, "again");
            c.nop();
            l.Mark(c, "end");
            c.ret();
        }, "again", out FrameHoldings end, "end");
        Assert.Equal(InterruptChange.OnAgain, again.Interrupts);
        Assert.Equal(InterruptChange.Restored, end.Interrupts);
    }

    [Fact]
    public void Interrupts_that_were_turned_on_by_themselves_on_one_way_are_not_known()
    {
        FrameHoldings end = At((c, l) =>
        {
            c.test(rsi, rsi);
            c.je(l["end"]);
            c.sti();
            l.Mark(c, "end");
            c.ret();
        }, "end");
        Assert.Equal(InterruptChange.Unknown, end.Interrupts);
    }

    [Fact]
    public void A_lock_that_was_not_got_has_not_turned_interrupts_off()
    {
        FrameHoldings none = At((c, l) =>
        {
            Call(c, "__lock_task_sighand");
            c.test(rax, rax);
            c.je(l["none"]);
            l.Mark(c, "got");
            Call(c, "_raw_spin_unlock_irqrestore");
            l.Mark(c, "none");
            c.ret();
        }, "none", out FrameHoldings got, "got");
        Assert.Equal(InterruptChange.Off, got.Interrupts);
        Assert.True(none.IsNothing);
        Assert.Equal(InterruptChange.None, none.Interrupts);
    }

    [Fact]
    public void On_the_way_around_what_gives_a_lock_back_there_is_none()
    {
        FrameHoldings end = At((c, l) =>
        {
            c.lea(rbp, __[rdi + 0x20]);
            c.mov(rdi, rbp);
            Call(c, "mutex_lock");
            Call(c, "work");
            c.test(rbp, rbp);
            c.je(l["end"]);
            c.mov(rdi, rbp);
            Call(c, "mutex_unlock");
            l.Mark(c, "end");
            c.ret();
        }, "end");
        Assert.True(end.IsNothing);
    }

    /// <summary>The lock that is held is another one than that which the register points to.</summary>
    [Fact]
    public void A_guard_of_one_lock_says_nothing_of_another()
    {
        FrameHoldings end = At((c, l) =>
        {
            c.mov(rdi, r12);
            Call(c, "mutex_lock");
            c.test(rbp, rbp);
            c.je(l["end"]);
            c.mov(rdi, rbp);
            Call(c, "mutex_unlock");
            Call(c, "mutex_lock");
            l.Mark(c, "end");
            c.nop();
            c.ret();
        }, "end");
        Assert.Single(end.Held.Concat(end.MayHold), h => h.Call == AssembledFunction.Start + 3);
    }

    [Fact]
    public void A_lock_that_is_held_on_one_way_and_may_be_on_another_beside_a_second_one_may_be_held_still()
    {
        FrameHoldings at = At((c, l) =>
        {
            c.test(rsi, rsi);
            c.je(l["other"]);
            Call(c, "mutex_lock");
            c.jmp(l["both"]);
            l.Mark(c, "other");
            Call(c, "mutex_trylock");
            Call(c, "mutex_lock");
            l.Mark(c, "both");
            c.ret();
        }, "both");
        Assert.Single(at.Held);
        Assert.Single(at.MayHold);
    }

    [Fact]
    public void A_lock_that_was_given_back_on_one_way_only_is_not_known_to_be()
    {
        FrameHoldings end = At((c, l) =>
        {
            c.test(rsi, rsi);
            c.je(l["end"]);
            Call(c, "mutex_unlock");
            l.Mark(c, "given");
            c.nop();
            l.Mark(c, "end");
            c.ret();
        }, "end", out FrameHoldings given, "given");
        Assert.Equal([HoldingKind.Mutex], end.PerhapsGivenBack);
        Assert.Equal([HoldingKind.Mutex], given.GivenBack);
        Assert.Empty(given.PerhapsGivenBack);
    }

    [Fact]
    public void A_test_of_something_else_leads_around_with_the_lock()
    {
        FrameHoldings end = At((c, l) =>
        {
            c.lea(rbp, __[rdi + 0x20]);
            c.mov(rdi, rbp);
            Call(c, "mutex_lock");
            c.test(rbx, rbx);
            c.je(l["end"]);
            c.mov(rdi, rbp);
            Call(c, "mutex_unlock");
            l.Mark(c, "end");
            c.ret();
        }, "end");
        Assert.Single(end.MayHold);
    }

    [Fact]
    public void Bottom_halves_that_a_call_turns_on_are_on_again()
    {
        FrameHoldings off = At((c, l) =>
        {
            c.add(__dword_ptr.gs[0x35008], 0x200);
            l.Mark(c, "off");
            c.nop();
            c.mov(esi, 0x200);
            Call(c, "__local_bh_enable_ip");
            l.Mark(c, "end");
            c.ret();
        }, "off", out FrameHoldings end, "end");
        Assert.Equal(0x200, off.PreemptCount);
        Assert.True(end.IsNothing);
    }

    [Fact]
    public void A_lock_may_be_given_back_together_with_bottom_halves()
    {
        FrameHoldings end = At((c, l) =>
        {
            c.add(__dword_ptr.gs[0x35008], 0x200);
            Call(c, "_raw_spin_lock");
            Call(c, "_raw_spin_unlock_bh");
            l.Mark(c, "end");
            c.ret();
        }, "end");
        Assert.True(end.IsNothing);
    }

    [Fact]
    public void The_preempt_count_may_be_addressed_by_a_register()
    {
        FrameHoldings end = At((c, l) =>
        {
            c.mov(ecx, 0x35008);
            c.inc(__dword_ptr.gs[0x35008]);
            c.dec(__dword_ptr.gs[rcx]);
            l.Mark(c, "end");
            c.ret();
        }, "end");
        Assert.Equal(0, end.PreemptCount);
        FrameHoldings other = At((c, l) =>
        {
            c.mov(ecx, 0x35010);
            c.inc(__dword_ptr.gs[0x35008]);
            c.dec(__dword_ptr.gs[rcx]);
            l.Mark(c, "end");
            c.ret();
        }, "end");
        Assert.Equal(1, other.PreemptCount);
    }

    [Fact]
    public void A_function_may_hand_over_a_lock_and_a_section_at_once()
    {
        FrameHoldings got = At((c, l) =>
        {
            Call(c, "__pte_offset_map_lock");
            c.test(rax, rax);
            c.je(l["none"]);
            l.Mark(c, "got");
            Call(c, "_raw_spin_unlock");
            Call(c, "__rcu_read_unlock");
            l.Mark(c, "none");
            c.ret();
        }, "got", out FrameHoldings none, "none");
        Assert.Equal([HoldingKind.Spinlock, HoldingKind.Rcu], got.Held.Select(h => h.Kind));
        Assert.True(none.IsNothing);
    }

    [Fact]
    public void What_only_its_own_function_gives_back_is_given_back_by_that()
    {
        FrameHoldings held = At((c, l) =>
        {
            Call(c, "lock_sock_nested");
            l.Mark(c, "held");
            Call(c, "release_sock");
            l.Mark(c, "end");
            c.ret();
        }, "held", out FrameHoldings end, "end");
        Assert.Equal(HoldingKind.Other, Assert.Single(held.Held).Kind);
        Assert.True(end.IsNothing);
    }

    /// <summary>wait_event_interruptible() (include/linux/wait.h): where a signal has come it has left the queue already.</summary>
    [Fact]
    public void Who_waits_stands_in_a_queue_until_it_has_left_it()
    {
        FrameHoldings waits = At((c, l) =>
        {
            l.Mark(c, "again");
            Call(c, "prepare_to_wait_event");
            c.mov(r12, rax);
            c.cmp(__byte_ptr[rbx], 0);
            c.jne(l["finish"]);
            c.test(r12, r12);
            c.jne(l["signal"]);
            l.Mark(c, "waits");
            Call(c, "schedule");
            c.jmp(l["again"]);
            l.Mark(c, "finish");
            Call(c, "finish_wait");
            l.Mark(c, "signal");
            c.ret();
        }, "waits", out FrameHoldings end, "signal");
        Assert.Equal(HoldingKind.Other, Assert.Single(waits.Held.Concat(waits.MayHold)).Kind);
        Assert.Empty(end.Held);
    }

    private static void Call(Assembler into, string name) => into.call(AddressOf(name));

    private static ulong AddressOf(string name) => AssembledFunction.Start + 0x10_0000 + ((ulong)Array.IndexOf(Names, name) * 0x10);

    private static FrameHoldings At(Action<Assembler, Places> body, string place) => At(body, place, out _, place);

    private static FrameHoldings At(Action<Assembler, Places> body, string place, out FrameHoldings other, string otherPlace)
    {
        var function = new AssembledFunction(body);
        var analysis = new HoldingsAnalysis(function.Code, a => Array.Find(Names, n => AddressOf(n) == a), null, PreemptCount, GsBase);
        Assert.True(analysis.TryFind(function.Parts, CodePoint.Trap(function[place]), out FrameHoldings holdings, out Decline why), why.ToString());
        Assert.True(analysis.TryFind(function.Parts, CodePoint.Trap(function[otherPlace]), out other, out why), why.ToString());
        return holdings;
    }
}
