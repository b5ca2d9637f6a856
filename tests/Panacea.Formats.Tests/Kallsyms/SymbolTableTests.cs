using System.Text;
using CsCheck;
using Panacea.Formats.Kallsyms;

namespace Panacea.Formats.Tests.Kallsyms;

public sealed class SymbolTableTests
{
    private const ulong Base = 0xffff_ffff_a300_0000;

    private static SymbolTable Build(out ulong baseAddress, ulong end, params (ulong Address, char Type, string Name, bool Absolute)[] symbols)
    {
        var builder = new SymbolTableBuilder();
        foreach ((ulong address, char type, string name, bool absolute) in symbols)
            builder.Add(address, type, name, absolute);
        Assert.True(builder.TryBuild(end, out SymbolTable table, out baseAddress, out string whyNot), whyNot);
        return table;
    }

    private static SymbolTable Kernel() => Build(out _, Base + 0x1000,
        (0x0, 'D', "__per_cpu_start", true), (0x40, 'D', "current_task", true),
        (Base, 'T', "_text", false), (Base, 'T', "startup_64", false), (Base + 0x100, 't', "helper", false), (Base + 0x180, 'T', "oops_end", false),
        (Base + 0x200, 't', "helper", false), (Base + 0x200, 't', "alias", false), (Base + 0x400, 'B', "panic_on_oops", false));

    [Theory]
    [InlineData(0, "_text", 0, 0x100)]
    [InlineData(0xff, "_text", 0xff, 0x100)]
    [InlineData(0x100, "helper", 0, 0x80)]
    [InlineData(0x1ff, "oops_end", 0x7f, 0x80)]
    [InlineData(0x200, "helper", 0, 0x200)]
    [InlineData(0x3ff, "helper", 0x1ff, 0x200)]
    [InlineData(0x400, "panic_on_oops", 0, 0xc00)]
    [InlineData(0xfff, "panic_on_oops", 0xbff, 0xc00)]
    public void Addresses_belong_to_the_first_symbol_at_or_before_them_at_any_kaslr_base(int offset, string name, int inside, int size)
    {
        SymbolTable table = Kernel();
        foreach (ulong at in (ulong[])[Base, 0xffff_ffff_8100_0000, 0xffff_ffff_ff00_0000])
        {
            Assert.True(table.TryFindByAddress(at + (ulong)offset, at, out SymbolHit hit));
            Assert.Equal((name, (ulong)inside, (ulong)size), (table.Name(hit.Symbol), hit.Offset, hit.Size));
        }
    }

    [Fact]
    public void Addresses_outside_belong_to_nothing()
    {
        SymbolTable table = Kernel();
        foreach (ulong outside in (ulong[])[0, 0x40, Base - 1, Base + 0x1000, unchecked(Base + 0x1_0000_0000), ulong.MaxValue])
            Assert.False(table.TryFindByAddress(outside, Base, out _));
    }

    [Fact]
    public void Without_an_end_only_the_last_symbols_own_address_is_found()
    {
        SymbolTable table = Build(out ulong at, 0, (0x1000, 'T', "a", false), (0x2000, 'B', "_end", false));
        Assert.True(table.TryFindByAddress(0x2000, at, out SymbolHit hit));
        Assert.Equal(("_end", 0UL), (table.Name(hit.Symbol), hit.Size));
        Assert.False(table.TryFindByAddress(0x2001, at, out _));
    }

    [Fact]
    public void Absolute_symbols_do_not_move_and_are_kept_apart()
    {
        SymbolTable table = Kernel();
        Assert.Equal(2, table.AbsoluteCount);
        Assert.True(table.TryFindAddress("current_task", 0xffff_ffff_8100_0000, out ulong value));
        Assert.Equal(0x40UL, value);
        Assert.True(table.TryFindAbsolute(0x3f, out SymbolHit hit));
        Assert.Equal(("__per_cpu_start", 0x3fUL, 0x40UL), (table.Name(hit.Symbol), hit.Offset, hit.Size));
        Assert.True(table.TryFindAbsolute(0x50, out hit));
        Assert.Equal(("current_task", 0x10UL, 0UL), (table.Name(hit.Symbol), hit.Offset, hit.Size));
        Assert.False(table.TryFindAbsolute(ulong.MaxValue, out _));
    }

    [Fact]
    public void Names_are_found_first_match_first()
    {
        SymbolTable table = Kernel();
        Assert.True(table.TryFindByName("helper", out Symbol symbol));
        Assert.Equal(Base + 0x100, symbol.AddressAt(Base));
        Assert.True(symbol.IsText);
        var all = new List<ulong>();
        foreach (Symbol match in table.FindAllByName("helper"))
            all.Add(match.AddressAt(Base));
        Assert.Equal([Base + 0x100, Base + 0x200], all);
        Assert.False(table.TryFindByName("Helper", out _));
        Assert.False(table.TryFindByName("", out _));
        Assert.False(table.TryFindAddress("helpe", Base, out _));
    }

    [Fact]
    public void Triples_in_any_order_are_sorted_and_the_lowest_is_the_base()
    {
        SymbolTable table = Build(out ulong at, 0xffff_ffff_c000_3000,
            (0xffff_ffff_c000_2000, 'd', "data", false), (7, 'a', "constant", true), (0xffff_ffff_c000_0010, 't', "second", false),
            (0xffff_ffff_c000_0000, 't', "init_module", false), (0xffff_ffff_c000_0010, 't', "third", false), (3, 'a', "small", true));
        Assert.Equal(0xffff_ffff_c000_0000, at);
        Assert.Equal(["small", "constant", "init_module", "second", "third", "data"], table.Enumerate().Select(table.Name));
        Assert.Equal(0x3000UL, table.EndOffset);
    }

