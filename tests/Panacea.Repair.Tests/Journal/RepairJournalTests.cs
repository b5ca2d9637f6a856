using Panacea.Repair.Journal;
using Panacea.Target;
using Panacea.Target.Paging;
using Panacea.TestKit.Linux;
using Panacea.TestKit.Memory;

namespace Panacea.Repair.Tests.Journal;

public sealed class RepairJournalTests
{
    private const ulong Page = 0xffff_8880_0000_3000, Read = 0xffff_8880_0000_9000;
    private readonly SparsePhysicalMemory _memory = new(1 << 20);
    private readonly AddressSpace _space;
    private readonly ScriptedGuest _guest;

    /// <summary>Two neighbouring pages that are no neighbours in RAM.</summary>
    public RepairJournalTests()
    {
        var tables = new PageTableBuilder(_memory, PagingMode.FourLevel, 0x10_000);
        tables.Map(Page, 0x5000).Map(Page + 0x1000, 0x3000).Map(Read, 0x7000, access: PageAccess.None);
        _space = tables.Space;
        _memory.Write(0x5ff8, 1, 2, 3, 4, 5, 6, 7, 8);
        _memory.Write(0x3000, 9, 10, 11, 12);
        GprFile gpr = default;
        gpr[Gpr.Rdx] = 9;
        gpr[Gpr.Rsi] = 0x1111;
        var vcpu = new VcpuRegisters
        {
            Vcpu = 0, Gpr = gpr, Rip = 0x100, Rflags = 0x46, Cs = 0x10, FsBase = 0, GsBase = 0, KernelGsBase = 0, Cr0 = 0, Cr2 = 0, Cr3 = 0, Cr4 = 0, Efer = 0,
        };
        _guest = new ScriptedGuest(_memory, vcpu, vcpu with { Vcpu = 1 });
    }

    private static RepairPlan Plan => new()
    {
        Kind = RepairKind.Kill, Explanation = "", Lost = [], Risks = [],
        Writes =
        [
            new PlannedWrite(new VirtualAddress(Page + 0xffc), new byte[] { 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5 }, "across two pages"),
            new PlannedWrite(new VirtualAddress(Page + 0x10), new byte[] { 0xb0 }, "one byte"),
        ],
        Registers =
        [
            new PlannedRegister(0, WritableRegister.Rdx, 0, "signr"), new PlannedRegister(1, WritableRegister.Rip, 0x200, "target"), new PlannedRegister(0, WritableRegister.Rflags, 0x202, "flags"),
        ],
    };

    [Fact]
    public void A_plan_is_applied_in_order_and_written_down()
    {
        var steps = new List<string>();
        _guest.Before = steps.Add;
        var journal = new RepairJournal(_guest, _space);
        journal.Apply(Plan);
        Assert.Equal((byte[])[1, 2, 3, 4, 0xa0, 0xa1, 0xa2, 0xa3], Bytes(0x5ff8, 8));
        Assert.Equal((byte[])[0xa4, 0xa5, 11, 12], Bytes(0x3000, 4));
        Assert.Equal(3, steps.TakeWhile(s => s == "write-memory").Count());
        Assert.Equal((0UL, 0x200UL, 0x202UL), (_guest.ReadRegisters(0).Gpr[Gpr.Rdx], _guest.ReadRegisters(1).Rip, _guest.ReadRegisters(0).Rflags));
        Assert.Equal(
            [
                "0xffff888000003ffc 05060708 a0a1a2a3 across two pages", "0xffff888000004000 090a a4a5 across two pages", "0xffff888000003010 00 b0 one byte",
                "vcpu0.rdx 0900000000000000 0000000000000000 signr", "vcpu1.rip 0001000000000000 0002000000000000 target", "vcpu0.rflags 4600000000000000 0202000000000000 flags",
            ],
            journal.Entries.Select(e => $"{e.Where} {Convert.ToHexStringLower(e.Before.Span)} {Convert.ToHexStringLower(e.After.Span)} {e.Why}"));
    }

    [Fact]
    public void Undoing_puts_everything_back()
    {
        var journal = new RepairJournal(_guest, _space);
        journal.Apply(Plan);
        Assert.NotEmpty(_guest.Changes);
        Assert.True(journal.Undo());
        Assert.Empty(_guest.Changes);
        Assert.Empty(journal.Entries);
        Assert.True(journal.Undo(), "there is nothing left to undo");
    }

    [Fact]
    public void Writes_that_overlap_are_undone_to_the_first_state()
    {
        PlannedWrite One(byte value) => new(new VirtualAddress(Page + 0xff8), new[] { value, value }, "again");
        var journal = new RepairJournal(_guest, _space);
        journal.Apply(Plan with { Writes = [One(0x11), One(0x22)], Registers = [new(0, WritableRegister.Rax, 1, ""), new(0, WritableRegister.Rax, 2, "")] });
        Assert.Equal((byte[])[0x22, 0x22], Bytes(0x5ff8, 2));
        Assert.True(journal.Undo());
        Assert.Empty(_guest.Changes);
    }

