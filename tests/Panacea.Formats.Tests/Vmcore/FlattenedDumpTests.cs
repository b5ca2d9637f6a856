using System.Buffers.Binary;
using Panacea.Formats.Vmcore;
using Panacea.TestKit.Dumps;

namespace Panacea.Formats.Tests.Vmcore;

public sealed class FlattenedDumpTests
{
    [Theory]
    [InlineData(4096, null, false)]
    [InlineData(1000, null, false)]
    [InlineData(1000, 5, false)]
    [InlineData(333, 6, true)]
    public void Bytes_are_where_they_belong(int chunk, int? shuffle, bool holes)
    {
        byte[] file = ElfCoreBytes.Write(DumpMemories.Make(21), []);
        FlattenedDump dump = Open(FlattenedWriter.Write(file, chunk, shuffle, holes));
        Assert.Empty(dump.Missing);
        Assert.Equal(file.Length, dump.Length);
        AssertReads(file, dump, 300);
    }

    /// <summary>Random writes over each other, against a plain array.</summary>
    [Fact]
    public void A_later_write_counts()
    {
        for (int seed = 0; seed < 300; seed++)
        {
            var random = new Random(seed);
            byte[] model = new byte[random.Next(1, 400)];
            var writes = new List<(long, byte[])>();
            int end = 0;
            for (int i = random.Next(1, 30); i > 0; i--)
            {
                int at = random.Next(model.Length), length = random.Next(0, Math.Min(60, model.Length - at + 1));
                byte[] bytes = new byte[length];
                random.NextBytes(bytes);
                bytes.CopyTo(model, at);
                writes.Add((at, bytes));
                end = length > 0 ? Math.Max(end, at + length) : end;
            }

            FlattenedDump dump = Open(FlattenedWriter.Write(writes));
            Assert.Equal(end, dump.Length);
            AssertReads(model[..end], dump, 20);
        }
    }

    [Fact]
    public void What_a_truncated_stream_lacks_is_no_hole()
    {
        byte[] file = [.. Enumerable.Range(0, 10_000).Select(i => unchecked((byte)(i | 1)))];
        byte[] flat = FlattenedWriter.Write([(0, file[..1000]), (2000, file[2000..4000]), (5000, file[5000..])]);
        byte[] into = new byte[10_000];
        FlattenedDump whole = Open(flat);
        Assert.Equal(10_000, whole.Read(0, into));
        Assert.Equal(0, into[1500]);
        FlattenedDump cut = Open(flat[..^1000]);
        Assert.Contains("truncated", Assert.Single(cut.Missing));
        Assert.Equal(1000, cut.Read(0, into));
        Assert.Equal(0, cut.Read(1500, into));
        Assert.Equal(2000, cut.Read(2000, into));
        Assert.Equal(file[2000..4000], into[..2000]);
        Assert.Equal(10_000 - 1000 + 16, cut.Length);
    }

    [Fact]
    public void Hostile_records_end_the_stream_or_are_refused()
    {
        foreach (long offset in (long[])[-2, long.MinValue, long.MaxValue, 1, 1L << 62])
        {
            foreach (long size in (long[])[-2, long.MinValue, long.MaxValue, 0, 1L << 62])
            {
                byte[] flat = FlattenedWriter.Write([(0, new byte[100]), (100, new byte[100])]);
                BinaryPrimitives.WriteInt64BigEndian(flat.AsSpan(4096 + 116), offset);
                BinaryPrimitives.WriteInt64BigEndian(flat.AsSpan(4096 + 124), size);
                FlattenedDump dump = Open(flat);
                Assert.Equal(100, dump.Read(0, new byte[100]));
                Assert.NotEmpty(dump.Missing);
            }
        }

        byte[] many = FlattenedWriter.Write(Enumerable.Range(0, 20).Select(i => ((long)i * 3, new byte[1])));
        Assert.False(FlattenedDump.TryOpen(new MemoryDumpBytes(many), FormatLimits.Default with { MaxFlattenedRecords = 10 }, out _, out string whyNot));
        Assert.Contains("more than 10 records", whyNot);
        many[23] = 2;
        Assert.False(FlattenedDump.TryOpen(new MemoryDumpBytes(many), FormatLimits.Default, out _, out whyNot));
        Assert.Contains("unknown type", whyNot);
    }

    [Theory]
    [InlineData("KDUMP   ", DumpKind.Kdump, null)]
    [InlineData("makedumpfile\0\0\0\0", DumpKind.Flattened, null)]
    [InlineData("\u007fELF", DumpKind.Elf, null)]
    [InlineData("QEVMxxxx", DumpKind.Raw, "dump-guest-memory")]
    [InlineData("LibvirtQemudSave", DumpKind.Raw, "virsh dump")]
    [InlineData("short", DumpKind.Raw, "too short")]
    [InlineData("", DumpKind.Raw, "empty")]
    public void The_kind_is_told_by_the_content(string start, DumpKind kind, string? refusal)
    {
        bool ok = DumpDetector.TryDetect(new MemoryDumpBytes(System.Text.Encoding.ASCII.GetBytes(start)), out DumpKind got, out string whyNot);
        Assert.Equal((refusal is null, kind), (ok, got));
        Assert.Contains(refusal ?? "", whyNot);
    }

    [Fact]
    public void A_large_file_of_no_known_kind_is_a_memory_image() =>
        Assert.True(DumpDetector.TryDetect(new MemoryDumpBytes(new byte[4 << 20]), out DumpKind kind, out _) && kind == DumpKind.Raw);

    private static void AssertReads(byte[] file, FlattenedDump dump, int reads)
    {
        var random = new Random(file.Length);
        byte[] into = new byte[20_000];
        for (int i = 0; i < reads; i++)
        {
            int at = random.Next(file.Length + 1), want = random.Next(into.Length);
            int got = dump.Read(at, into.AsSpan(0, want));
            Assert.Equal(Math.Min(want, file.Length - at), got);
            Assert.True(file.AsSpan(at, got).SequenceEqual(into.AsSpan(0, got)));
        }

        Assert.Equal((0, 0), (dump.Read(-1, into), dump.Read(long.MaxValue, into)));
    }

    private static FlattenedDump Open(byte[] flat)
    {
        Assert.True(FlattenedDump.TryOpen(new MemoryDumpBytes(flat), FormatLimits.Default, out FlattenedDump dump, out string whyNot), whyNot);
        return dump;
    }
}
