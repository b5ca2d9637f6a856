using System.Buffers.Binary;
using System.IO.Hashing;
using Panacea.Kernel.Image;
using Panacea.TestKit;

namespace Panacea.Kernel.Tests.Image;

public sealed class ImageContainerTests : IDisposable
{
    private const int Header = 32, Entry = 48;
    private readonly TemporaryDirectory _directory = new();
    private readonly List<ImageContainer.Section> _sections;

    public ImageContainerTests()
    {
        byte[] noise = new byte[5003], text = new byte[9001], words = new byte[4002];
        new Random(1).NextBytes(noise);
        new Random(2).NextBytes(words);
        for (int i = 0; i < text.Length; i++)
            text[i] = (byte)(i % 7 == 0 ? 0xe8 : i % 251);
        _sections =
        [
            new(ImageSection.Meta, 0, "{}"u8.ToArray()), new(ImageSection.Text, 0, text), new(ImageSection.Btf, 0, noise), new(ImageSection.TrapTable, 0, Array.Empty<byte>()),
            new(ImageSection.OrcIps, 0, words), new(ImageSection.OrcRows, 0, words), new(ImageSection.Symbols1, 1, words), new(ImageSection.Symbols3, 1, noise),
        ];
    }

    private string File => _directory.File("kernel.rimg");

    [Theory]
    [InlineData(null)]
    [InlineData(1)]
    [InlineData(9)]
    public void What_was_written_is_read_back(int? level)
    {
        long length = ImageContainer.Write(File, _sections, level);
        Assert.Equal(length, new FileInfo(File).Length);
        using FileStream stream = System.IO.File.OpenRead(File);
        IReadOnlyList<ImageContainer.Entry> entries = ImageContainer.ReadTable(stream, "kernel.rimg");
        Assert.Equal(_sections.Select(s => (s.Kind, s.Owner, (long)s.Bytes.Length)), entries.Select(e => (e.Kind, e.Owner, e.RawLength)));
        for (int i = 0; i < entries.Count; i++)
        {
            Assert.Equal(_sections[i].Bytes.ToArray(), ImageContainer.ReadSection(stream, entries[i], "kernel.rimg"));
            Assert.Equal(level is not null, entries[i].IsZstd);
            if (level is null)
                Assert.Equal(0, entries[i].Offset % 4096);
        }
    }

    [Fact]
    public void The_content_id_does_not_depend_on_packing_but_on_every_section()
    {
        ImageContainer.Write(File, _sections, null);
        ImageContainer.Write(_directory.File("packed"), _sections, 3);
        string id = Id(File);
        Assert.Equal(id, Id(_directory.File("packed")));
        Assert.Equal(32, id.Length);
        for (int i = 0; i < _sections.Count; i++)
        {
            List<ImageContainer.Section> changed = [.. _sections];
            changed[i] = changed[i] with { Bytes = new byte[] { 1, 2, 3 } };
            ImageContainer.Write(_directory.File("changed"), changed, null);
            Assert.NotEqual(id, Id(_directory.File("changed")));
        }
    }

    [Fact]
    public void A_file_is_replaced_as_a_whole_and_leaves_nothing_beside_it()
    {
        System.IO.File.WriteAllText(File, "old");
        ImageContainer.Write(File, _sections, 3);
        Assert.Equal([File], Directory.GetFiles(_directory.Path));
    }

    [Theory]
    [InlineData(null)]
    [InlineData(3)]
    public void Damage_to_any_byte_that_counts_is_refused(int? level)
    {
        ImageContainer.Write(File, _sections, level);
        byte[] good = System.IO.File.ReadAllBytes(File);
        foreach (int at in Counting(good, level))
        {
            byte[] bad = [.. good];
            bad[at] ^= (byte)(1 << at % 8);
            AssertRefused(bad, $"byte {at}");
        }
    }

    [Theory]
    [InlineData(null)]
    [InlineData(3)]
    public void A_file_that_is_cut_or_longer_is_refused(int? level)
    {
        ImageContainer.Write(File, _sections, level);
        byte[] good = System.IO.File.ReadAllBytes(File);
        foreach (int length in (int[])[0, 1, 7, 8, 31, 32, 33, Header + Entry, Header + Entry * _sections.Count - 1, good.Length / 2, good.Length - 1])
            AssertRefused(good[..length], $"{length} bytes");
        AssertRefused([.. good, 0], "one byte more");
        AssertRefused([.. good, .. good], "twice");
    }

    [Fact]
    public void A_foreign_file_and_another_version_are_told_apart()
    {
        ImageContainer.Write(File, _sections, 3);
        byte[] bytes = System.IO.File.ReadAllBytes(File);
        Assert.Contains("is not a repair image", Refusal([.. "#!/bin/sh\n# not an image, but long enough for a header\n"u8]));
        bytes[8] = 77;
        Assert.Contains("format 77", Refusal(bytes));
    }

