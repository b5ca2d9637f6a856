using Panacea.Formats.Orc;
using Panacea.TestKit.Formats;

namespace Panacea.Formats.Tests.Orc;

public sealed class OrcTests
{
    private const ulong Ips = 0xffff_ffff_8300_0000;
    private const ulong Text = 0xffff_ffff_8100_0000;

    public static TheoryData<OrcVersion> Versions => [OrcVersion.V1, OrcVersion.V2, OrcVersion.V3, OrcVersion.V4];

    /// <summary>A small kernel: functions of call rows, an entry with registers, an end of stack, gaps.</summary>
    private static SyntheticOrc Kernel(OrcVersion version)
    {
        var orc = new SyntheticOrc(Ips, version);
        for (ulong f = 0; f < 20; f++)
        {
            orc.Add(Text + 0x100 * f, SyntheticOrc.Call(8)).Add(Text + 0x100 * f + 1, SyntheticOrc.Call(16))
                .Add(Text + 0x100 * f + 4, new OrcEntry(OrcRegister.Bp, 16, OrcRegister.PrevSp, -16, OrcType.Call, false))
                .Add(Text + 0x100 * f + 0x80, SyntheticOrc.Gap);
        }

        return orc
            .Add(Text + 0x2000, new OrcEntry(OrcRegister.Sp, 0, OrcRegister.Undefined, 0, OrcType.Regs, true))
            .Add(Text + 0x2010, new OrcEntry(OrcRegister.Sp, -8, OrcRegister.Undefined, 0, OrcType.RegsPartial, true))
            .Add(Text + 0x2020, new OrcEntry(OrcRegister.Undefined, 0, OrcRegister.Undefined, 0, OrcType.End, false))
            .Add(Text + 0x2030, new OrcEntry(OrcRegister.SpIndirect, 0, OrcRegister.Undefined, 0, OrcType.Call, false))
            .Add(Text + 0x2040, new OrcEntry(OrcRegister.R10, 0, OrcRegister.BpIndirect, -8, OrcType.Call, false))
            .Add(Text + 0x2050, SyntheticOrc.Gap);
    }

    private static OrcTable Table(OrcVersion version)
    {
        SyntheticOrc orc = Kernel(version);
        Assert.True(OrcFormat.TryDetect(orc.BuildRows(), out OrcVersion detected, out string whyNot), whyNot);
        Assert.Equal(version, detected);
        Assert.True(OrcTable.TryCreate(orc.BuildIps(), orc.BuildRows(), Ips, detected, FormatLimits.Default, out OrcTable table, out whyNot), whyNot);
        return table;
    }

    [Theory]
    [MemberData(nameof(Versions))]
    public void Every_version_is_told_by_its_shape_and_decodes_to_the_same_rows(OrcVersion version)
    {
        OrcTable table = Table(version);
        (ulong Offset, OrcEntry Expected)[] cases =
        [
            (0x0, SyntheticOrc.Call(8)), (0x1, SyntheticOrc.Call(16)), (0x3, SyntheticOrc.Call(16)),
            (0x7f, new OrcEntry(OrcRegister.Bp, 16, OrcRegister.PrevSp, -16, OrcType.Call, false)),
            (0x80, SyntheticOrc.Gap), (0xff, SyntheticOrc.Gap), (0x100, SyntheticOrc.Call(8)),
            (0x2005, new OrcEntry(OrcRegister.Sp, 0, OrcRegister.Undefined, 0, OrcType.Regs, true)),
            (0x2010, new OrcEntry(OrcRegister.Sp, -8, OrcRegister.Undefined, 0, OrcType.RegsPartial, true)),
            (0x2020, new OrcEntry(OrcRegister.Undefined, 0, OrcRegister.Undefined, 0, OrcType.End, false)),
            (0x2030, new OrcEntry(OrcRegister.SpIndirect, 0, OrcRegister.Undefined, 0, OrcType.Call, false)),
            (0x2040, new OrcEntry(OrcRegister.R10, 0, OrcRegister.BpIndirect, -8, OrcType.Call, false)),
            (0x9000, SyntheticOrc.Gap),
        ];
        foreach ((ulong offset, OrcEntry expected) in cases)
        {
            Assert.True(table.TryFind(Text + offset, out OrcEntry found));
            Assert.Equal(expected, found);
        }

        Assert.False(table.TryFind(Text - 1, out _));
        Assert.False(table.TryFind(0, out _));
    }

