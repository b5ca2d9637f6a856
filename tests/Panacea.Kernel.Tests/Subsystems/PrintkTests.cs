using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Tests.Image;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests.Subsystems;

public sealed class PrintkTests
{
    [Theory]
    [MemberData(nameof(KernelGuest.Shapes), MemberType = typeof(KernelGuest))]
    public void The_newest_records_come_in_order(KernelShape shape, int levels)
    {
        using var g = new KernelGuest(RepairImageTests.Options(shape, levels));
        g.Guest.Log("BUG: kernel NULL pointer dereference", 5_000_000_123, level: 1);
        List<PrintkRecord> all = Printk.Tail(g.Kernel, 100, TargetLimits.Default);
        Assert.Equal(["booted, line 0", "booted, line 1", "booted, line 2", "BUG: kernel NULL pointer dereference"], all.Select(r => r.Text));
        Assert.Equal(new PrintkRecord(3, 5_000_000_123, 0, 1, "BUG: kernel NULL pointer dereference"), all[3]);
        Assert.Equal(["booted, line 2", "BUG: kernel NULL pointer dereference"], Printk.Tail(g.Kernel, 2, TargetLimits.Default).Select(r => r.Text));
        Assert.Empty(Printk.Tail(g.Kernel, 0, TargetLimits.Default));
        Assert.Empty(Printk.Tail(g.Kernel, -5, TargetLimits.Default));
    }

    /// <summary>Eight descriptors and 256 bytes of text: both rings wrap many times, and the ids wrap around 62 bits.</summary>
    [Fact]
    public void Both_rings_wrap()
    {
        using var g = new KernelGuest();
        for (int i = 0; i < 100; i++)
        {
            g.Guest.Log($"line {i} {new string('x', i % 5)}", (ulong)i);
            List<PrintkRecord> all = Printk.Tail(g.Kernel, 100, TargetLimits.Default);
            Assert.InRange(all.Count, 4, 8);
            Assert.Equal($"line {i} {new string('x', i % 5)}", all[^1].Text);
            Assert.Equal(Enumerable.Range(0, all.Count).Select(n => all[0].Sequence + (ulong)n), all.Select(r => r.Sequence));
        }
    }

    /// <summary>Long texts push out the text of older records, whose descriptors are still there.</summary>
    [Fact]
    public void A_record_whose_text_was_overwritten_is_left_out()
    {
        using var g = new KernelGuest();
        g.Guest.Log("will be lost");
        for (int i = 0; i < 3; i++)
            g.Guest.Log(new string((char)('a' + i), 90));
        List<PrintkRecord> all = Printk.Tail(g.Kernel, 100, TargetLimits.Default);
        Assert.DoesNotContain(all, r => r.Text == "will be lost");
        Assert.Equal(new string('c', 90), all[^1].Text);
        Assert.All(all, r => Assert.True(r.Text.Distinct().Count() <= 1 || r.Text.StartsWith("booted", StringComparison.Ordinal), r.Text));
    }

    [Fact]
    public void A_record_without_data_is_an_empty_line()
    {
        using var g = new KernelGuest();
        g.Guest.Log("");
        Assert.Equal("", Printk.Tail(g.Kernel, 1, TargetLimits.Default)[0].Text);
    }

    [Theory]
    [InlineData(0UL, false)]
    [InlineData(1UL, true)]
    [InlineData(2UL, true)]
    [InlineData(3UL, false)]
    public void Only_records_that_were_finished_are_read(ulong state, bool isThere)
    {
        using var g = new KernelGuest();
        g.Guest.Log("half", state: state);
        Assert.Equal(isThere, Printk.Tail(g.Kernel, 100, TargetLimits.Default).Any(r => r.Text == "half"));
    }

    /// <summary>A writer took the descriptor for a new record between two reads.</summary>
    [Fact]
    public void A_reused_descriptor_is_not_taken_for_the_old_record()
    {
        using var g = new KernelGuest();
        ulong id = g.Guest.Log("old");
        g.Guest.Log("newest");
        g.Guest.Put(g.Guest.Descriptor(id), "prb_desc.state_var.counter", (id + 8) | 2UL << 62);
        Assert.Equal(["booted, line 0", "booted, line 1", "booted, line 2", "newest"], Printk.Tail(g.Kernel, 100, TargetLimits.Default).Select(r => r.Text));
    }

    [Theory]
    [InlineData("prb_desc.text_blk_lpos.begin", ulong.MaxValue - 1)]
    [InlineData("prb_desc.text_blk_lpos.next", ulong.MaxValue)]
    [InlineData("prb_desc.text_blk_lpos.next", 0UL)]
    [InlineData("prb_desc.text_blk_lpos.begin", 0x8000_0000_0000_0000UL)]
    [InlineData("printk_info.text_len", 0xffffUL)]
    public void A_hostile_block_costs_its_record(string member, ulong value)
    {
        using var g = new KernelGuest();
        ulong id = g.Guest.Log("hostile");
        g.Guest.Log("after");
        g.Guest.Put(member.StartsWith("printk", StringComparison.Ordinal) ? g.Guest.Info(id) : g.Guest.Descriptor(id), member, value);
        List<PrintkRecord> all = Printk.Tail(g.Kernel, 100, TargetLimits.Default);
        Assert.Equal("after", all[^1].Text);
        Assert.DoesNotContain(all, r => r.Text == "hostile");
    }

    [Theory]
    [InlineData("desc_ring.count_bits", 0UL)]
    [InlineData("desc_ring.count_bits", 29UL)]
    [InlineData("desc_ring.count_bits", 28UL)]
    [InlineData("desc_ring.count_bits", 0xffff_ffffUL)]
    [InlineData("text_data_ring.size_bits", 0xffff_ffffUL)]
    [InlineData("text_data_ring.size_bits", 31UL)]
    [InlineData("text_data_ring.size_bits", 3UL)]
    public void Hostile_sizes_of_the_ring_are_typed_failures(string member, ulong value)
    {
        using var g = new KernelGuest();
        g.Guest.Put(g.Guest["printk_ring"], $"printk_ringbuffer.{member}", value);
        Assert.Throws<KernelShapeException>(() => Printk.Tail(g.Kernel, int.MaxValue, TargetLimits.Default));
    }

    [Theory]
    [InlineData("desc_ring.descs")]
    [InlineData("desc_ring.infos")]
    [InlineData("text_data_ring.data")]
    public void Pointers_that_lead_nowhere_are_typed_failures(string member)
    {
        using var g = new KernelGuest();
        foreach (ulong value in (ulong[])[0, ulong.MaxValue - 7, 0xffff_c900_0000_0000])
        {
            g.Guest.Put(g.Guest["printk_ring"], $"printk_ringbuffer.{member}", value);
            Assert.Throws<GuestMemoryException>(() => Printk.Tail(g.Kernel, 100, TargetLimits.Default));
        }
    }

    [Fact]
    public void Bytes_that_are_no_text_become_replacement_characters()
    {
        using var g = new KernelGuest();
        g.Guest.Log("ab");
        ulong at = g.Guest["printk_text"];
        byte[] ring = new byte[256];
        g.Guest.Space.Read(new VirtualAddress(at), ring, "ring");
        int found = ring.AsSpan().LastIndexOf("ab"u8);
        g.Guest.Write(at + (ulong)found, 0xff, (byte)'b');
        Assert.Equal("\ufffdb", Printk.Tail(g.Kernel, 1, TargetLimits.Default)[0].Text);
    }
}
