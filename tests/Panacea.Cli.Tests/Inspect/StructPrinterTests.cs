using Panacea.Cli.Services.Inspection;
using Panacea.Formats;
using Panacea.Formats.Btf;
using Panacea.TestKit.Formats;

namespace Panacea.Cli.Tests.Inspect;

/// <summary>Structures spelled out by types of the guest, which may be anything.</summary>
public sealed class StructPrinterTests
{
    private const int Signed = 1, Boolean = 4;

    private static BtfType Find(SyntheticBtf btf, string name)
    {
        Assert.True(BtfData.TryBuild(btf.Build(), null, FormatLimits.Default, out BtfData data, out string why), why);
        Assert.True(data.TryFind(name, BtfKind.Struct, out BtfType type));
        return type;
    }

    private static string[] Print(BtfType type, byte[] bytes)
    {
        var printer = new StructPrinter(null);
        printer.Add(type, bytes, 0, "");
        return [.. printer.Rows.Select(r => $"{r.Depth} {r.Offset} {r.Name} = {r.Value ?? ":"}")];
    }

    [Fact]
    public void Members_are_read_as_their_types_say()
    {
        var btf = new SyntheticBtf();
        uint u32 = btf.Int("unsigned int", 4), s32 = btf.Int("int", 4, Signed), u8 = btf.Int("unsigned char", 1), character = btf.Int("char", 1, Signed), flag = btf.Int("bool", 1, Boolean), s64 = btf.Int("long", 8, Signed);
        uint state = btf.Enum("state", true, ("IDLE", 0), ("LOST", -1));
        uint inner = btf.Struct("inner", 8, new SyntheticMember("next", btf.Ptr(u32), 0));
        uint union = btf.Union("", 8, new("whole", s64, 0), new("low", u32, 0));
        btf.Struct("all", 80,
            new("count", u32, 0), new("balance", s32, 32), new("alive", flag, 64), new("name", btf.Array(character, u32, 7), 72), new("link", inner, 128), new("", union, 192),
            new("bytes", btf.Array(u8, u32, 10), 256), new("zeroes", btf.Array(s64, u32, 2), 384), new("state", state, 512), new("tail", btf.Array(u8, u32, 0), 640));
        byte[] bytes = new byte[80];
        BitConverter.TryWriteBytes(bytes, 70_000u);
        BitConverter.TryWriteBytes(bytes.AsSpan(4), -5);
        bytes[8] = 1;
        "evil"u8.CopyTo(bytes.AsSpan(9));
        BitConverter.TryWriteBytes(bytes.AsSpan(16), 0xffff_8880_0000_1000);
        BitConverter.TryWriteBytes(bytes.AsSpan(24), -1L);
        bytes[32] = 7;
        BitConverter.TryWriteBytes(bytes.AsSpan(64), -1);
        Assert.Equal(
            [
                "0 0 count = 70000 (0x11170)", "0 4 balance = -5", "0 8 alive = true", "0 9 name = \"evil\"", "0 16 link = :", "1 16 next = 0xffff888000001000", "0 24 whole = -1",
                "0 24 low = 4294967295 (0xffffffff)", "0 32 bytes = {7, 0, 0, 0, 0, 0, 0, 0, …}", "0 48 zeroes = all 0", "0 64 state = LOST (-1)", "0 80 tail = empty",
            ],
            Print(Find(btf, "all"), bytes));
    }

    [Fact]
    public void Bitfields_are_cut_out_of_their_words()
    {
        var btf = new SyntheticBtf();
        uint u32 = btf.Int("unsigned int", 4), s32 = btf.Int("int", 4, Signed);
        btf.Struct("bits", 4, new("low", u32, 0, 3), new("mid", s32, 3, 4), new("high", u32, 20, 12));
        Assert.Equal(["0 0 low:3 = 5", "0 0 mid:4 = -1", "0 2 high:12 = 4095"], Print(Find(btf, "bits"), [0b0111_1101, 0, 0xf0, 0xff]));
    }

    [Fact]
    public void What_lies_outside_of_the_bytes_is_said_not_read()
    {
        var btf = new SyntheticBtf();
        uint u64 = btf.Int("long", 8);
        btf.Struct("liar", 8, new("inside", u64, 0), new("outside", u64, 64), new("far", u64, 0xff_fff8), new("bits", btf.Int("u", 4), 0));
        string[] rows = Print(Find(btf, "liar"), new byte[8]);
        Assert.Equal(["0 0 inside = 0", "0 8 outside = no size"], rows[..2]);
        Assert.EndsWith("no size", rows[2], StringComparison.Ordinal);
    }

    [Fact]
    public void A_structure_of_structures_ends()
    {
        var btf = new SyntheticBtf();
        uint at = btf.Struct("s0", 8, new("a", btf.Int("long", 8), 0), new("b", btf.NextId - 1, 0));
        for (int i = 1; i < 40; i++)
            at = btf.Struct($"s{i}", 8, new("x", at, 0), new("y", at, 0));
        var printer = new StructPrinter(null);
        printer.Add(Find(btf, "s39"), new byte[8], 0, "");
        Assert.InRange(printer.Rows.Count, 1, 9000);
    }

    [Fact]
    public void Whatever_the_types_and_bytes_are_the_printer_ends()
    {
        for (int seed = 0; seed < 300; seed++)
        {
            var random = new Random(seed);
            byte[] noise = new byte[64];
            random.NextBytes(noise);
            FuzzTargets.Print(noise);
        }
    }
}

/// <summary>One entry per reader of guest bytes in this room, for a fuzzer and for the smoke test.</summary>
internal static class FuzzTargets
{
    /// <summary>A structure whose types and bytes are made from the data: two bytes a type, the rest what is printed.</summary>
    public static void Print(ReadOnlySpan<byte> data)
    {
        var btf = new SyntheticBtf();
        int types = Math.Min(16, data.Length / 2);
        uint first = btf.Int("u8", 1);
        for (int i = 0; i < types; i++)
        {
            (byte kind, byte what) = (data[2 * i], data[(2 * i) + 1]);
            uint to = first + (what % btf.NextId);
            _ = (kind % 8) switch
            {
                0 => btf.Int($"i{i}", 1 << (what & 3), what >> 4 & 7, what & 63, what & 7),
                1 => btf.Array(to, first, (uint)what * 0x0101_0101),
                2 => btf.Struct($"s{i}", what, new("a", to, what), new("", btf.NextId > 2 ? btf.NextId - 1 : first, (uint)what << 3)),
                3 => btf.Struct($"b{i}", 8, new("x", to, what, what & 63), new("y", first, (uint)what << 16, 64)),
                4 => btf.Ptr(to),
                5 => btf.Typedef($"t{i}", to),
                6 => btf.Enum($"e{i}", (what & 1) != 0, ("A", what), ("B", -what)),
                _ => btf.Union($"u{i}", what, new("", to, 0), new("z", to, what)),
            };
        }

        uint last = btf.NextId - 1;
        if (!BtfData.TryBuild(btf.Build(), null, FormatLimits.Default, out BtfData types2, out _) || !types2.TryGetType(last, out BtfType type))
            return;
        var printer = new StructPrinter(null);
        printer.Add(type, data.ToArray(), 0, "");
        if (printer.Rows.Count > 10_000)
            throw new InvalidOperationException($"{printer.Rows.Count} rows");
    }
}
