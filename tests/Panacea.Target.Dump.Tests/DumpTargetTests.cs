using System.Text;
using Panacea.Formats.Vmcore;
using Panacea.TestKit;
using Panacea.TestKit.Dumps;
using Panacea.TestKit.Memory;

namespace Panacea.Target.Dump.Tests;

public sealed class DumpTargetTests : IDisposable
{
    private static readonly byte[] Notes = new DumpNotes().AddStatus(7, 100).AddStatus(9, 200).AddVmcoreInfo("OSRELEASE=6.1\n").Build();
    private static readonly byte[] QemuNotes = new DumpNotes().AddStatus(1, 100).AddQemu(1000, [0x8000_0001, 2, 3, 0x1000, 0x20], 6, 7, 8).AddQemu(2000, [1, 0, 0, 0, 0], kernelGsBase: null).Build();
    private readonly TemporaryDirectory _directory = new();

    public static TheoryData<string> Variants => ["elf", "flattened elf", "kdump", "flattened kdump", "split", "raw"];

    [Theory]
    [MemberData(nameof(Variants))]
    public void Memory_reads_the_same_from_every_kind(string variant)
    {
        SparsePhysicalMemory memory = variant == "raw" ? new SparsePhysicalMemory(6UL << 20) : DumpMemories.Make(1);
        memory.Write(0x5ffe, 1, 2, 3, 4, 5);
        using DumpTarget dump = Open(variant, memory);
        var random = new Random(3);
        byte[] want = new byte[20_000], got = new byte[20_000];
        Assert.Equal(memory.Ranges, dump.Memory.Ranges);
        for (int i = 0; i < 400; i++)
        {
            PhysicalRange range = memory.Ranges[random.Next(memory.Ranges.Count)];
            var at = new PhysicalAddress(range.Start.Value + (ulong)random.NextInt64((long)range.Length));
            int length = random.Next(random.Next(2) == 0 ? 30 : want.Length);
            bool ok = memory.TryRead(at, want.AsSpan(0, length), out MemoryFault fault);
            Assert.Equal((ok, fault), (dump.Memory.TryRead(at, got.AsSpan(0, length), out MemoryFault mine), mine));
            Assert.True(!ok || want.AsSpan(0, length).SequenceEqual(got.AsSpan(0, length)));
        }

        Assert.False(dump.Memory.TryRead(new PhysicalAddress(ulong.MaxValue - 3), got.AsSpan(0, 16), out MemoryFault outside));
        Assert.Equal(MemoryFaultKind.NotBacked, outside.Kind);
    }

    [Fact]
    public void A_kernel_s_notes_give_general_registers_and_mark_the_rest_as_unknown()
    {
        using DumpTarget dump = Open("kdump", DumpMemories.Make(2));
        Assert.Equal(2, dump.Vcpus.Count);
        VcpuRegisters second = dump.Vcpus[1];
        Assert.Equal((1, 210UL, 219UL, 216UL, 218UL), (second.Vcpu, second.Gpr[Gpr.Rax], second.Gpr[Gpr.Rsp], second.Rip, second.Rflags));
        Assert.Equal(RegisterGroups.Integer, second.Known);
        Assert.Equal("OSRELEASE=6.1\n", Encoding.ASCII.GetString(dump.VmcoreInfo.Span));
    }

    [Fact]
    public void Qemu_s_notes_give_control_registers_too()
    {
        using DumpTarget dump = Open("elf", DumpMemories.Make(3), QemuNotes);
        VcpuRegisters first = dump.Vcpus[0], second = dump.Vcpus[1];
        Assert.Equal((1000UL, 1001UL, 1006UL, 1016UL), (first.Gpr[Gpr.Rax], first.Gpr[Gpr.Rbx], first.Gpr[Gpr.Rsp], first.Rip));
        Assert.Equal((0x8000_0001UL, 3UL, 0x1000UL, 0x20UL, 6UL, 8UL, 7UL), (first.Cr0, first.Cr2, first.Cr3, first.Cr4, first.GsBase, first.KernelGsBase, first.TrapTable));
        Assert.True(first.Knows(RegisterGroups.Control | RegisterGroups.SegmentBases | RegisterGroups.KernelGsBase | RegisterGroups.TrapTable));
        Assert.False(first.Knows(RegisterGroups.Efer));
        Assert.False(first.IsLongMode);
        Assert.False(second.Knows(RegisterGroups.KernelGsBase));
        Assert.True(dump.VmcoreInfo.IsEmpty);
    }

