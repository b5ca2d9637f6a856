using System.Buffers.Binary;
using Panacea.Formats.Vmcore;
using Panacea.Target;
using Panacea.TestKit.Dumps;
using Panacea.TestKit.Memory;

namespace Panacea.Formats.Tests.Vmcore;

/// <summary>Smoke test of the dump formats' fuzz targets: 24,000 seeded mutations, most of them where headers are.</summary>
public sealed class DumpFuzzTests
{
    private static readonly ulong[] Interesting = [0, 1, 2, 0x7f, 0xff, 0xfff, 0x1000, 0x7fff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, 0x8000_0000_0000_0000, ulong.MaxValue - 1, ulong.MaxValue];

    private delegate void Target(ReadOnlySpan<byte> data);

    [Fact]
    public void Elf() => Run(DumpFuzzTargets.Elf, 8000, ElfCoreWriter.Write(Memory(), Notes(), extendedNumbering: true), [(0, 64 + (3 * 56) + 64 + 800)]);

    [Theory]
    [InlineData(PageCompression.Zlib)]
    [InlineData(PageCompression.Lzo)]
    [InlineData(PageCompression.Snappy)]
    [InlineData(PageCompression.Zstd)]
    public void Kdump(PageCompression compression) => Run(
        DumpFuzzTargets.Kdump, 2000, KdumpWriter.Write(Memory(), new() { Compression = compression, Notes = Notes(), VmcoreInfo = "OSRELEASE=6\n" })[0], KdumpStructure);

    [Fact]
    public void A_part_of_a_split_dump() => Run(DumpFuzzTargets.Kdump, 1000, KdumpWriter.Write(Memory(), new() { Files = 2 })[1], KdumpStructure);

    [Fact]
    public void Flattened() => Run(DumpFuzzTargets.Flattened, 3000, FlattenedWriter.Write(KdumpWriter.Write(Memory(), new())[0], 4096, 3), [(0, 32), (4096, 4112), (8208, 8224), (12320, 12336), (16432, 16448)]);

    [Fact]
    public void Lzo() => Run(DumpFuzzTargets.Lzo, 4000, Lzo1xWriter.Write([.. Enumerable.Range(0, 4096).Select(i => (byte)(i / 300))]), [(0, 60)]);

    private static (int Start, int End)[] KdumpStructure => [(0, 32), (400, 464), (4096, 4096 + 104), (8192, 8196), (12288, 12292), (16384, 16384 + (12 * 24)), (20480, 21500)];

    private static void Run(Target target, int rounds, byte[] seed, (int Start, int End)[] structure)
    {
        // More than a smoke test: PANACEA_FUZZ_ROUNDS=1000000.
        if (int.TryParse(Environment.GetEnvironmentVariable("PANACEA_FUZZ_ROUNDS"), out int more))
            rounds = more;
        target([]);
        target(seed);
        for (int round = 0; round < rounds; round++)
        {
            byte[] input = Mutate(seed, structure, new Random(round));
            try
            {
                target(input);
            }
            catch (Exception e)
            {
                Assert.Fail($"round {round}: {e}");
            }
        }
    }

    private static byte[] Mutate(byte[] seed, (int Start, int End)[] structure, Random random)
    {
        byte[] input = [.. seed];
        for (int edits = random.Next(1, 5); edits > 0; edits--)
        {
            (int start, int end) = random.Next(4) == 0 ? (0, input.Length) : structure[random.Next(structure.Length)];
            int at = Math.Min(random.Next(start, end), input.Length - 1);
            switch (random.Next(5))
            {
                case 0:
                    input[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 1:
                    input[at] = (byte)random.Next(256);
                    break;
                case 2 when (at & ~3) + 4 <= input.Length:
                    BinaryPrimitives.WriteUInt32LittleEndian(input.AsSpan(at & ~3), unchecked((uint)Interesting[random.Next(Interesting.Length)]));
                    break;
                case 3 when (at & ~7) + 8 <= input.Length:
                    BinaryPrimitives.WriteUInt64LittleEndian(input.AsSpan(at & ~7), Interesting[random.Next(Interesting.Length)]);
                    break;
                case 4 when random.Next(8) == 0:
                    return input[..random.Next(input.Length)];
            }
        }

        return input;
    }

    private static SparsePhysicalMemory Memory()
    {
        var memory = new SparsePhysicalMemory(new PhysicalRange(new(0), 6 * 4096), new PhysicalRange(new(0x8000), 3 * 4096));
        var random = new Random(1);
        for (ulong i = 0; i < 5; i++)
            memory.Write(i * 4096, [.. Enumerable.Range(0, 4000).Select(j => (byte)(j / 100 * random.Next(1, 3)))]);
        return memory;
    }

    private static byte[] Notes() => new DumpNotes().AddStatus(1, 1).AddQemu(5, [1, 2, 3]).AddVmcoreInfo("OSRELEASE=6.1\n").Build();
}
