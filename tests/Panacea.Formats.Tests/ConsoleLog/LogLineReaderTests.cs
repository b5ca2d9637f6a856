using Panacea.Formats.ConsoleLog;

namespace Panacea.Formats.Tests.ConsoleLog;

public sealed class LogLineReaderTests
{
    [Fact]
    public void Carriage_returns_nuls_and_escape_sequences_are_taken_away() =>
        Assert.Equal(["one", "two", "three", "four"], Lines("one\r\n\0tw\0o\r\r\n\x1b[1;31mthree\x1b[0m\n\x1b]0;title\afour\x1b"));

    [Fact]
    public void A_line_is_kept_up_to_the_limit_and_the_rest_is_dropped()
    {
        var reader = new LogLineReader(new StringReader(new string('x', 200_000) + "\nafter\n"), FormatLimits.Default with { MaxLogLineChars = 100 });
        Assert.Equal(100, reader.Read(out _)!.Length);
        Assert.Equal("after", reader.Read(out long number));
        Assert.Equal(2, number);
        Assert.Null(reader.Read(out _));
        Assert.Equal((2, 1), (reader.Lines, reader.TruncatedLines));
    }

    [Fact]
    public void The_last_line_needs_no_end() => Assert.Equal(["a", "b"], Lines("a\n\nb"));

    private static List<string> Lines(string text)
    {
        var reader = new LogLineReader(new StringReader(text), FormatLimits.Default);
        var lines = new List<string>();
        while (reader.Read(out _) is { } line)
            lines.Add(line);
        return lines;
    }
}