    [Theory]
    [MemberData(nameof(Versions))]
    public void Stored_bytes_are_good_at_another_kaslr_base(OrcVersion version)
    {
        const ulong slide = 0x1a00_0000;
        OrcTable table = Table(version);
        Assert.True(OrcTable.TryOpen(table.IpSection, table.RowSection, Ips + slide, version, out OrcTable moved, out _));
        Assert.True(moved.TryFind(Text + slide + 2, out OrcEntry entry));
        Assert.Equal(SyntheticOrc.Call(16), entry);
        Assert.Equal(Text + slide, moved.InstructionAt(0));
        Assert.Equal(Text + slide + 1, table.At(Ips + slide).InstructionAt(1));
        Assert.False(moved.TryFind(Text, out _));
    }

    [Fact]
    public void Of_rows_at_one_address_the_last_counts()
    {
        // Section terminators are weak and sort before the real entry of the same address (orc_sort_cmp, arch/x86/kernel/unwind_orc.c).
        SyntheticOrc orc = new SyntheticOrc(Ips, OrcVersion.V3).Add(Text, SyntheticOrc.Call(8)).Add(Text + 16, SyntheticOrc.Gap).Add(Text + 16, SyntheticOrc.Call(24));
        Assert.True(OrcTable.TryCreate(orc.BuildIps(), orc.BuildRows(), Ips, OrcVersion.V3, FormatLimits.Default, out OrcTable table, out _));
        Assert.True(table.TryFind(Text + 16, out OrcEntry entry));
        Assert.Equal(24, entry.SpOffset);
    }

    [Fact]
    public void Old_rows_that_do_not_tell_the_two_old_versions_apart_are_read_as_the_first()
    {
        SyntheticOrc orc = new SyntheticOrc(Ips, OrcVersion.V2).Add(Text, SyntheticOrc.Call(8)).Add(Text + 4, SyntheticOrc.Call(16));
        Assert.True(OrcFormat.TryDetect(orc.BuildRows(), out OrcVersion version, out _));
        Assert.Equal(OrcVersion.V1, version);
    }

    [Fact]
    public void Bytes_that_are_no_rows_have_no_version()
    {
        byte[] random = new byte[6000];
        new Random(5).NextBytes(random);
        foreach (byte[] rows in (byte[][])[[], new byte[5], new byte[600], random, [.. Enumerable.Repeat((byte)0xff, 600)]])
        {
            Assert.False(OrcFormat.TryDetect(rows, out _, out string whyNot));
            Assert.NotEmpty(whyNot);
        }

        byte[] v3 = Kernel(OrcVersion.V3).BuildRows();
        byte[] v1 = Kernel(OrcVersion.V1).BuildRows();
        Assert.False(OrcFormat.TryDetect([.. v3, .. v1], out _, out _));
    }

    [Fact]
    public void Unsorted_short_or_oversized_tables_are_refused()
    {
        SyntheticOrc orc = Kernel(OrcVersion.V3);
        byte[] ips = orc.BuildIps();
        byte[] rows = orc.BuildRows();
        Refused(ips[..^4], rows, OrcVersion.V3, "belong together");
        Refused(ips[..^1], rows, OrcVersion.V3, "belong together");
        Refused(ips, rows[..^6], OrcVersion.V3, "belong together");
        Refused(ips, rows, (OrcVersion)5, "not known");
        Refused(ips, rows, 0, "not known");
        byte[] unsorted = [.. ips];
        unsorted[4 * 7 + 3] ^= 0x80;
        Refused(unsorted, rows, OrcVersion.V3, "out of order");
        byte[] far = [.. ips];
        BitConverter.TryWriteBytes(far.AsSpan(far.Length - 4), int.MaxValue);
        Refused(far, rows, OrcVersion.V3, "outside the address space");
        Assert.False(OrcTable.TryCreate(ips, rows, Ips, OrcVersion.V3, FormatLimits.Default with { MaxOrcRows = 10 }, out _, out string tooMany));
        Assert.Contains("more than the 10", tooMany, StringComparison.Ordinal);

        static void Refused(byte[] ips, byte[] rows, OrcVersion version, string expected)
        {
            Assert.False(OrcTable.TryCreate(ips, rows, Ips, version, FormatLimits.Default, out _, out string whyNot));
            Assert.Contains(expected, whyNot, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void An_empty_table_covers_nothing()
    {
        Assert.True(OrcTable.TryCreate(default, default, Ips, OrcVersion.V3, FormatLimits.Default, out OrcTable table, out _));
        Assert.False(table.TryFind(Text, out _));
    }

    [Fact]
    public void Numbers_that_a_version_does_not_have_decode_to_undefined()
    {
        byte[] row = [8, 0, 0, 0, 0xff, 0x07];
        Assert.Equal(new OrcEntry(OrcRegister.Undefined, 8, OrcRegister.Undefined, 0, OrcType.Undefined, false), OrcFormat.Decode(row, OrcVersion.V3));
        Assert.Equal(OrcType.Undefined, OrcFormat.Decode([8, 0, 0, 0, 0x05, 0x03], OrcVersion.V1).Type);
    }
}
