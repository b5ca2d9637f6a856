using System.Text;
using Panacea.Formats.Vmcore;
using Panacea.TestKit.Dumps;

namespace Panacea.Formats.Tests.Vmcore;

/// <summary>What a person may take for a dump is refused with a sentence that says what it is.</summary>
public sealed class OtherFilesTests
{
    [Theory]
    [InlineData(0, "QEVM\0\0\0\u0003", "QEMU migration stream.*--memory-only")]
    [InlineData(0, "LibvirtQemudSave\u0002", "libvirt saved.*virsh restore.*--memory-only")]
    [InlineData(0, "LibvirtQemudPart\u0002", "did not finish.*--memory-only")]
    [InlineData(0, "\u00d2\u00be\u00d2\u00be", "VMware.*vmss2core")]
    [InlineData(0, "\u00d1\u00ba\u00d1\u00ba", "VMware.*vmem")]
    [InlineData(0, "\u001f\u008b\u0008", "gzip; unpack it first")]
    [InlineData(0, "\u00fd7zXZ\0", "xz; unpack it first")]
    [InlineData(0, "(\u00b5/\u00fd", "zstd; unpack it first")]
    [InlineData(0, "\u0004\"M\u0018", "lz4; unpack it first")]
    [InlineData(0, "QFI\u00fb", "qcow2.*of memory")]
    [InlineData(0, "KDMV", "VMDK.*of memory")]
    [InlineData(0, "# Disk DescriptorFile\nversion=1\n", "VMDK")]
    [InlineData(512, "EFI PART", "partitioned disk.*of memory")]
    [InlineData(257, "ustar", "tar archive")]
    [InlineData(0x8001, "CD001", "a CD")]
    public void By_its_mark(int at, string mark, string says)
    {
        byte[] file = new byte[8 << 20];
        Encoding.Latin1.GetBytes(mark, file.AsSpan(at));
        Assert.False(DumpDetector.TryDetect(new MemoryDumpBytes(file), out _, out string whyNot));
        Assert.Matches(says, whyNot);
        Assert.True(DumpDetector.IsMarked(file));

        // Half of the mark is none.
        Assert.True(DumpDetector.TryDetect(new MemoryDumpBytes((byte[])[.. file[..at], 0, .. file[(at + 1)..]]), out DumpKind kind, out whyNot), whyNot);
        Assert.Equal(DumpKind.Raw, kind);
        Assert.False(DumpDetector.IsMarked(Encoding.Latin1.GetBytes(mark)[..1]));
    }

    [Fact]
    public void A_partition_table_makes_a_disk_and_a_signature_alone_does_not()
    {
        byte[] file = new byte[8 << 20];
        (file[510], file[511]) = (0x55, 0xaa);
        Assert.True(DumpDetector.TryDetect(new MemoryDumpBytes(file), out _, out _));
        (file[446], file[446 + 4], file[446 + 12]) = (0x80, 0x83, 1);
        Assert.False(DumpDetector.TryDetect(new MemoryDumpBytes(file), out _, out string whyNot));
        Assert.Contains("partitioned disk", whyNot);
        file[462] = 7;
        Assert.True(DumpDetector.TryDetect(new MemoryDumpBytes(file), out _, out _));
    }

    [Fact]
    public void A_superblock_of_ext4_makes_a_disk_and_its_magic_alone_does_not()
    {
        byte[] file = new byte[8 << 20];
        (file[0x438], file[0x439], file[0x44c]) = (0x53, 0xef, 1);
        Assert.False(DumpDetector.TryDetect(new MemoryDumpBytes(file), out _, out string whyNot));
        Assert.Contains("ext4", whyNot);
        file[0x44c] = 9;
        Assert.True(DumpDetector.TryDetect(new MemoryDumpBytes(file), out _, out _));
    }

    [Fact]
    public void A_dump_is_marked_and_a_log_is_not()
    {
        Assert.True(DumpDetector.IsMarked(ElfCoreBytes.Write(DumpMemories.Make(1), [])));
        Assert.True(DumpDetector.IsMarked("KDUMP   "u8));
        Assert.False(DumpDetector.IsMarked("[    0.000000] Linux version 6.1.0\n"u8));
        Assert.False(DumpDetector.IsMarked([]));
    }

    [Fact]
    public void The_core_of_a_process_is_refused()
    {
        byte[] file = ElfCoreBytes.Write(DumpMemories.Make(1), new DumpNotes().AddStatus(7, 100).Add("CORE", 6, new byte[32]).Build());
        Assert.False(ElfCore.TryRead(new MemoryDumpBytes(file), FormatLimits.Default, out _, out string whyNot));
        Assert.Contains("the core of a process", whyNot);
    }
}
