using System.Buffers.Binary;
using Panacea.Formats.Kallsyms;
using Panacea.TestKit.Formats;

namespace Panacea.Formats.Tests.Kallsyms;

public sealed class KallsymsLocatorTests
{
    public static TheoryData<string, SyntheticKallsymsOrder, bool, bool, bool> Layouts => new()
    {
        { "5.10", SyntheticKallsymsOrder.OffsetsFirst, true, false, false },
        { "6.1", SyntheticKallsymsOrder.OffsetsFirst, true, false, true },
        { "6.1 stable, 6.2, 6.3", SyntheticKallsymsOrder.OffsetsFirst, true, true, true },
        { "6.4 to 6.14", SyntheticKallsymsOrder.TokensFirst, true, true, true },
        { "6.15 to 6.19", SyntheticKallsymsOrder.TokensFirst, false, true, true },
        { "7.0", SyntheticKallsymsOrder.SelfRelative, false, true, true },
    };

    [Theory]
    [MemberData(nameof(Layouts))]
    public void Every_layout_is_found_and_read_completely(string kernel, SyntheticKallsymsOrder order, bool perCpu, bool seqs, bool longNames)
    {
        _ = kernel;
        foreach (int count in (int[])[512, 700, 767, 768, 769, 3001])
        {
            SyntheticKallsyms synthetic = new SyntheticKallsyms { Order = order, AbsolutePerCpu = perCpu, Seqs = seqs, LongNames = longNames }.AddMany(count, count);
            byte[] image = synthetic.Build();

            Assert.True(KallsymsLocator.TryLocate(image, synthetic.ImageBase, out KallsymsLayout layout, out string whyNot), whyNot);
            Assert.Equal(order.ToString(), layout.Order.ToString());
            Assert.Equal(count, layout.SymbolCount);
            Assert.Equal(perCpu, layout.AbsolutePerCpu);
            Assert.Equal(longNames, layout.LongNames);
            Assert.Equal(order == SyntheticKallsymsOrder.SelfRelative ? 0 : synthetic.TextBase, layout.RelativeBase);
            ulong At(string table) => synthetic.Positions.TryGetValue(table, out int p) ? synthetic.ImageBase + (ulong)p : 0;
            Assert.Equal(At("kallsyms_num_syms"), layout.NumSyms);
            Assert.Equal(At("kallsyms_names"), layout.Names);
            Assert.Equal(At("kallsyms_markers"), layout.Markers);
            Assert.Equal(At("kallsyms_token_table"), layout.TokenTable);
            Assert.Equal(At("kallsyms_token_index"), layout.TokenIndex);
            Assert.Equal(At("kallsyms_offsets"), layout.Offsets);
            Assert.Equal(At("kallsyms_relative_base"), layout.RelativeBaseAddress);
            Assert.Equal(At("kallsyms_seqs_of_names"), layout.SeqsOfNames);

            Assert.True(KallsymsReader.TryRead(image, synthetic.ImageBase, layout, FormatLimits.Default, out SymbolTable table, out ulong text, out whyNot), whyNot);
            Assert.Equal(synthetic.TextBase, text);
            Assert.Equal(synthetic.Symbols, table.Enumerate().Select(s => new SyntheticSymbol(s.AddressAt(text), s.Type, table.Name(s), s.IsAbsolute)));
        }
    }

    [Fact]
    public void Known_addresses_give_the_same_layout_and_wrong_ones_are_refused()
    {
        SyntheticKallsyms synthetic = new SyntheticKallsyms { Order = SyntheticKallsymsOrder.TokensFirst }.AddMany(900);
        byte[] image = synthetic.Build();
        Assert.True(KallsymsLocator.TryLocate(image, synthetic.ImageBase, out KallsymsLayout searched, out _));
        var known = new KallsymsAddresses(searched.TokenTable, searched.TokenIndex, searched.NumSyms, searched.Names, searched.Offsets, searched.RelativeBaseAddress);

        Assert.True(KallsymsLocator.TryFromAddresses(image, synthetic.ImageBase, known, FormatLimits.Default, out KallsymsLayout layout, out _));
        Assert.Equal(searched, layout);
        Assert.True(KallsymsLocator.TryFromAddresses(image, synthetic.ImageBase, new KallsymsAddresses(searched.TokenTable), FormatLimits.Default, out layout, out _));
        Assert.Equal(searched, layout);

        foreach (KallsymsAddresses wrong in (KallsymsAddresses[])[
            known with { TokenTable = 0 }, known with { TokenTable = searched.TokenTable + 8 }, known with { TokenTable = ulong.MaxValue },
            known with { TokenIndex = searched.TokenIndex + 8 }, known with { NumSyms = 8 }, known with { Names = searched.Names - 8 },
            known with { Offsets = searched.Offsets + 4 }, known with { RelativeBase = 1 }])
        {
            Assert.False(KallsymsLocator.TryFromAddresses(image, synthetic.ImageBase, wrong, FormatLimits.Default, out _, out string whyNot));
            Assert.NotEmpty(whyNot);
        }
    }

    [Fact]
    public void A_token_table_that_is_a_decoy_is_passed_over()
    {
        SyntheticKallsyms synthetic = new SyntheticKallsyms().AddMany(600);
        byte[] image = synthetic.Build();
        "0\01\02\03\04\05\06\07\08\09\0"u8.CopyTo(image.AsSpan(64));
        Assert.True(KallsymsLocator.TryLocate(image, synthetic.ImageBase, out KallsymsLayout layout, out _));
        Assert.Equal(600, layout.SymbolCount);
    }

