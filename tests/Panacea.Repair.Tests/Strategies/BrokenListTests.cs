using System.Buffers.Binary;
using Panacea.Repair.Strategies;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Repair.Tests.Strategies;

public sealed class BrokenListTests
{
    private const ulong Garbage = 0x5a5a_5a5a_5a5a_5a58, Poison1 = 0xdead_0000_0000_0100, Poison2 = 0xdead_0000_0000_0122;
    private const string Delete = "__list_del_entry_valid_or_report", Add = "__list_add_valid_or_report";

    /// <summary>Elements 0 to n - 1 of a ring; 0 is its head, 1 the one that is deleted.</summary>
    [Theory]
    [InlineData(4, 0, true, Garbage)]
    [InlineData(4, 2, false, Garbage)]
    [InlineData(4, 1, true, Garbage)]
    [InlineData(4, 1, false, Garbage)]
    [InlineData(4, 0, true, 0UL)]
    [InlineData(4, 1, false, Poison2)]
    [InlineData(2, 0, true, Garbage)]
    [InlineData(2, 0, false, Garbage)]
    [InlineData(2, 1, true, Garbage)]
    [InlineData(2, 1, false, 0UL)]
    [InlineData(1000, 0, true, Garbage)]
    public void A_list_with_one_wrong_pointer_is_mended_and_its_element_deleted(int count, int broken, bool isNext, ulong value)
    {
        ulong[] ring = [];
        using var g = Deleting(k => { ring = Ring(k, count); Damage(k, ring[broken], isNext, value); return ring[1]; });
        RepairPlan plan = Plan(g);
        Assert.Contains(isNext ? "the next of the list element" : "the prev of the list element", plan.Explanation, StringComparison.Ordinal);
        Assert.Contains($"0x{ring[broken]:x}, which was 0x{value:x}, is mended", plan.Explanation, StringComparison.Ordinal);
        Assert.EndsWith("is deleted; nothing is lost", plan.Explanation);
        Apply(g, plan);
        Whole(g, [ring[0], .. ring[2..]]);
        Assert.Empty(plan.Lost);
        Assert.Null(plan.Returned);

        // Behind a handler that signals, the registers are set further on.
        Assert.Contains(Assert.Single(plan.Continuations).Registers, r => r is { Register: WritableRegister.Rax, Value: 0 });
    }

    /// <summary>Readers that stand at an element which is deleted under RCU go on from it.</summary>
    [Fact]
    public void A_deleted_element_leads_on_to_the_others()
    {
        ulong[] ring = [];
        using var g = Deleting(k => { ring = Ring(k, 4); Damage(k, ring[1], true, Garbage); return ring[1]; });
        Apply(g, Plan(g));
        Assert.Equal(ring[2], g.Guest.ReadU64(ring[1]));
    }

    [Fact]
    public void Kernels_before_6_6_have_another_name_for_the_check()
    {
        ulong[] ring = [];
        using var g = new CrashedGuest(Spec("ct_list_del", "__list_del_entry_valid", k => { ring = Ring(k, 3); Damage(k, ring[0], true, Garbage); return (ring[1], 0, 0); }), new() { Shape = KernelShape.Linux61 });
        Apply(g, Plan(g));
        Whole(g, [ring[0], ring[2]]);
    }

    [Fact]
    public void Two_wrong_pointers_are_not_guessed_at()
    {
        using var g = Deleting(k => { ulong[] ring = Ring(k, 4); Damage(k, ring[0], true, Garbage); Damage(k, ring[3], true, Garbage); return ring[1]; });
        Declines(g, "more than one pointer of the list is wrong");
    }

    [Fact]
    public void An_element_that_was_deleted_before_is_no_broken_list()
    {
        using var g = Deleting(k => { ulong[] ring = Ring(k, 4); Damage(k, ring[1], true, Poison1); Damage(k, ring[1], false, Poison2); Damage(k, ring[0], true, ring[2]); Damage(k, ring[2], false, ring[0]); return ring[1]; });
        Declines(g, "more than one pointer of the list is wrong");
    }

    /// <summary>__list_del() and __list_add() of somebody who does not hold the lock, half done: next->prev comes first in both.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void An_element_that_comes_or_goes_is_not_guessed_at(bool goes)
    {
        using var g = Deleting(k =>
        {
            ulong[] ring = Ring(k, 5);
            ulong other = goes ? ring[2] : k.Allocate(16);
            Damage(k, ring[goes ? 3 : 2], false, goes ? ring[1] : other);
            if (!goes)
                Damage(k, other, true, ring[2]);
            return ring[1];
        });
        Declines(g, goes ? "is being added to the list, or deleted from it" : "more than one pointer of the list is wrong");
    }

    /// <summary>The wrong pointer leads to an element of somebody's that leads on into the list: it may belong there as well.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_pointer_to_what_may_belong_to_the_list_is_not_guessed_at(bool isNext)
    {
        using var g = Deleting(k =>
        {
            ulong[] ring = Ring(k, 4);
            ulong other = k.Allocate(16);
            Damage(k, ring[isNext ? 0 : 2], isNext, other);
            Damage(k, other, isNext, ring[1]);
            return ring[1];
        });
        Declines(g, "is being added to the list, or deleted from it");
    }

