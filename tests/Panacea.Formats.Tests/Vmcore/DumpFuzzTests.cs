using System.Runtime.CompilerServices;
using Panacea.Formats.Vmcore;
using Panacea.Target;
using Panacea.TestKit.Dumps;
using Panacea.TestKit.Fuzzing;
using Panacea.TestKit.Memory;

namespace Panacea.Formats.Tests.Vmcore;

/// <summary>The dump formats over damaged files, most of them damaged where headers are.</summary>
public sealed class DumpFuzzTests
{
    private delegate void Target(ReadOnlySpan<byte> data);

    [Fact]
    public void Elf() => Run(DumpFuzzTargets.Elf, ElfCoreBytes.Write(Memory(), Notes(), extendedNumbering: true), [(0, 64 + (3 * 56) + 64 + 800)]);

    [Theory]
    [InlineData(PageCompression.Zlib)]
    [InlineData(PageCompression.Lzo)]
    [InlineData(PageCompression.Snappy)]
    [InlineData(PageCompression.Zstd)]
    public void Kdump(PageCompression compression) => Run(
        DumpFuzzTargets.Kdump, KdumpWriter.Write(Memory(), new() { Compression = compression, Notes = Notes(), VmcoreInfo = "OSRELEASE=6\n" })[0], KdumpStructure, $"Kdump {compression}");

    [Fact]
    public void A_part_of_a_split_dump() => Run(DumpFuzzTargets.Kdump, KdumpWriter.Write(Memory(), new() { Files = 2 })[1], KdumpStructure);

    [Fact]
    public void Flattened() => Run(DumpFuzzTargets.Flattened, FlattenedWriter.Write(KdumpWriter.Write(Memory(), new())[0], 4096, 3), [(0, 32), (4096, 4112), (8208, 8224), (12320, 12336), (16432, 16448)]);

    /// <summary>A boot sector with partitions, a superblock of ext4, marks of archives and of disks.</summary>
    [Fact]
    public void Kind()
    {
        byte[] disk = new byte[34 << 10];
        (disk[446], disk[450], disk[458], disk[510], disk[511]) = (0x80, 0x83, 1, 0x55, 0xaa);
        (disk[0x438], disk[0x439], disk[0x44c]) = (0x53, 0xef, 1);
        "ustar"u8.CopyTo(disk.AsSpan(257));
        "CD001"u8.CopyTo(disk.AsSpan(0x8001));
        Run(DumpFuzzTargets.Kind, disk, [(0, 16), (257, 262), (440, 520), (0x418, 0x450), (0x8001, 0x8006)]);
    }

    [Fact]
    public void Lzo() => Run(DumpFuzzTargets.Lzo, Lzo1xWriter.Write([.. Enumerable.Range(0, 4096).Select(i => (byte)(i / 300))]), [(0, 60)]);

    private static (int Start, int End)[] KdumpStructure => [(0, 32), (400, 464), (4096, 4096 + 104), (8192, 8196), (12288, 12292), (16384, 16384 + (12 * 24)), (20480, 21500)];

    private static void Run(Target target, byte[] seed, (int Start, int End)[] structure, [CallerMemberName] string name = "")
    {
        var mutator = new ByteMutator(structure);
        Fuzzer.RunInputs(name, data => target(data), [seed], random => mutator.Mutate([seed], random));
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
