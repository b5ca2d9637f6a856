using Panacea.Target.Qemu.HostMemory;

namespace Panacea.Target.Qemu.Tests.HostMemory;

public sealed class MtreeParserTests
{
    /// <summary>QEMU 7.2, pc, -m 6G, shortened.</summary>
    private const string SixGiB = """
        FlatView #0
         AS "I/O", root: io
         Root memory region: io
          0000000000000000-0000000000000007 (prio 0, i/o): dma-chan

        FlatView #1
         AS "memory", root: system
         AS "cpu-memory-0", root: system
         Root memory region: system
          0000000000000000-000000000009ffff (prio 0, ram): pc.ram
          00000000000a0000-00000000000bffff (prio 1, i/o): vga-lowmem
          00000000000c0000-00000000000dffff (prio 1, rom): pc.rom
          00000000000e0000-00000000000fffff (prio 0, rom): pc.bios @0000000000020000
          0000000000100000-00000000bfffffff (prio 0, ram): pc.ram @0000000000100000
          00000000fec00000-00000000fec00fff (prio 0, i/o): ioapic
          00000000fffc0000-00000000ffffffff (prio 0, rom): pc.bios
          0000000100000000-00000001bfffffff (prio 0, ram): pc.ram @00000000c0000000

        FlatView #2
         AS "cpu-smm-0", root: memory
         Root memory region: memory
          0000000000000000-00000000000fffff (prio 0, ram): other
        """;

    [Fact]
    public void The_system_view_is_read_with_the_hole()
    {
        IReadOnlyList<FlatRange> ranges = MtreeParser.Parse(SixGiB.ReplaceLineEndings("\r\n"));
        Assert.Equal(
            [
                Range(0, 0xa0000, "pc.ram", 0),
                Range(0xc0000, 0x20000, "pc.rom", 0, true),
                Range(0xe0000, 0x20000, "pc.bios", 0x20000, true),
                Range(0x100000, 0xbff00000, "pc.ram", 0x100000),
                Range(0xfffc0000, 0x40000, "pc.bios", 0, true),
                Range(0x1_0000_0000, 0xc000_0000, "pc.ram", 0xc0000000),
            ],
            ranges);
    }

    [Fact]
    public void Owners_suffixes_and_device_memory_are_understood()
    {
        IReadOnlyList<FlatRange> ranges = MtreeParser.Parse("""
            FlatView #7
             AS "vga", root: bus master container
             AS "memory", root: system
             Root memory region: system
              0000000000000000-00000000000fffff (prio 0, ram): my mem (x) @0000000000001000 KVM owner:{obj path=/objects/my mem}
              0000000000100000-00000000001fffff (prio 0, nv-ram): nv owner:{obj path=/objects/nv}
              0000000000200000-00000000002fffff (prio 1, ram): vga.vram owner:{dev path=/machine/peripheral/vga}
              0000000000300000-00000000003fffff (prio 1, ram): 0000:00:02.0/vga.vram
              0000000000400000-00000000004fffff (prio 0, ramd): vfio BAR 0 mmaps[0]
              0000000000500000-00000000005fffff (prio 0, romd): system.flash0
              0000000000600000-00000000006fffff (prio 0, rom): pc.rom parent:{obj path=/machine/unattached}
            """);
        Assert.Equal(
            [
                Range(0, 0x100000, "my mem (x)", 0x1000),
                Range(0x100000, 0x100000, "nv", 0),
                Range(0x600000, 0x100000, "pc.rom", 0, true),
            ],
            ranges);
    }

    [Theory]
    [InlineData("")]
    [InlineData("unknown command: 'info'")]
    [InlineData("FlatView #0\n AS \"memory\", root: system\n No rendered FlatView")]
    [InlineData("FlatView #0\n AS \"memory\", root: system\n  0000000000000000-000000000009ffff (prio 0, i/o): x")]
    [InlineData("FlatView #0\n AS \"memory\", root: system\n  0000000000000000-000000000009ffff (prio 0, rom): only")]
    [InlineData("FlatView #0\n AS \"other\", root: system\n  0000000000000000-000000000009ffff (prio 0, ram): x")]
    [InlineData("FlatView #0\n AS \"memory\", root: system\n  0000000000001000-0000000000000000 (prio 0, ram): backwards")]
    [InlineData("FlatView #0\n AS \"memory\", root: system\n  0000000000000000-ffffffffffffffff (prio 0, ram): all")]
    [InlineData("FlatView #0\n AS \"memory\", root: system\n  zzzz-00000000000fffff (prio 0, ram): x")]
    [InlineData("FlatView #0\n AS \"memory\", root: system\n  -(prio 0, ram): \n - (\n): (, ram): \n00-ff (ram): x")]
    [InlineData("FlatView #0\n AS \"memory\", root: system\n  0000000000000000-00000000000fffff (prio 0, ram): x @zz")]
    [InlineData("FlatView #0\n AS \"memory\", root: system\n 0-ffff (prio 0, ram): x\n 8000-8fff (prio 0, ram): y")]
    public void What_cannot_be_is_a_typed_failure(string text) => Assert.Throws<TargetException>(() => MtreeParser.Parse(text));

    [Fact]
    public void Ranges_without_end_are_refused()
    {
        string many = "FlatView #0\n AS \"memory\", root: system\n" + string.Concat(Enumerable.Range(0, 5000).Select(i => $" {i:x}000-{i:x}fff (prio 0, ram): r\n"));
        Assert.Contains("4096", Assert.Throws<TargetException>(() => MtreeParser.Parse(many)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Damaged_text_is_a_list_or_a_typed_failure(int seed)
    {
        var random = new Random(seed);
        for (int i = 0; i < 3000; i++)
        {
            char[] text = SixGiB.ToCharArray();
            for (int n = random.Next(1, 12); n > 0; n--)
                text[random.Next(text.Length)] = "0f-() ,:@\n\"x"[random.Next(12)];
            try
            {
                IReadOnlyList<FlatRange> ranges = MtreeParser.Parse(new string(text, 0, random.Next(text.Length)));
                for (int k = 1; k < ranges.Count; k++)
                    Assert.True(ranges[k - 1].Range.End.Value <= ranges[k].Range.Start.Value);
            }
            catch (TargetException)
            {
                // Said, not guessed.
            }
        }
    }

    [Fact]
    public void Maps_lines_are_read_and_odd_ones_passed_over()
    {
        IReadOnlyList<ProcessMapping> maps = ProcessMapping.Parse(
        [
            "7f9a67fff000-7f9a77fff000 rw-s 00001000 00:01 1234                       /memfd:memory-backend-memfd (deleted)",
            "7f9a77fff000-7f9a78000000 ---p 00000000 00:00 0 ",
            "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]",
            "", "x", "1-2", "2-1 rw-p 0 0:0 0", "zz-11 rw-p 0 0:0 0 a", "1-2 r 0 0:0 0", "1-2 rw-p 0 00 0", "1-2 rw-p 0 0:0 99999999999999999999999",
        ]);
        Assert.Equal(3, maps.Count);
        Assert.Equal(
            new ProcessMapping(0x7f9a67fff000, 0x7f9a77fff000, true, 0x1000, 0, 1, 1234, "/memfd:memory-backend-memfd (deleted)"), maps[0]);
        Assert.Equal((false, 0ul, ""), (maps[1].IsShared, maps[1].Inode, maps[1].Path));
    }

    private static FlatRange Range(ulong start, ulong length, string name, ulong offset, bool rom = false) =>
        new(new PhysicalRange(new PhysicalAddress(start), length), name, offset, rom);
}