    [Fact]
    public void A_list_that_is_whole_is_left_alone()
    {
        using var g = Deleting(k => Ring(k, 4)[1]);
        Declines(g, "the list is whole");
    }

    [Fact]
    public void A_list_that_is_long_is_not_followed_within_the_stop()
    {
        using var g = Deleting(k => { ulong[] ring = Ring(k, 2000); Damage(k, ring[0], true, Garbage); return ring[1]; });
        Declines(g, "the list has more than 1024 elements");
    }

    [Theory]
    [InlineData(0UL)]
    [InlineData(Garbage)]
    [InlineData(0x5555_0000_1000UL)]
    public void What_is_no_element_is_declined(ulong entry)
    {
        using var g = Deleting(_ => entry);
        Declines(g, "can't be read");
    }

    /// <summary>list_add_tail(new, head) takes its prev from the head, list_add(new, head) its next.</summary>
    [Theory]
    [InlineData(0, false, true)]
    [InlineData(3, true, true)]
    [InlineData(0, true, false)]
    [InlineData(1, false, false)]
    public void What_was_to_be_added_is_added_where_the_list_was_broken(int broken, bool isNext, bool atTail)
    {
        ulong[] ring = [];
        ulong added = 0;
        using var g = new CrashedGuest(Spec("ct_list_add", Add, k =>
        {
            ring = Ring(k, 4);
            Damage(k, ring[broken], isNext, Garbage);
            added = k.Allocate(16);
            return atTail ? (added, k.ReadU64(ring[0] + 8), ring[0]) : (added, ring[0], k.ReadU64(ring[0]));
        }));
        RepairPlan plan = Plan(g);
        Assert.EndsWith("is added; nothing is lost", plan.Explanation);
        Apply(g, plan);
        Whole(g, atTail ? [.. ring, added] : [ring[0], added, .. ring[1..]]);
    }

    [Fact]
    public void An_addition_elsewhere_than_at_the_broken_place_is_declined()
    {
        using var g = new CrashedGuest(Spec("ct_list_add", Add, k => { ulong[] ring = Ring(k, 6); Damage(k, ring[3], true, Garbage); return (k.Allocate(16), ring[0], ring[1]); }));
        Declines(g, "is not where the list is broken");
    }

    [Fact]
    public void An_element_is_not_added_twice()
    {
        using var g = new CrashedGuest(Spec("ct_list_add", Add, k => { ulong[] ring = Ring(k, 4); Damage(k, ring[0], false, Garbage); return (ring[3], ring[3], ring[0]); }));
        Declines(g, "can't be added there");
    }

    private static CrashedGuest Deleting(Func<SyntheticKernel, ulong> entry) => new(Spec("ct_list_del", Delete, k => (entry(k), 0, 0)));

    private static CrashSpec Spec(string caller, string check, Func<SyntheticKernel, (ulong First, ulong Second, ulong Third)> arguments) => new()
    {
        Entry = "asm_exc_invalid_op", Function = caller, Inner = [check],
        Prepare = (kernel, _) => arguments(kernel) is var (first, second, third) ? new Dictionary<Gpr, ulong> { [Gpr.R12] = first, [Gpr.R13] = second, [Gpr.R14] = third } : [],
    };

    private static ulong[] Ring(SyntheticKernel kernel, int count)
    {
        ulong[] ring = [.. Enumerable.Range(0, count).Select(_ => kernel.Allocate(16))];
        for (int i = 0; i < count; i++)
        {
            kernel.WriteU64(ring[i], ring[(i + 1) % count]);
            kernel.WriteU64(ring[i] + 8, ring[(i + count - 1) % count]);
        }

        return ring;
    }

    private static void Damage(SyntheticKernel kernel, ulong element, bool isNext, ulong value) => kernel.WriteU64(isNext ? element : element + 8, value);

    private static RepairPlan Plan(CrashedGuest g)
    {
        StrategyVerdict verdict = new HealStrategy().Evaluate(g.Evidence);
        Assert.True(verdict.Plan is not null, verdict.WhyNot);
        Assert.Equal(RepairKind.Heal, verdict.Plan!.Kind);
        return verdict.Plan;
    }

    private static void Declines(CrashedGuest g, string why)
    {
        StrategyVerdict verdict = new HealStrategy().Evaluate(g.Evidence);
        Assert.Null(verdict.Plan);
        Assert.Contains(why, verdict.WhyNot, StringComparison.Ordinal);
    }

    private static void Apply(CrashedGuest g, RepairPlan plan)
    {
        foreach (PlannedWrite write in plan.Writes.Where(w => w.Why.StartsWith("list_head", StringComparison.Ordinal)))
            g.Guest.WriteU64(write.Address.Value, BinaryPrimitives.ReadUInt64LittleEndian(write.Bytes.Span));
    }

    private static void Whole(CrashedGuest g, ulong[] ring)
    {
        for (int i = 0; i < ring.Length; i++)
        {
            Assert.Equal(ring[(i + 1) % ring.Length], g.Guest.ReadU64(ring[i]));
            Assert.Equal(ring[i], g.Guest.ReadU64(ring[(i + 1) % ring.Length] + 8));
        }
    }
}