    [Fact]
    public void Tables_without_symbols_or_with_absolute_ones_only_find_nothing()
    {
        SymbolTable none = Build(out ulong at, 0);
        Assert.Equal((0, 0UL), (none.Count, at));
        Assert.False(none.TryFindByAddress(0, 0, out _));
        Assert.False(none.TryFindAbsolute(0, out _));
        Assert.False(none.TryFindByName("x", out _));
        SymbolTable absolute = Build(out at, 0, (5, 'A', "five", true));
        Assert.Equal(0UL, at);
        Assert.False(absolute.TryFindByAddress(5, 0, out _));
        Assert.Throws<ArgumentOutOfRangeException>(() => absolute[1]);
        Assert.Throws<ArgumentOutOfRangeException>(() => absolute.Name(-1));
    }

    [Fact]
    public void What_is_over_the_limits_fails_the_build()
    {
        (FormatLimits Limits, string Expected)[] cases =
        [
            (FormatLimits.Default with { MaxSymbols = 1 }, "more than 1 symbols"),
            (FormatLimits.Default with { MaxSymbolNameBytes = 3 }, "longer than 3"),
            (FormatLimits.Default with { MaxSymbolNamesBytes = 7 }, "more than 7 bytes"),
        ];
        foreach ((FormatLimits limits, string expected) in cases)
        {
            var builder = new SymbolTableBuilder(limits);
            builder.Add(1, 'T', "abcd");
            builder.Add(2, 'T', "efgh");
            Assert.False(builder.TryBuild(0, out _, out _, out string whyNot));
            Assert.Contains(expected, whyNot, StringComparison.Ordinal);
        }

        var far = new SymbolTableBuilder();
        far.Add(0, 'T', "low");
        far.Add(1UL << 32, 'T', "high");
        Assert.False(far.TryBuild(0, out _, out _, out string tooFar));
        Assert.Contains("4 GiB", tooFar, StringComparison.Ordinal);
    }

    [Fact]
    public void Stored_sections_open_again_and_wrong_lengths_are_refused()
    {
        SymbolTableSections s = Kernel().Sections;
        Assert.True(SymbolTable.TryOpen(s, out SymbolTable again, out string whyNot), whyNot);
        Assert.True(again.TryFindByName("oops_end", out _));
        byte[] header = s.Header.ToArray();
        header[0] ^= 1;
        foreach (SymbolTableSections bad in (SymbolTableSections[])[
            default, s with { Header = header }, s with { Header = s.Header[..31] }, s with { Values = s.Values[4..] }, s with { Types = s.Types[1..] },
            s with { NameOffsets = s.NameOffsets[4..] }, s with { NameIndex = s.NameIndex[4..] }, s with { NameIndex = default }])
        {
            Assert.False(SymbolTable.TryOpen(bad, out _, out whyNot));
            Assert.NotEmpty(whyNot);
        }
    }

    [Fact]
    public void Damaged_sections_throw_a_typed_error_and_never_read_outside()
    {
        SymbolTableSections s = Kernel().Sections;
        byte[] ones = new byte[s.NameOffsets.Length];
        ones.AsSpan().Fill(0xff);
        Assert.True(SymbolTable.TryOpen(s with { NameOffsets = ones }, out SymbolTable table, out _));
        Assert.Throws<InvalidDataException>(() => table.Name(0));
        Assert.Throws<InvalidDataException>(() => table.TryFindByName("_text", out _));
        byte[] index = s.NameIndex.ToArray();
        index.AsSpan(8).Fill(0xff);
        Assert.True(SymbolTable.TryOpen(s with { NameIndex = index }, out table, out _));
        Assert.Throws<InvalidDataException>(() => table.TryFindByName("_text", out _));
    }

    [Fact]
    public void Lookups_agree_with_a_linear_search()
    {
        Gen.Select(Gen.UInt[0, 2000], Gen.Char['a', 'e'], Gen.Bool).Array[1, 60].Sample(triples =>
        {
            var builder = new SymbolTableBuilder();
            foreach ((uint offset, char name, bool absolute) in triples)
                builder.Add(absolute ? offset : Base + offset, 'T', name.ToString(), absolute);
            Assert.True(builder.TryBuild(Base + 2500, out SymbolTable table, out ulong at, out _));
            var moving = triples.Where(t => !t.Item3).Select(t => Base + t.Item1).Order().ToArray();
            for (ulong address = Base - 1; address < Base + 2510; address += 7)
            {
                bool expected = moving.Length > 0 && address >= moving[0] && address < Base + 2500;
                Assert.Equal(expected, table.TryFindByAddress(address, at, out SymbolHit hit));
                if (!expected)
                    continue;
                ulong start = moving.Last(m => m <= address);
                ulong next = moving.Where(m => m > address).DefaultIfEmpty(Base + 2500).First();
                Assert.Equal((start, address - start, next - start), (hit.Symbol.AddressAt(at), hit.Offset, hit.Size));
            }

            for (char name = 'a'; name <= 'f'; name++)
            {
                int found = 0;
                int last = -1;
                foreach (Symbol symbol in table.FindAllByName(Encoding.UTF8.GetBytes([name])))
                {
                    Assert.True(symbol.Index > last);
                    last = symbol.Index;
                    found++;
                }

                Assert.Equal(triples.Count(t => t.Item2 == name), found);
            }
        }, iter: 200, threads: 1, seed: "0000000000001");
    }
}
