using System.Buffers.Binary;
using System.Text;
using Panacea.Formats.Vmcore;
using Panacea.TestKit.Dumps;
using Panacea.TestKit.Memory;

namespace Panacea.Formats.Tests.Vmcore;

public sealed class ElfCoreTests
{
    private static readonly byte[] Notes = new DumpNotes().AddStatus(7, 100).AddStatus(9, 200).AddQemu(1000, [1, 2, 3, 4, 5], 6, 7, 8).AddQemu(2000, [11, 12, 13, 14, 15], kernelGsBase: null)
        .AddVmcoreInfo("OSRELEASE=6.1\n").Build();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Segments_and_notes_are_read(bool extendedNumbering)
    {
        SparsePhysicalMemory memory = DumpMemories.Make(1);
        byte[] file = ElfCoreBytes.Write(memory, Notes, extendedNumbering);
        ElfCore core = Read(file);
        Assert.Equal([new(0, 40 * 4096), new(0x10_0000, 24 * 4096)], core.Ranges);
        Assert.Equal(core.Ranges.Select(r => (r.Start, r.Length)), core.Extents.Select(e => (e.Physical, e.Length)));
        Assert.Empty(core.Missing);
        Assert.Equal([7u, 9u], core.Notes.Status.Select(s => s.Pid));
        Assert.Equal((100UL, 110UL, 116UL, 119UL, 122UL), (
            core.Notes.Status[0][UserRegister.R15], core.Notes.Status[0][UserRegister.Rax], core.Notes.Status[0][UserRegister.Rip], core.Notes.Status[0][UserRegister.Rsp],
            core.Notes.Status[0][UserRegister.GsBase]));
        QemuCpuNote first = core.Notes.Qemu[0], second = core.Notes.Qemu[1];
        Assert.Equal((1000UL, 1001UL, 1006UL, 1016UL, 1017UL), (first[QemuRegister.Rax], first[QemuRegister.Rbx], first[QemuRegister.Rsp], first[QemuRegister.Rip], first[QemuRegister.Rflags]));
        Assert.Equal((6UL, 7UL, 1UL, 4UL, 5UL, 8UL), (first.Base(QemuSegment.Gs), first.Base(QemuSegment.Idt), first.Control(0), first.Control(3), first.Control(4), first.KernelGsBase!.Value));
        Assert.Null(second.KernelGsBase);
        Assert.Equal("OSRELEASE=6.1\n", Encoding.ASCII.GetString(core.Notes.VmcoreInfo!.Value.Span));
        byte[] page = new byte[4096], want = new byte[4096];
        file.AsSpan((int)core.Extents[1].Offset, 4096).CopyTo(page);
        Assert.True(memory.TryRead(new(0x10_0000), want, out _));
        Assert.Equal(want, page);
    }

    /// <summary>The crash kernel writes the kernel's text as a segment of its own, and again in the RAM around it; QEMU one segment a mapping.</summary>
    [Fact]
    public void Segments_that_overlap_are_one_memory()
    {
        byte[] low = new byte[0x3000], text = new byte[0x1000], later = new byte[0x2000];
        ElfCore core = Read(ElfCoreBytes.Write([new(0x1000, text, 0x1000), new(0, low, 0x3000), new(0x2000, later, 0x2000), new(0x8000, [], 0x1000), new(0xffff_ffff_ffff_ffff, text, 0x1000)], Notes));
        Assert.Equal([new(0, 0x4000), new(0x8000, 0x1000)], core.Ranges);
        Assert.Equal([(0UL, 0x3000UL), (0x3000, 0x1000)], core.Extents.Select(e => (e.Physical, e.Length)));
        Assert.Contains("4 KiB of 20 KiB of memory were left out", Assert.Single(core.Missing));
    }

    [Fact]
    public void What_a_truncated_file_lacks_is_named()
    {
        byte[] file = ElfCoreBytes.Write(DumpMemories.Make(2), Notes);
        ElfCore core = Read(file[..^(30 * 4096)]);
        Assert.Equal(64 * 4096, core.Extents.Sum(e => (long)e.Length));
        Assert.Contains("truncated: 120 KiB of 256 KiB", Assert.Single(core.Missing));
        core = Read(file[..(64 + (3 * 56) + 400)]);
        Assert.Single(core.Notes.Status);
        Assert.Contains(core.Missing, m => m.Contains("ends in its notes"));
        Assert.False(ElfCore.TryRead(new MemoryDumpBytes(file[..(64 + 60)]), FormatLimits.Default, out _, out string whyNot));
        Assert.Equal("it has no memory in it", whyNot);
    }

