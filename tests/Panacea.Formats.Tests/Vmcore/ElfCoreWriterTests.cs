using System.Text;
using Panacea.Formats.Vmcore;

namespace Panacea.Formats.Tests.Vmcore;

/// <summary>What is written is read back by our own reader, whose oracles are the dumps of QEMU and makedumpfile.</summary>
public sealed class ElfCoreWriterTests
{
    private const ulong DirectMap = 0xffff_8880_0000_0000;

    [Fact]
    public void What_is_written_is_read_back()
    {
        CoreSegment[] segments = [new(0, 0x3000, 0x5000), new(0x8000, 0, 0x2000), new(0xa000, 0x1000, 0x1000)];
        var first = new CoreRegisters { [UserRegister.Rip] = 0xffff_ffff_8100_0000, [UserRegister.Rax] = 1, [UserRegister.Rsp] = 2, [UserRegister.R15] = 3, [UserRegister.Cs] = 0x10, [UserRegister.GsBase] = 0x77, KernelGsBase = 9 };
        var second = new CoreRegisters { [UserRegister.Rip] = 5 };
        first.SetControl(1, 2, 3, 4);
        second.SetControl(11, 12, 13, 14);
        byte[] notes = new CoreNotes().AddCpus([first, second]).AddVmcoreInfo("OSRELEASE=6.1\nX=1\n").Build();
        (ElfCore core, byte[] file, ElfCoreWriter writer) = Write(segments, notes);
        Assert.False(writer.IsExtended);
        Assert.Equal([new(0, 0x5000), new(0x8000, 0x3000)], core.Ranges);
        Assert.Equal([new(0, 0x3000, (ulong)writer.MemoryOffset), new(0xa000, 0x1000, (ulong)writer.MemoryOffset + 0x3000)], core.Extents);
        Assert.Contains("16 KiB of 32 KiB of memory were left out", Assert.Single(core.Missing));
        Assert.Equal([1u, 2u], core.Notes.Status.Select(s => s.Pid));
        PrStatusNote status = core.Notes.Status[0];
        Assert.Equal((0xffff_ffff_8100_0000, 1UL, 2UL, 3UL, 0x10UL), (status[UserRegister.Rip], status[UserRegister.Rax], status[UserRegister.Rsp], status[UserRegister.R15], status[UserRegister.Cs]));
        QemuCpuNote qemu = core.Notes.Qemu[0];
        Assert.Equal(
            (0xffff_ffff_8100_0000, 1UL, 3UL, (ushort)0x10, 0x77UL, 1UL, 2UL, 3UL, 4UL, 9UL),
            (qemu[QemuRegister.Rip], qemu[QemuRegister.Rax], qemu[QemuRegister.R15], qemu.Selector(QemuSegment.Cs), qemu.Base(QemuSegment.Gs), qemu.Control(0), qemu.Control(2), qemu.Control(3), qemu.Control(4), qemu.KernelGsBase));
        Assert.Null(core.Notes.Qemu[1].KernelGsBase);
        Assert.Equal("OSRELEASE=6.1\nX=1\n", Encoding.ASCII.GetString(core.Notes.VmcoreInfo!.Value.Span));

        // The second program header is the first run of memory; its virtual address is that of the direct map.
        Assert.Equal(DirectMap + 0x8000, BitConverter.ToUInt64(file, 64 + (2 * 56) + 16));
        Assert.Equal(0, writer.MemoryOffset % 4096);
        Assert.Equal(writer.Length, file.Length);
    }

    [Fact]
    public void Registers_without_control_registers_have_no_note_of_qemus()
    {
        var known = new CoreRegisters();
        known.SetControl(1, 2, 3, 4);
        (ElfCore core, _, _) = Write([new(0, 4096, 4096)], new CoreNotes().AddCpus([known, new CoreRegisters()]).Build());
        Assert.Equal(2, core.Notes.Status.Count);
        Assert.Empty(core.Notes.Qemu);
        Assert.Null(core.Notes.VmcoreInfo);
    }

    /// <summary>65534 runs and the notes are the last that e_phnum holds not: PN_XNUM itself means that the number is elsewhere.</summary>
    [Theory]
    [InlineData(65_533, false)]
    [InlineData(65_534, true)]
    [InlineData(70_000, true)]
    public void Any_number_of_runs_is_counted(int count, bool extended)
    {
        CoreSegment[] segments = [.. Enumerable.Range(0, count).Select(i => new CoreSegment((ulong)i * 0x2000, (ulong)(i % 2), 0x1000))];
        (ElfCore core, _, ElfCoreWriter writer) = Write(segments, new CoreNotes().AddVmcoreInfo("OSRELEASE=6.1\n").Build());
        Assert.Equal(extended, writer.IsExtended);
        Assert.Equal(count / 2, core.Extents.Count);
        Assert.Equal(((ulong)(count - (count % 2 == 0 ? 1 : 2)) * 0x2000, 1UL, (ulong)writer.MemoryOffset + (ulong)(count / 2) - 1), (core.Extents[^1].Physical, core.Extents[^1].Length, core.Extents[^1].Offset));
        Assert.NotNull(core.Notes.VmcoreInfo);
    }

    [Theory]
    [InlineData(0x1000UL, 0x1000UL, 0UL)]
    [InlineData(0x1000UL, 0x2000UL, 0x1000UL)]
    [InlineData(0UL, 0x1000UL, 0x1000UL)]
    [InlineData(ulong.MaxValue, 1UL, 2UL)]
    public void Runs_that_make_no_sense_are_refused(ulong physical, ulong file, ulong memory) =>
        Assert.Throws<ArgumentException>(() => new ElfCoreWriter([new(0, 0x800, 0x800), new(physical, file, memory)], ReadOnlyMemory<byte>.Empty, DirectMap));

    private static (ElfCore Core, byte[] File, ElfCoreWriter Writer) Write(IReadOnlyList<CoreSegment> segments, byte[] notes)
    {
        var writer = new ElfCoreWriter(segments, notes, DirectMap);
        byte[] file = [.. writer.Head(), .. new byte[writer.Length - writer.MemoryOffset]];
        Assert.True(ElfCore.TryRead(new MemoryDumpBytes(file), FormatLimits.Default, out ElfCore core, out string whyNot), whyNot);
        return (core, file, writer);
    }
}