    [Theory]
    [InlineData("kallsyms_markers", 4, "fit together")]
    [InlineData("kallsyms_num_syms", 0, "fit together")]
    [InlineData("kallsyms_names", 0, "fit together")]
    [InlineData("kallsyms_token_index", 40, "no kallsyms token table")]
    [InlineData("kallsyms_token_table", 3, "no kallsyms token table")]
    [InlineData("kallsyms_offsets", 1003, "no table of their addresses")]
    [InlineData("kallsyms_relative_base", 7, "no table of their addresses")]
    public void One_damaged_byte_in_any_table_is_noticed(string table, int at, string expected)
    {
        foreach (SyntheticKallsymsOrder order in (SyntheticKallsymsOrder[])[SyntheticKallsymsOrder.OffsetsFirst, SyntheticKallsymsOrder.TokensFirst])
        {
            SyntheticKallsyms synthetic = new SyntheticKallsyms { Order = order }.AddMany(800);
            byte[] image = synthetic.Build();
            ref byte damaged = ref image[synthetic.Positions[table] + at];
            damaged = table == "kallsyms_token_table" ? (byte)0 : unchecked((byte)(damaged + 0x41));
            Assert.False(KallsymsLocator.TryLocate(image, synthetic.ImageBase, out _, out string whyNot));
            Assert.Contains(expected, whyNot, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Truncated_images_are_refused_at_every_length()
    {
        foreach (SyntheticKallsymsOrder order in Enum.GetValues<SyntheticKallsymsOrder>())
        {
            SyntheticKallsyms synthetic = new SyntheticKallsyms { Order = order, Seqs = false, AbsolutePerCpu = order == 0 }.AddMany(520);
            byte[] image = synthetic.Build();
            string last = order switch
            {
                SyntheticKallsymsOrder.OffsetsFirst => "kallsyms_token_index",
                SyntheticKallsymsOrder.TokensFirst => "kallsyms_relative_base",
                _ => "kallsyms_offsets",
            };
            int end = synthetic.Positions[last] + last switch { "kallsyms_token_index" => 512, "kallsyms_relative_base" => 8, _ => 4 * 520 };
            for (int length = end - 1; length > 0; length -= Math.Max(1, (end - length) / 3))
                Assert.False(KallsymsLocator.TryLocate(image.AsSpan(0, length), synthetic.ImageBase, out _, out _));
            Assert.True(KallsymsLocator.TryLocate(image.AsSpan(0, end), synthetic.ImageBase, out _, out string whyNot), whyNot);
        }
    }

    [Fact]
    public void A_count_over_the_limit_is_not_believed()
    {
        SyntheticKallsyms synthetic = new SyntheticKallsyms().AddMany(600);
        Assert.False(KallsymsLocator.TryLocate(synthetic.Build(), synthetic.ImageBase, FormatLimits.Default with { MaxSymbols = 599 }, out _, out _));
    }

    [Fact]
    public void Images_at_impossible_addresses_are_refused()
    {
        Assert.False(KallsymsLocator.TryLocate(new byte[64], 4, out _, out string whyNot));
        Assert.Contains("multiple of 8", whyNot, StringComparison.Ordinal);
        Assert.False(KallsymsLocator.TryLocate(new byte[64], ulong.MaxValue - 15, out _, out whyNot));
        Assert.Contains("wraps", whyNot, StringComparison.Ordinal);
        Assert.False(KallsymsLocator.TryLocate([], 0, out _, out _));
    }

    [Fact]
    public void The_reader_trusts_no_layout()
    {
        SyntheticKallsyms synthetic = new SyntheticKallsyms().AddMany(600);
        byte[] image = synthetic.Build();
        Assert.True(KallsymsLocator.TryLocate(image, synthetic.ImageBase, out KallsymsLayout good, out _));
        foreach (KallsymsLayout bad in (KallsymsLayout[])[
            good with { SymbolCount = -1 }, good with { SymbolCount = int.MaxValue }, good with { SymbolCount = 601 }, good with { Names = 0 },
            good with { Names = ulong.MaxValue }, good with { NamesLength = -4 }, good with { NamesLength = 100 }, good with { TokenIndex = good.TokenTable },
            good with { TokenIndex = ulong.MaxValue - 4 }, good with { Offsets = good.Offsets + 0x100_0000 }, good with { TokenTable = good.TokenIndex + 8 }])
        {
            Assert.False(KallsymsReader.TryRead(image, synthetic.ImageBase, bad, FormatLimits.Default, out _, out _, out string whyNot));
            Assert.NotEmpty(whyNot);
        }

        Assert.False(KallsymsReader.TryRead(image, synthetic.ImageBase, good, FormatLimits.Default with { MaxSymbolNameBytes = 100 }, out _, out _, out string tooLong));
        Assert.Contains("longer than 100", tooLong, StringComparison.Ordinal);
        Assert.False(KallsymsReader.TryRead(image, synthetic.ImageBase, good, FormatLimits.Default with { MaxSymbolNamesBytes = 1000 }, out _, out _, out string tooMany));
        Assert.Contains("bytes of symbol names", tooMany, StringComparison.Ordinal);
        BinaryPrimitives.WriteUInt16LittleEndian(image.AsSpan(synthetic.Positions["kallsyms_token_index"] + 2 * 'T'), 0xffff);
        Assert.False(KallsymsReader.TryRead(image, synthetic.ImageBase, good, FormatLimits.Default, out _, out _, out _));
    }
}