    [Fact]
    public void An_incomplete_dump_is_named()
    {
        byte[] file = ElfCoreBytes.Write(DumpMemories.Make(3), Notes);
        file[48] = 1;
        Assert.Contains("incomplete", Assert.Single(Read(file).Missing));
    }

    [Theory]
    [InlineData(4, 1, "32-bit")]
    [InlineData(5, 2, "x86-64")]
    [InlineData(18, 183, "x86-64")]
    [InlineData(16, 2, "not a core")]
    [InlineData(54, 32, "32 bytes long")]
    public void Another_file_is_refused(int offset, byte value, string says)
    {
        byte[] file = ElfCoreBytes.Write(DumpMemories.Make(4), Notes);
        file[offset] = value;
        Assert.False(ElfCore.TryRead(new MemoryDumpBytes(file), FormatLimits.Default, out _, out string whyNot));
        Assert.Contains(says, whyNot);
    }

    [Fact]
    public void Counts_beyond_the_limits_are_refused_or_cut()
    {
        byte[] file = ElfCoreBytes.Write(DumpMemories.Make(5), Notes, extendedNumbering: true);
        BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(64 + (3 * 56) + 44), uint.MaxValue);
        Assert.False(ElfCore.TryRead(new MemoryDumpBytes(file), FormatLimits.Default, out _, out string whyNot));
        Assert.Contains("4294967295 segments", whyNot);
        file = ElfCoreBytes.Write([.. Enumerable.Range(0, 10).Select(i => new ElfCoreSegment((ulong)i * 0x2000, new byte[16], 0x1000))], Notes);
        Assert.True(ElfCore.TryRead(new MemoryDumpBytes(file), FormatLimits.Default with { MaxMemoryRanges = 4, MaxDumpNotes = 2 }, out ElfCore core, out _));
        Assert.Equal(4, core.Ranges.Count);
        Assert.Contains(core.Missing, m => m.Contains("more than 4 separate ranges"));
        Assert.Contains(core.Missing, m => m.Contains("more than 2 notes"));
    }

    /// <summary>Every number of a program header, impossible in every way.</summary>
    [Fact]
    public void Hostile_segments_are_left_out_or_cut_to_the_file()
    {
        ulong[] hostile = [0, 1, 0x7fff_ffff_ffff_ffff, 0x8000_0000_0000_0000, ulong.MaxValue, ulong.MaxValue - 4095, 1UL << 52, (1UL << 52) - 1];
        byte[] good = ElfCoreBytes.Write(DumpMemories.Make(6), Notes);
        for (int header = 0; header < 3; header++)
        {
            foreach (int field in (int[])[8, 24, 32, 40])
            {
                foreach (ulong value in hostile)
                {
                    byte[] file = [.. good];
                    BinaryPrimitives.WriteUInt64LittleEndian(file.AsSpan(64 + (56 * header) + field), value);
                    DumpFuzzTargets.Elf(file);
                }
            }
        }

        foreach (ulong value in hostile)
        {
            foreach (int field in (int[])[32, 40])
            {
                byte[] file = [.. good];
                BinaryPrimitives.WriteUInt64LittleEndian(file.AsSpan(field), value);
                DumpFuzzTargets.Elf(file);
                file[56] = file[57] = 0xff;
                DumpFuzzTargets.Elf(file);
            }
        }
    }

    [Fact]
    public void A_malformed_note_ends_the_notes_and_is_named()
    {
        byte[] notes = [.. new DumpNotes().AddStatus(1, 1).Build(), 5, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f, 1, 0, 0, 0, (byte)'C', 0, 0, 0, 0, 0, 0, 0];
        VmcoreNotes read = VmcoreNotes.Parse(notes, FormatLimits.Default);
        Assert.Single(read.Status);
        Assert.Contains("malformed", Assert.Single(read.Missing));
        read = VmcoreNotes.Parse(new DumpNotes().AddQemu(1, [1]).Add("QEMU", 0, new byte[440]).Add("CORE", 1, new byte[144]).Build(), FormatLimits.Default);
        Assert.Empty(read.Qemu);
        Assert.Equal(2, read.Missing.Count);
    }

    private static ElfCore Read(byte[] file)
    {
        Assert.True(ElfCore.TryRead(new MemoryDumpBytes(file), FormatLimits.Default, out ElfCore core, out string whyNot), whyNot);
        return core;
    }
}
