using Panacea.Formats.Vmcore;
using Panacea.TestKit.Dumps;
using Panacea.TestKit.Fuzzing;
using Panacea.TestKit.Memory;

namespace Panacea.Target.Dump.Tests;

/// <summary>Whatever the files say, opening them ends in a dump or a <see cref="DumpException"/>, and reading in a typed failure. The formats' own targets are in Panacea.Formats.Tests.</summary>
public sealed class FuzzTests
{
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
            "elf" => [ElfCoreBytes.Write(memory, notes)],
            "kdump" => KdumpWriter.Write(memory, new() { Notes = notes }),
            "split" => KdumpWriter.Write(memory, new() { Notes = notes, Files = 2 }),
            _ => [FlattenedWriter.Write(ElfCoreBytes.Write(memory, notes), 1000)],
        };
        (int Start, int End)[] structure = kind switch
        {
            "elf" => [(0, 64 + (3 * 56) + notes.Length)],
            "flattened" => [(0, 32), (4096, 5200)],
            _ => [(400, 464), (4096, 4200), (4200, 4200 + notes.Length), (8192, 8200), (12288, 12300), (16384, 16600)],
        };
        byte[] bytes = new byte[9000];
        var mutator = new ByteMutator(structure);
        Fuzzer.Run(kind, random =>
        {
            IDumpBytes[] files = [.. seeds.Select(s => new MemoryDumpBytes(random.Next(4) == 0 ? s : mutator.Mutate([s], random)))];
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
        });
    }
}
