using Panacea.Diagnosis.Rendering;

namespace Panacea.Diagnosis.Tests.Rendering;

public class SafeTests
{
    [Theory]
    [InlineData("kworker/0:1-events", "kworker/0:1-events")]
    [InlineData("Grüße, мир, 世界", "Grüße, мир, 世界")]
    [InlineData("a\x1b[2Jb", "a\\x1b[2Jb")]
    [InlineData("a\u009b31mb", "a\\x9b31mb")]
    [InlineData("one\r\ntwo\t\0", "one\\r\\ntwo\\t\\x00")]
    [InlineData("\u202egpj.exe", "\\u{202e}gpj.exe")]
    [InlineData("a\u200b\u2066\ufeffb", "a\\u{200b}\\u{2066}\\u{feff}b")]
    [InlineData("a\u00a0b\u2028c", "a\\xa0b\\u{2028}c")]
    [InlineData("\U000e0041", "\\u{e0041}")]
    [InlineData("e\u0301", "e\u0301")]
    [InlineData("e\u0301\u0301\u0301", "e\u0301\u0301\\u{301}")]
    [InlineData("\u3164", "\\u{3164}")]
    [InlineData(null, "")]
    public void Text_is_one_line_of_visible_characters(string? text, string expected) => Assert.Equal(expected, Safe.Text(text));

    [Fact]
    public void Half_a_surrogate_pair_is_escaped() => Assert.Equal("\\u{d800}x\\u{dc00}", Safe.Text("\ud800x\udc00"));

    [Fact]
    public void No_code_point_gets_a_control_character_through()
    {
        for (int value = 0; value <= 0x10ffff; value++)
        {
            string text = value is >= 0xd800 and <= 0xdfff ? ((char)value).ToString() : char.ConvertFromUtf32(value);
            string shown = Safe.Text(text);
            Assert.DoesNotContain(shown, c => char.IsControl(c));
            Assert.NotEqual(0, shown.Length);
        }
    }

    [Fact]
    public void Text_is_cut_where_it_is_too_long_and_says_so()
    {
        Assert.Equal("aaaa…", Safe.Text("aaaaaa", 4));
        Assert.Equal("aaaa", Safe.Text("aaaa", 4));
    }

    [Fact]
    public void Markup_of_the_console_library_is_text() =>
        Assert.Equal("[[red]]x[[/]]", Safe.Markup("[red]x[/]"));

    [Theory]
    [InlineData("oops_end in crash_c+0x12/0x30 [crashtest]", "oops_end in crash_c+0x12/0x30 \\[crashtest\\]")]
    [InlineData("<img src=x>", "\\<img src=x\\>")]
    [InlineData("[a](http://x)", "\\[a\\](http\\://x)")]
    [InlineData("www.evil.example", "www\\.evil.example")]
    [InlineData("a | b", "a \\| b")]
    [InlineData("*b* _i_ `c` ~s~ &amp;", "\\*b\\* \\_i\\_ \\`c\\` \\~s\\~ \\&amp;")]
    [InlineData("# head", "\\# head")]
    [InlineData("1. item", "1\\. item")]
    [InlineData("- item", "\\- item")]
    [InlineData("a sentence: plain.", "a sentence: plain.")]
    public void Markdown_is_text(string text, string expected) => Assert.Equal(expected, Safe.Markdown(text));

    /// <summary>In a cell nothing leads a line: a number stays readable as plain text.</summary>
    [Theory]
    [InlineData("464.6 MiB", "464.6 MiB")]
    [InlineData("1. x", "1. x")]
    [InlineData("- 5", "- 5")]
    [InlineData("a|b <c>", "a\\|b \\<c\\>")]
    public void In_a_cell_only_what_ends_it_or_is_markup_is_escaped(string text, string expected) => Assert.Equal(expected, Safe.Markdown(text, leadsLine: false));

    [Theory]
    [InlineData("", "–")]
    [InlineData("x", "`x`")]
    [InlineData("a`b", "``a`b``")]
    [InlineData("`", "`` ` ``")]
    [InlineData("a``b`", "``` a``b` ```")]
    [InlineData(" x", "`  x `")]
    public void A_code_span_is_never_ended_by_its_text(string text, string expected) => Assert.Equal(expected, Safe.Code(text));

    [Fact]
    public void A_bar_in_a_code_span_does_not_end_a_table_cell()
    {
        Assert.Equal("`a\\|b`", Safe.Code("a|b", inTable: true));
        Assert.Equal("`a|b`", Safe.Code("a|b"));
    }

    [Fact]
    public void A_block_is_never_ended_by_its_lines() =>
        Assert.Equal("````\n```\n# x\n````", Safe.Block(["```", "# x"]));
}
