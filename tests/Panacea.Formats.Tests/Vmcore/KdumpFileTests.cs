using System.Buffers.Binary;
using System.Text;
using Panacea.Formats.Vmcore;
using Panacea.Target;
using Panacea.TestKit.Dumps;
using Panacea.TestKit.Memory;

namespace Panacea.Formats.Tests.Vmcore;

public sealed class KdumpFileTests
{
    private const int Descriptors = 4 * 4096;
    private static readonly byte[] Notes = new DumpNotes().AddStatus(7, 100).AddVmcoreInfo("OSRELEASE=6.1\n").Build();

    public static TheoryData<PageCompression, int> Variants
    {
        get
        {
            var data = new TheoryData<PageCompression, int>();
            foreach (PageCompression compression in Enum.GetValues<PageCompression>())
            {
                for (int version = 1; version <= 6; version++)
                    data.Add(compression, version);
            }

            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Variants))]
    public void Every_page_is_what_was_dumped(PageCompression compression, int version)
    {
        SparsePhysicalMemory memory = DumpMemories.Make(version);
        KdumpFile dump = Open(KdumpWriter.Write(memory, new() { Compression = compression, Version = version, Notes = Notes, VmcoreInfo = "OSRELEASE=6.1\n" }));
        AssertSame(memory, dump);
        Assert.Equal(memory.Ranges.Select(r => (r.Start.Value, r.Length)), dump.Ranges.Select(r => (r.Start, r.Length)));
        Assert.Empty(dump.Missing);
        Assert.Equal(version >= 4 ? 1 : 0, dump.Notes.Status.Count);
        Assert.Equal(version >= 3 ? "OSRELEASE=6.1\n" : "", Encoding.ASCII.GetString((dump.Notes.VmcoreInfo ?? default).Span));
        Assert.Equal(version, dump.Header.Version);
    }

    [Fact]
    public void Pages_outside_ram_filtered_and_read_are_told_apart()
    {
        SparsePhysicalMemory memory = DumpMemories.Make(11);
        KdumpFile dump = Open(KdumpWriter.Write(memory, new() { Level = 31, IsFiltered = page => page % 3 == 1 }));
        byte[] page = new byte[4096];
        Assert.Equal(DumpPage.LeftOut, dump.ReadPage(1, page));
        Assert.Equal(DumpPage.Read, dump.ReadPage(2, page));
        Assert.Equal(DumpPage.NotRam, dump.ReadPage(41, page));
        Assert.Equal(DumpPage.NotRam, dump.ReadPage(ulong.MaxValue, page));
        AssertSame(memory, dump, page => page % 3 != 1);
        Assert.Equal(40 * 4096UL, dump.Ranges[0].Length);
    }

    /// <summary>A dump of a large machine: the rank of a page in its bitmap goes over several chunks.</summary>
    [Fact]
    public void Pages_are_found_far_into_a_large_bitmap()
    {
        var memory = new SparsePhysicalMemory(new PhysicalRange(new(0), 3 * 4096), new PhysicalRange(new(0x1_0000_0000), 5 * 4096), new PhysicalRange(new(0x3_4567_8000), 2 * 4096));
        for (ulong i = 0; i < 5; i++)
            memory.Write(0x1_0000_0000 + (i * 4096), (byte)(i + 1));
        memory.Write(0x3_4567_9000, 99);
        KdumpFile dump = Open(KdumpWriter.Write(memory, new()));
        byte[] page = new byte[4096];
        Assert.Equal(DumpPage.Read, dump.ReadPage(0x3_4567_9, page));
        Assert.Equal(99, page[0]);
        AssertSame(memory, dump);
        Assert.Equal(memory.Ranges.Select(r => (r.Start.Value, r.Length)), dump.Ranges.Select(r => (r.Start, r.Length)));
    }

    [Fact]
    public void The_files_of_a_split_dump_are_one_dump_in_any_order()
    {
        SparsePhysicalMemory memory = DumpMemories.Make(12);
        byte[][] files = KdumpWriter.Write(memory, new() { Files = 4, Notes = Notes, IsFiltered = page => page % 5 == 2 });
        KdumpFile dump = Open([files[2], files[0], files[3], files[1]]);
        AssertSame(memory, dump, page => page % 5 != 2);
        Assert.Empty(dump.Missing);
        Assert.Single(dump.Notes.Status);
    }

    [Fact]
    public void A_file_of_a_split_dump_that_is_not_given_is_named()
    {
        SparsePhysicalMemory memory = DumpMemories.Make(13);
        byte[][] files = KdumpWriter.Write(memory, new() { Files = 3 });
        KdumpFile dump = Open([files[2], files[0]]);
        ulong pages = (ulong)dump.Header.Pages, part = (pages + 2) / 3;
        AssertSame(memory, dump, page => page < part || page >= 2 * part);
        Assert.Contains($"0x{part * 4096:x} to 0x{2 * part * 4096:x}", Assert.Single(dump.Missing));
        byte[] page = new byte[4096];
        Assert.Equal(DumpPage.NotRam, dump.ReadPage(part + 1, page));
        Assert.Equal(DumpPage.Missing, Open([files[1]]).ReadPage(0, page));
    }

    [Fact]
    public void Files_that_do_not_belong_together_are_refused()
    {
        SparsePhysicalMemory memory = DumpMemories.Make(14);
        byte[][] files = KdumpWriter.Write(memory, new() { Files = 2 }), others = KdumpWriter.Write(memory, new() { Files = 2, Timestamp = 5 });
        Assert.Contains("not of one dump", WhyNot([files[0], others[1]]));
        Assert.Contains("given twice", WhyNot([files[0], files[0]]));
        Assert.Contains("whole dump by itself", WhyNot([files[0], KdumpWriter.Write(memory, new())[0]]));
    }

    /// <summary>A stream that asks for a dictionary is neither data nor an end to zlib.</summary>
    [Fact]
    public void A_page_that_asks_for_a_dictionary_is_damaged() =>
        Assert.False(PageUnpacker.TryUnpack(PageCompression.Zlib, new byte[] { 0x78, 0x20, 1, 2, 3, 4, 5, 6, 7, 8 }, new byte[4096]));

    [Fact]
    public void Pages_behind_the_last_one_are_in_no_part()
    {
        SparsePhysicalMemory memory = DumpMemories.Make(14);
        byte[][] files = KdumpWriter.Write(memory, new() { Files = 2 });
        Set(files[1], end: long.MaxValue);
        AssertSame(memory, Open(files));
        Set(files[1], first: long.MaxValue - 5);
        Assert.Contains("it says that it has the pages", WhyNot(files));
        Assert.Contains("it says that it has the pages", WhyNot([files[1]]));

        static void Set(byte[] file, long? first = null, long? end = null)
        {
            foreach (int at in (int[])[4096 + 16, 4096 + 80])
            {
                if (first is { } f)
                    BitConverter.TryWriteBytes(file.AsSpan(at), f);
                if (end is { } e)
                    BitConverter.TryWriteBytes(file.AsSpan(at + 8), e);
            }
        }
    }

    [Fact]
    public void A_truncated_dump_gives_what_it_holds_and_says_so()
    {
        SparsePhysicalMemory memory = DumpMemories.Make(15);
        byte[] file = KdumpWriter.Write(memory, new() { Compression = PageCompression.None })[0];
        KdumpFile dump = Open([file[..^20000]]);
        Assert.Contains("truncated", Assert.Single(dump.Missing));
        byte[] page = new byte[4096];
        Assert.Equal(DumpPage.Missing, dump.ReadPage((ulong)LastWritten(memory), page));
        AssertSame(memory, dump, p => p < 30);

        // Within the descriptors, and within the bitmaps.
        dump = Open([file[..(Descriptors + 30)]]);
        Assert.Contains("truncated", Assert.Single(dump.Missing));
        Assert.Equal(DumpPage.Missing, dump.ReadPage(5, page));
        dump = Open([file[..((3 * 4096) + 2)]]);
        Assert.Contains("bitmaps", Assert.Single(dump.Missing));
        Assert.Equal(DumpPage.Missing, dump.ReadPage(0, page));
        Assert.Contains("cut off", WhyNot([file[..300]]));
        Assert.Contains("cut off", WhyNot([file[..5000][..4150]]));
    }

    [Fact]
    public void An_incomplete_dump_has_holes_for_descriptors()
    {
        byte[] file = KdumpWriter.Write(DumpMemories.Make(16), new())[0];
        file[424] |= 8;
        file.AsSpan(Descriptors + (24 * 10), 24).Clear();
        KdumpFile dump = Open([file]);
        Assert.Contains("incomplete", Assert.Single(dump.Missing));
        Assert.Equal(DumpPage.Missing, dump.ReadPage(10, new byte[4096]));
    }

    [Theory]
    [InlineData(PageCompression.Zlib)]
    [InlineData(PageCompression.Lzo)]
    [InlineData(PageCompression.Snappy)]
    [InlineData(PageCompression.Zstd)]
    public void A_page_that_does_not_unpack_is_damaged_and_no_other(PageCompression compression)
    {
        var memory = new SparsePhysicalMemory(8 * 4096);
        for (ulong i = 0; i < 8; i++)
            memory.Write(i * 4096, [.. Enumerable.Repeat((byte)(i + 1), 4000)]);
        byte[] file = KdumpWriter.Write(memory, new() { Compression = compression })[0];
        Span<byte> descriptor = file.AsSpan(Descriptors + (24 * 3));
        int data = (int)BinaryPrimitives.ReadUInt64LittleEndian(descriptor), size = BinaryPrimitives.ReadInt32LittleEndian(descriptor[8..]);
        file.AsSpan(data, size).Fill(0xee);
        KdumpFile dump = Open([file]);
        byte[] page = new byte[4096];
        Assert.Equal(DumpPage.Damaged, dump.ReadPage(3, page));
        AssertSame(memory, dump, p => p != 3);
        foreach ((int at, uint value) in ((int, uint)[])[(8, 0), (8, 0xffff_ffff), (12, 0x40), (12, 3), (8, (uint)size - 6)])
        {
            byte[] changed = KdumpWriter.Write(memory, new() { Compression = compression })[0];
            BinaryPrimitives.WriteUInt32LittleEndian(changed.AsSpan(Descriptors + (24 * 3) + at), value);
            Assert.Equal(DumpPage.Damaged, Open([changed]).ReadPage(3, page));
        }
    }

    [Theory]
    [InlineData(428, 8192, "no sense")]
    [InlineData(428, 0, "no sense")]
    [InlineData(428, -1, "no sense")]
    [InlineData(432, -1, "no sense")]
    [InlineData(432, int.MaxValue, "no sense")]
    [InlineData(436, 0, "too short")]
    [InlineData(8, -1, "no sense")]
    [InlineData(272, 0x36353433, "not of an x86-64")]
    [InlineData(4192, 0, "")]
    [InlineData(4196, int.MaxValue, "more than a system can have")]
    [InlineData(4196, -1, "more than a system can have")]
    public void Hostile_headers_are_refused(int offset, int value, string says)
    {
        byte[] file = KdumpWriter.Write(DumpMemories.Make(17), new())[0];
        BinaryPrimitives.WriteInt32LittleEndian(file.AsSpan(offset), value);
        if (says.Length > 0)
            Assert.Contains(says, WhyNot([file]));
        else
            Open([file]);
    }

    /// <summary>Offsets and sizes of notes and VMCOREINFO, impossible in every way.</summary>
    [Fact]
    public void Hostile_ranges_of_notes_are_left_out()
    {
        foreach (int field in (int[])[32, 40, 48, 56])
        {
            foreach (ulong value in (ulong[])[1, 0x7fff_ffff_ffff_ffff, 0x8000_0000_0000_0000, ulong.MaxValue, 1 << 30, 20 << 20])
            {
                byte[] file = KdumpWriter.Write(DumpMemories.Make(18), new() { Notes = Notes, VmcoreInfo = "OSRELEASE=6\n" })[0];
                BinaryPrimitives.WriteUInt64LittleEndian(file.AsSpan(4096 + field), value);
                Assert.Equal(DumpPage.Read, Open([file]).ReadPage(0, new byte[4096]));
            }
        }
    }

    private static void AssertSame(IGuestMemory memory, KdumpFile dump, Func<ulong, bool>? which = null)
    {
        byte[] want = new byte[4096], got = new byte[4096];
        foreach (PhysicalRange range in memory.Ranges)
        {
            for (ulong page = range.Start.Value / 4096; page < range.End.Value / 4096; page++)
            {
                if (which is not null && !which(page))
                    continue;
                Assert.True(memory.TryRead(new PhysicalAddress(page * 4096), want, out _));
                Assert.Equal((page, DumpPage.Read), (page, dump.ReadPage(page, got)));
                Assert.True(want.AsSpan().SequenceEqual(got), $"page {page} differs");
            }
        }
    }

    private static long LastWritten(SparsePhysicalMemory memory)
    {
        byte[] page = new byte[4096];
        ulong last = memory.Ranges[^1].End.Value / 4096 - 1;
        while (memory.TryRead(new PhysicalAddress(last * 4096), page, out _) && !page.AsSpan().ContainsAnyExcept((byte)0))
            last--;
        return (long)last;
    }

    private static KdumpFile Open(byte[][] files)
    {
        Assert.True(KdumpFile.TryOpen([.. files.Select(f => new MemoryDumpBytes(f))], FormatLimits.Default, out KdumpFile dump, out string whyNot), whyNot);
        return dump;
    }

    private static string WhyNot(byte[][] files)
    {
        Assert.False(KdumpFile.TryOpen([.. files.Select(f => new MemoryDumpBytes(f))], FormatLimits.Default, out _, out string whyNot));
        return whyNot;
    }
}
