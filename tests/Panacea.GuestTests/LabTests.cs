using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using Panacea.Lab;
using Panacea.Lab.Guests;
using Panacea.Lab.Setup;
using Panacea.Lab.Workloads;

namespace Panacea.GuestTests;

/// <summary>The parts of the lab that need no guest.</summary>
public sealed class LabTests
{
    [Fact]
    public void The_newest_kernel_of_a_line_comes_first()
    {
        const string search = """
            linux-image-6.1.0-9-cloud-amd64-unsigned - Linux 6.1 for x86-64 cloud
            linux-image-6.12.9+deb12-cloud-amd64-unsigned - Linux 6.12 for x86-64 cloud
            linux-image-6.1.0-10-cloud-amd64-unsigned - Linux 6.1 for x86-64 cloud
            linux-image-6.12.100+deb12-cloud-amd64-unsigned - Linux 6.12 for x86-64 cloud
            linux-image-6.1.0-11-rt-amd64-unsigned - Linux 6.1 for 64-bit PCs (signed), PREEMPT_RT
            """;
        Assert.Equal(["6.1.0-10-cloud-amd64", "6.1.0-9-cloud-amd64"], KernelPackages.ReleasesIn(search, "6.1"));
        Assert.Equal(["6.12.100+deb12-cloud-amd64", "6.12.9+deb12-cloud-amd64"], KernelPackages.ReleasesIn(search, "6.12"));
        Assert.Empty(KernelPackages.ReleasesIn(search, "6.18"));
    }

    [Fact]
    public async Task The_archive_is_what_cpio_says_it_is()
    {
        byte[] archive = Archive();
        Assert.Equal(archive, Archive());
        string path = Path.GetTempFileName();
        await File.WriteAllBytesAsync(path, archive);
        string names = await HostCommand.MustAsync("busybox", ["cpio", "-t", "-F", path]);
        File.Delete(path);
        Assert.Equal(["a", "a/b", "a/b/file", "a/link", "a/tty"], names.TrimEnd('\n').Split('\n'));

        static byte[] Archive()
        {
            using var output = new MemoryStream();
            var cpio = new CpioWriter(output);
            cpio.AddFile("a/b/file", "hello"u8, true);
            cpio.AddLink("/a/link", "b/file");
            cpio.AddCharacterDevice("a/tty", 5, 0);
            cpio.Finish();
            return output.ToArray();
        }
    }

    [Fact]
    public void Intact_records_pass() => Assert.Empty(RecordLoad.Check(Records(5), 5));

    [Fact]
    public void A_cut_record_after_the_promised_ones_passes() => Assert.Empty(RecordLoad.Check(Records(6).AsSpan(..^1), 5));

    /// <summary>A guest rebooted at such a moment: the journal had the length of the file, the data was not written yet.</summary>
    [Fact]
    public void Zeros_pass_where_the_last_record_was_not_promised()
    {
        byte[] records = Records(6);
        records.AsSpan(5 * RecordLoad.RecordSize).Clear();
        Assert.Empty(RecordLoad.Check(records, 5));
        Assert.Equal(["record 6 is damaged"], RecordLoad.Check(records, 6));
        Assert.Equal(["record 6 is damaged"], RecordLoad.Check([.. records, .. Records(1)], 5).Take(1));
        records[^1] = 1;
        Assert.Equal(["record 6 is damaged"], RecordLoad.Check(records, 5));
    }

    [Fact]
    public void A_missing_record_is_seen() => Assert.Single(RecordLoad.Check(Records(4), 5));

    [Theory]
    [InlineData(0)]
    [InlineData(8)]
    [InlineData(30)]
    [InlineData(63)]
    public void A_damaged_byte_is_seen(int offset)
    {
        byte[] records = Records(5);
        records[(2 * RecordLoad.RecordSize) + offset] ^= 1;
        Assert.Equal(["record 3 is damaged"], RecordLoad.Check(records, 5));
    }

    [Fact]
    public void A_record_in_another_s_place_is_seen()
    {
        byte[] records = Records(5);
        records.AsSpan(0, RecordLoad.RecordSize).CopyTo(records.AsSpan(RecordLoad.RecordSize));
        Assert.Equal(["record 2 is damaged"], RecordLoad.Check(records, 5));
    }

    [Fact]
    public async Task A_program_that_fails_says_why()
    {
        LabException e = await Assert.ThrowsAsync<LabException>(() => HostCommand.MustAsync("ls", ["/no/such/file"]));
        Assert.Contains("/no/such/file", e.Message, StringComparison.Ordinal);
        e = await Assert.ThrowsAsync<LabException>(() => HostCommand.RunAsync("no-such-program", []));
        Assert.Contains("no-such-program is not installed", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_is_no_kernel_is_refused()
    {
        string path = Path.GetTempFileName();
        await File.WriteAllBytesAsync(path, Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{new string('x', 0x300)}")));
        LabException e = await Assert.ThrowsAsync<LabException>(() => KernelImage.ExtractAsync(path, path + ".out"));
        File.Delete(path);
        Assert.Contains("not a bootable x86 Linux image", e.Message, StringComparison.Ordinal);
    }

    /// <summary>Records as lab/guest/recorder.c writes them.</summary>
    private static byte[] Records(int count)
    {
        byte[] file = new byte[count * RecordLoad.RecordSize];
        for (int i = 0; i < count; i++)
        {
            Span<byte> record = file.AsSpan(i * RecordLoad.RecordSize, RecordLoad.RecordSize);
            "PNCA"u8.CopyTo(record);
            BinaryPrimitives.WriteUInt64LittleEndian(record[8..], (ulong)i + 1);
            ulong hash = 0xcbf29ce484222325;
            foreach (byte b in record[..56])
                hash = unchecked((hash ^ b) * 0x100000001b3);
            BinaryPrimitives.WriteUInt64LittleEndian(record[56..], hash);
        }

        return file;
    }
}