    public static TheoryData<int, bool, string> Failures()
    {
        var data = new TheoryData<int, bool, string>();
        foreach (string kind in (string[])["target", "memory", "bug", "index"])
        {
            for (int step = 0; step < 9; step++)
            {
                data.Add(step, true, kind);
                data.Add(step, false, kind);
            }
        }

        return data;
    }

    /// <summary>3 memory writes, 3 times reading and writing a register: each fails once, before or after it took effect.</summary>
    [Theory]
    [MemberData(nameof(Failures))]
    public void Whatever_fails_the_guest_is_as_it_was(int step, bool before, string kind)
    {
        int at = 0;
        void Fail(string _)
        {
            if (at++ == step)
                throw Make(kind);
        }

        (_guest.Before, _guest.After) = before ? ((Action<string>)Fail, (Action<string>?)null) : (null, Fail);
        var journal = new RepairJournal(_guest, _space);
        JournalException e = Assert.Throws<JournalException>(() => journal.Apply(Plan));
        Assert.True(e.IsUndone);
        Assert.Empty(_guest.Changes);
        Assert.Empty(journal.Entries);
        Assert.StartsWith("the repair could not be applied: ", e.Message);
        Assert.NotNull(e.InnerException);
    }

    [Theory]
    [InlineData(0x5ffcUL)]
    [InlineData(0x3000UL)]
    [InlineData(0x5010UL)]
    public void A_write_that_is_refused_has_written_nothing_and_needs_no_undoing(ulong physical)
    {
        _guest.Refuses = address => address == physical;
        JournalException e = Assert.Throws<JournalException>(() => new RepairJournal(_guest, _space).Apply(Plan));
        Assert.True(e.IsUndone, e.Message);
        Assert.Contains("no RAM there", e.Message);
        Assert.Empty(_guest.Changes);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public void Memory_that_does_not_hold_what_was_written_is_found_out(int from)
    {
        _guest.LosesWritesFrom = from;
        JournalException e = Assert.Throws<JournalException>(() => new RepairJournal(_guest, _space).Apply(Plan));
        Assert.Contains("does not hold what was written", e.Message);
    }

    [Fact]
    public void Where_putting_back_fails_too_that_is_said_and_the_rest_is_still_put_back()
    {
        int writes = 0;
        _guest.Before = what =>
        {
            // The first register write fails, and so does the first undoing of memory after it.
            if (what == "write-register" || (what == "write-memory" && ++writes == 4))
                throw new TargetException("QEMU did not answer");
        };
        JournalException e = Assert.Throws<JournalException>(() => new RepairJournal(_guest, _space).Apply(Plan));
        Assert.False(e.IsUndone);
        Assert.Equal(6, writes);
        Assert.Equal(["phys:5010 00 -> b0"], _guest.Changes);
    }

    [Theory]
    [InlineData(0xffff_8880_0000_5000UL, "not mapped")]
    [InlineData(0x0000_9000_0000_0000UL, "not canonical")]
    public void Nothing_is_written_before_every_target_has_been_found(ulong address, string why)
    {
        RepairPlan plan = Plan with { Writes = [.. Plan.Writes, new PlannedWrite(new VirtualAddress(address), new byte[8], "nowhere")] };
        JournalException e = Assert.Throws<JournalException>(() => new RepairJournal(_guest, _space).Apply(plan));
        Assert.Contains(why, e.Message);
        Assert.True(e.IsUndone);
        Assert.Equal(0, _guest.Writes);
    }

    [Fact]
    public void A_vcpu_that_does_not_exist_undoes_what_was_written()
    {
        RepairPlan plan = Plan with { Registers = [new PlannedRegister(7, WritableRegister.Rip, 0, "no such vCPU")] };
        JournalException e = Assert.Throws<JournalException>(() => new RepairJournal(_guest, _space).Apply(plan));
        Assert.True(e.IsUndone);
        Assert.Empty(_guest.Changes);
    }

    /// <summary>Pristine text is written back through a read-only mapping: the page tables' rights bind the guest, not its guard.</summary>
    [Fact]
    public void A_read_only_page_can_be_written()
    {
        var journal = new RepairJournal(_guest, _space);
        journal.Apply(Plan with { Writes = [new PlannedWrite(new VirtualAddress(Read), new byte[] { 1 }, "text")], Registers = [] });
        Assert.Equal((byte[])[1], Bytes(0x7000, 1));
    }

    private static Exception Make(string kind) => kind switch
    {
        "target" => new TargetException("QEMU did not answer"),
        "memory" => new GuestMemoryException(default, "scripted"),
        "index" => new IndexOutOfRangeException(),
        _ => new InvalidOperationException("a bug"),
    };

    private byte[] Bytes(ulong physical, int count)
    {
        byte[] bytes = new byte[count];
        Assert.True(_memory.TryRead(new PhysicalAddress(physical), bytes, out _));
        return bytes;
    }
}