    [Fact]
    public void What_a_dump_is_and_lacks_is_told()
    {
        using DumpTarget filtered = new Func<DumpTarget>(() =>
        {
            File.WriteAllBytes(_directory.File("f"), KdumpWriter.Write(DumpMemories.Make(4), new() { Level = 31, IsFiltered = p => p == 3 })[0]);
            return DumpTarget.Open([_directory.File("f")], TargetLimits.Default);
        })();
        Assert.Equal((DumpKind.Kdump, "kdump-compressed dump, version 6, filtered (level 31)"), (filtered.Kind, filtered.Description));
        Assert.Contains("free pages are not in it", Assert.Single(filtered.Missing));
        byte[] bytes = new byte[8];
        Assert.False(filtered.Memory.TryRead(new PhysicalAddress(0x3010), bytes, out MemoryFault fault));
        Assert.Equal(new MemoryFault(MemoryFaultKind.NotCaptured, 0x3010, IsPhysical: true), fault);
        Assert.False(filtered.Memory.TryRead(new PhysicalAddress(0x2ffc), bytes, out fault));
        Assert.Equal(0x3000UL, fault.Address);
        using DumpTarget flattened = Open("flattened elf", DumpMemories.Make(4));
        Assert.Equal((DumpKind.Elf, "flattened ELF core"), (flattened.Kind, flattened.Description));
        using DumpTarget split = Open("split", DumpMemories.Make(4));
        Assert.Equal("kdump-compressed dump, version 6, 3 files", split.Description);
        using DumpTarget raw = Open("raw", new SparsePhysicalMemory(6UL << 20));
        Assert.True(raw.IsBareMemory);
        Assert.Contains("no registers", Assert.Single(raw.Missing));
    }

    /// <summary>The end of the file within a page: what is before it can be read.</summary>
    [Fact]
    public void A_truncated_core_gives_every_byte_that_it_holds()
    {
        var memory = new SparsePhysicalMemory(0x4000);
        memory.Write(0x3000, [.. Enumerable.Repeat((byte)7, 4096)]);
        string path = _directory.File("cut");
        File.WriteAllBytes(path, ElfCoreBytes.Write(memory, Notes)[..^100]);
        using DumpTarget dump = DumpTarget.Open([path], TargetLimits.Default);
        byte[] bytes = new byte[16];
        Assert.True(dump.Memory.TryRead(new PhysicalAddress(0x4000 - 116), bytes, out _));
        Assert.All(bytes, b => Assert.Equal(7, b));
        Assert.False(dump.Memory.TryRead(new PhysicalAddress(0x4000 - 110), bytes, out MemoryFault fault));
        Assert.Equal(new MemoryFault(MemoryFaultKind.NotCaptured, 0x4000 - 100, IsPhysical: true), fault);
        Assert.False(dump.Memory.TryRead(new PhysicalAddress(0x3000), new byte[4096], out fault));
        Assert.Equal(MemoryFaultKind.NotCaptured, fault.Kind);
        Assert.Contains("truncated", Assert.Single(dump.Missing));
    }

    [Fact]
    public void Damaged_pages_are_counted_as_they_are_met()
    {
        var memory = new SparsePhysicalMemory(0x4000);
        memory.Write(0x1000, [.. Enumerable.Range(0, 4096).Select(i => unchecked((byte)(i * i / 17)))]);
        byte[] file = KdumpWriter.Write(memory, new())[0];
        file.AsSpan(file.Length - 30).Fill(0xff);
        File.WriteAllBytes(_directory.File("damaged"), file);
        using DumpTarget dump = DumpTarget.Open([_directory.File("damaged")], TargetLimits.Default);
        Assert.Empty(dump.Missing);
        Assert.False(dump.Memory.TryRead(new PhysicalAddress(0x1000), new byte[8], out MemoryFault fault));
        Assert.Equal(MemoryFaultKind.NotCaptured, fault.Kind);
        Assert.Contains("do not unpack", Assert.Single(dump.Missing));
    }

    [Fact]
    public void Of_a_raw_image_the_caller_may_say_where_the_hole_is()
    {
        var memory = new SparsePhysicalMemory(5UL << 20);
        memory.Write((3UL << 20) + 5, 42);
        using DumpTarget dump = Open("raw", memory, options: new DumpOptions { RawBytesBelow4GiB = 3 << 20 });
        Assert.Equal([new(new(0), 3 << 20), new(new(1UL << 32), 2 << 20)], dump.Memory.Ranges);
        byte[] bytes = new byte[1];
        Assert.True(dump.Memory.TryRead(new PhysicalAddress((1UL << 32) + 5), bytes, out _));
        Assert.Equal(42, bytes[0]);
    }