    /// <summary>Tables whose checksum is right: written by somebody who means harm, or by a bug.</summary>
    [Theory]
    [InlineData("before the sections", 8, 31L)]
    [InlineData("negative offset", 8, -1L)]
    [InlineData("past the end", 8, long.MaxValue)]
    [InlineData("negative length", 16, -1L)]
    [InlineData("longer than the file", 16, 1L << 40)]
    [InlineData("adds up past 2^63", 16, long.MaxValue)]
    [InlineData("negative raw length", 24, -1L)]
    [InlineData("more than an array holds", 24, (long)int.MaxValue + 1)]
    [InlineData("the largest array", 24, (long)int.MaxValue)]
    [InlineData("longer than it unpacks to", 24, 9002L)]
    [InlineData("shorter than it unpacks to", 24, 9000L)]
    [InlineData("zero", 24, 0L)]
    [InlineData("stored but of another length", 40, 0L)]
    [InlineData("derived though of a kind that is not", 40, 2L)]
    [InlineData("a filter that there is none of", 40, 0xff01L)]
    [InlineData("another filter than it was written with", 40, 0x101L)]
    public void A_hostile_table_is_refused(string what, int field, long value)
    {
        ImageContainer.Write(File, _sections, 3);
        byte[] bytes = System.IO.File.ReadAllBytes(File);
        if (field == 40)
            BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(Header + Entry + field), (int)value);
        else
            BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(Header + Entry + field), value);
        AssertRefused(Sealed(bytes), what);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    [InlineData(int.MaxValue)]
    [InlineData(65537)]
    [InlineData(9)]
    public void A_hostile_number_of_sections_is_refused(int count)
    {
        ImageContainer.Write(File, _sections, 3);
        byte[] bytes = System.IO.File.ReadAllBytes(File);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(12), count);
        AssertRefused(bytes, $"{count} sections");
    }

    /// <summary>What is mapped must be what was checked: a stored section with a filter would be searched as it lies there.</summary>
    [Fact]
    public void A_stored_section_with_a_filter_is_refused()
    {
        ImageContainer.Write(File, _sections, null);
        byte[] bytes = System.IO.File.ReadAllBytes(File);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(Header + Entry + 40), 0x400);
        AssertRefused(Sealed(bytes), "stored and filtered");
    }

    [Fact]
    public void A_section_larger_than_an_array_is_refused()
    {
        // Sparse: it takes no room on disk.
        byte[] head = new byte[Header + Entry];
        const long length = (3L << 30) + 4096;
        "PANACEA\x1a"u8.CopyTo(head);
        BinaryPrimitives.WriteUInt32LittleEndian(head.AsSpan(8), ImageContainer.Version);
        BinaryPrimitives.WriteInt32LittleEndian(head.AsSpan(12), 1);
        BinaryPrimitives.WriteInt64LittleEndian(head.AsSpan(16), length);
        BinaryPrimitives.WriteUInt32LittleEndian(head.AsSpan(Header), (uint)ImageSection.Btf);
        BinaryPrimitives.WriteInt64LittleEndian(head.AsSpan(Header + 8), 4096);
        BinaryPrimitives.WriteInt64LittleEndian(head.AsSpan(Header + 16), length - 4096);
        BinaryPrimitives.WriteInt64LittleEndian(head.AsSpan(Header + 24), 100);
        BinaryPrimitives.WriteInt32LittleEndian(head.AsSpan(Header + 40), 1);
        using (FileStream stream = System.IO.File.Create(File))
        {
            stream.Write(Sealed(head));
            stream.SetLength(length);
        }

        AssertRefusedFile("3 GiB");
    }

    public void Dispose() => _directory.Dispose();

    private static byte[] Sealed(byte[] bytes)
    {
        int count = BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(12));
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(24), XxHash3.HashToUInt64(bytes.AsSpan(Header, count * Entry)));
        return bytes;
    }

    private static string Id(string path)
    {
        using FileStream stream = System.IO.File.OpenRead(path);
        return ImageContainer.ContentId(ImageContainer.ReadTable(stream, path).Select(e => new ImageContainer.Section(e.Kind, e.Owner, default) { Hash = e.Hash }));
    }

    /// <summary>Header, table, and a spread of each section; the room between stored sections holds nothing.</summary>
    private IEnumerable<int> Counting(byte[] file, int? level)
    {
        for (int i = 0; i < Header + Entry * _sections.Count; i++)
            yield return i;
        for (int s = 0; s < _sections.Count; s++)
        {
            int offset = (int)BinaryPrimitives.ReadInt64LittleEndian(file.AsSpan(Header + s * Entry + 8)), length = (int)BinaryPrimitives.ReadInt64LittleEndian(file.AsSpan(Header + s * Entry + 16));

            // The last four bits of a Zstandard frame header's descriptor may be unused; its content is what counts.
            for (int i = level is null ? 0 : 9; i < length; i += Math.Max(1, length / 40))
                yield return offset + i;
        }
    }

    private void AssertRefused(byte[] bytes, string what)
    {
        System.IO.File.WriteAllBytes(File, bytes);
        AssertRefusedFile(what);
    }

    private void AssertRefusedFile(string what)
    {
        try
        {
            RepairImage.Open(File, _directory.File("cache")).Dispose();
        }
        catch (RepairImageException e)
        {
            Assert.Contains("kernel.rimg", e.Message);
            return;
        }
        catch (Exception e)
        {
            Assert.Fail($"{what}: {e}");
        }

        Assert.Fail($"{what}: was taken");
    }

    private string Refusal(byte[] bytes)
    {
        System.IO.File.WriteAllBytes(File, bytes);
        return Assert.Throws<RepairImageException>(() => RepairImage.Open(File, _directory.Path)).Message;
    }
}
