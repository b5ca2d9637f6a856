using System.Buffers.Binary;
using Panacea.Formats.Vmcore;
using Panacea.TestKit.Dumps;
using Panacea.TestKit.Memory;

namespace Panacea.Target.Dump.Tests;

/// <summary>Whatever the files say, opening them ends in a dump or a <see cref="DumpException"/>, and reading in a typed failure. The formats' own targets are in Panacea.Formats.Tests.</summary>
public sealed class FuzzTests
{
    private static readonly ulong[] Interesting = [0, 1, 0xfff, 0x1000, 0x7fff_ffff, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, 0x8000_0000_0000_0000, ulong.MaxValue];

    [Theory]
    [InlineData("elf")]
    [InlineData("kdump")]
    [InlineData("split")]
    [InlineData("flattened")]
    public void Damaged_dumps_are_opened_or_refused(string kind)
    {
        var memory = new SparsePhysicalMemory(new PhysicalRange(new(0), 5 * 4096), new PhysicalRange(new(0x8000), 2 * 4096));
        memory.Write(0x1000, [.. Enumerable.Range(0, 4096).Select(i => unchecked((byte)(i / 9)))]);
        byte[] notes = new DumpNotes().AddQemu(1, [2, 3], 4).AddVmcoreInfo("OSRELEASE=6\n").Build();
        byte[][] seeds = kind switch
        {
            "elf" => [ElfCoreWriter.Write(memory, notes)],
            "kdump" => KdumpWriter.Write(memory, new() { Notes = notes }),
            "split" => KdumpWriter.Write(memory, new() { Notes = notes, Files = 2 }),
            _ => [FlattenedWriter.Write(ElfCoreWriter.Write(memory, notes), 1000)],
        };
        (int Start, int End)[] structure = kind switch
        {
            "elf" => [(0, 64 + (3 * 56) + notes.Length)],
            "flattened" => [(0, 32), (4096, 5200)],
            _ => [(400, 464), (4096, 4200), (4200, 4200 + notes.Length), (8192, 8200), (12288, 12300), (16384, 16600)],
        };
        byte[] bytes = new byte[9000];
        for (int round = 0; round < 1500; round++)
        {
            var random = new Random(round);
            IDumpBytes[] files = [.. seeds.Select(s => new MemoryDumpBytes(Mutate(s, structure, random)))];
            try
            {
                DumpTarget.DumpContent content = DumpTarget.Recognize(files, [.. files.Select((_, i) => $"file {i}")], TargetLimits.Default, new DumpOptions());
                _ = DumpRegisters.Of(content.Notes, TargetLimits.Default);
                Assert.True(content.Memory.Ranges.Count < 100_000);
                foreach (ulong at in (ulong[])[0, 0xfff, 0x1000, 0x4ffc, 0x8000, 0x9ff0, 1UL << 40, ulong.MaxValue - 10, (ulong)random.NextInt64()])
                {
                    if (!content.Memory.TryRead(new PhysicalAddress(at), bytes.AsSpan(0, random.Next(bytes.Length)), out MemoryFault fault))
                        Assert.Contains(fault.Kind, (MemoryFaultKind[])[MemoryFaultKind.NotBacked, MemoryFaultKind.NotCaptured]);
                }
            }
            catch (DumpException e)
            {
                Assert.NotEmpty(e.Message);
            }
            catch (Exception e) when (e is not Xunit.Sdk.XunitException)
            {
                Assert.Fail($"{kind}, round {round}: {e}");
            }
        }
    }

    private static byte[] Mutate(byte[] seed, (int Start, int End)[] structure, Random random)
    {
        byte[] input = [.. seed];
        for (int edits = random.Next(0, 4); edits > 0; edits--)
        {
            (int start, int end) = structure[random.Next(structure.Length)];
            int at = random.Next(start, Math.Min(end, input.Length - 8));
            switch (random.Next(4))
            {
                case 0:
                    input[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 1:
                    BinaryPrimitives.WriteUInt64LittleEndian(input.AsSpan(at & ~7), Interesting[random.Next(Interesting.Length)]);
                    break;
                case 2:
                    BinaryPrimitives.WriteUInt32LittleEndian(input.AsSpan(at & ~3), unchecked((uint)Interesting[random.Next(Interesting.Length)]));
                    break;
                case 3 when random.Next(10) == 0:
                    return input[..random.Next(input.Length)];
            }
        }

        return input;
    }
}