    [Fact]
    public void What_is_no_dump_is_refused_with_a_reason()
    {
        Assert.Contains("can't be opened", Refusal(_directory.File("absent")));
        Assert.Contains("can't be opened", Refusal(_directory.Path));
        Assert.Contains("too short", Refusal(Write("text", "hello"u8.ToArray())));
        Assert.Contains("gzip", Refusal(Write("gz", [0x1f, 0x8b, 8, 0])));
        Assert.Contains("header is cut off", Refusal(Write("k", "KDUMP   "u8.ToArray())));
        Assert.Contains("flattened file of neither", Refusal(Write("flat", FlattenedWriter.Write([(0, new byte[5 << 20])]))));
        string elf = Write("elf", ElfCoreBytes.Write(DumpMemories.Make(5), Notes)), kdump = Write("kdump", KdumpWriter.Write(DumpMemories.Make(5), new())[0]);
        Assert.Contains("give one file", Refusal(elf, elf));
        Assert.Contains("not of one dump", Refusal(kdump, elf));
        Assert.Contains("0 files", Refusal());
        Assert.Contains("can't lie below", Assert.Throws<DumpException>(() => Open("raw", new SparsePhysicalMemory(5UL << 20), options: new DumpOptions { RawBytesBelow4GiB = -1 })).Message);
    }

    /// <summary>A sparse core of a machine with 16 GiB: opening reads headers, and reading what is read.</summary>
    [Fact]
    public void The_cost_of_a_large_sparse_core_is_what_is_read_of_it()
    {
        string path = Write("sparse", ElfCoreBytes.Write([new(0, [], 0)], Notes));
        using (FileStream file = File.OpenWrite(path))
        {
            byte[] header = new byte[8];
            foreach ((int at, ulong value) in ((int, ulong)[])[(64 + 56 + 8, 1 << 20), (64 + 56 + 32, 16UL << 30), (64 + 56 + 40, 16UL << 30)])
            {
                BitConverter.TryWriteBytes(header, value);
                file.Position = at;
                file.Write(header);
            }

            file.SetLength((16L << 30) + (1 << 20));
            file.Position = (1 << 20) + (15L << 30);
            file.WriteByte(99);
        }

        var counted = new CountingBytes(path);
        DumpTarget.DumpContent content = DumpTarget.Recognize([counted], [path], TargetLimits.Default, new DumpOptions());
        Assert.True(counted.BytesRead < 10_000, $"{counted.BytesRead} bytes to open it");
        byte[] bytes = new byte[1];
        Assert.True(content.Memory.TryRead(new PhysicalAddress(15UL << 30), bytes, out _));
        Assert.Equal(99, bytes[0]);
        Assert.True(counted.BytesRead < 20_000, $"{counted.BytesRead} bytes to read one");
    }

    public void Dispose() => _directory.Dispose();

    private sealed class CountingBytes(string path) : IDumpBytes
    {
        private readonly FileDumpBytes _file = new(path);

        public long BytesRead { get; private set; }

        public long Length => _file.Length;

        public int Read(long offset, Span<byte> destination)
        {
            int got = _file.Read(offset, destination);
            BytesRead += got;
            return got;
        }
    }

    private string Write(string name, byte[] bytes)
    {
        File.WriteAllBytes(_directory.File(name), bytes);
        return _directory.File(name);
    }

    private static string Refusal(params string[] paths) => Assert.Throws<DumpException>(() => DumpTarget.Open(paths, TargetLimits.Default)).Message;

    private DumpTarget Open(string variant, IGuestMemory memory, byte[]? notes = null, DumpOptions? options = null)
    {
        notes ??= Notes;
        byte[][] files = variant switch
        {
            "elf" => [ElfCoreBytes.Write(memory, notes)],
            "flattened elf" => [FlattenedWriter.Write(ElfCoreBytes.Write(memory, notes), 5000, 3)],
            "kdump" => KdumpWriter.Write(memory, new() { Notes = notes }),
            "flattened kdump" => [FlattenedWriter.Write(KdumpWriter.Write(memory, new() { Notes = notes })[0], 700, holes: true)],
            "split" => KdumpWriter.Write(memory, new() { Notes = notes, Files = 3 }),
            _ => [Raw(memory)],
        };
        return DumpTarget.Open([.. files.Select((f, i) => Write($"{variant}.{i}", f))], TargetLimits.Default, options);
    }

    private static byte[] Raw(IGuestMemory memory)
    {
        byte[] bytes = new byte[memory.Ranges[0].Length];
        Assert.True(memory.TryRead(memory.Ranges[0].Start, bytes, out _));
        return bytes;
    }
}
