using Panacea.Formats.ConsoleLog;

namespace Panacea.Formats.Tests.ConsoleLog;

public sealed class LogPrefixesTests
{
    private const string Text = "BUG: kernel NULL pointer dereference, address: 0000000000000010";

    [Theory]
    [InlineData("")]
    [InlineData("[   12.345678] ")]
    [InlineData("<1>[   12.345678] ")]
    [InlineData("[   12.345678][  T135] ")]
    [InlineData("[   12.345678] [   C0] ")]
    [InlineData("[  T135][   12.345678] ")]
    [InlineData("<1>")]
    [InlineData("kernel: ")]
    [InlineData("kernel: [   12.345678] ")]
    [InlineData("Nov 25 10:00:00 host kernel: ")]
    [InlineData("Nov  5 10:00:00 host kernel: [   12.345678] ")]
    [InlineData("Nov 25 10:00:00.123456 host.example kernel: [   12.345678] ")]
    [InlineData("2025-11-25T10:00:00+0000 host kernel: ")]
    [InlineData("2025-11-25T10:00:00.123456+01:00 host kernel: [   12.345678] ")]
    [InlineData("[   12.345678] host kernel: ")]
    [InlineData("[Tue Nov 25 10:00:00 2025] ")]
    [InlineData("[2025-11-25 10:00:00] [   12.345678] ")]
    [InlineData("kern  :alert : [   12.345678] ")]
    [InlineData("kern  :alert : [Tue Nov 25 10:00:00 2025] ")]
    [InlineData("1,123,12345678,-;")]
    [InlineData("1,123,12345678,-,caller=T135;")]
    public void What_stands_before_a_message_is_taken_off(string prefix)
    {
        LogLine line = Assert.Single(LogPrefixes.Split(7, prefix + Text));
        Assert.Equal(Text, line.Text);
        Assert.True(line.IsKernel);
        Assert.Equal(7, line.Number);
        bool isStamped = prefix.Contains("12.345678", StringComparison.Ordinal) || prefix.Contains("12345678", StringComparison.Ordinal);
        Assert.Equal(isStamped ? 12_345_678_000UL : null, line.TimestampNs);
        Assert.Equal(prefix.Contains("T135", StringComparison.Ordinal) ? "T135" : prefix.Contains("C0", StringComparison.Ordinal) ? "C0" : null, line.Caller);
        Assert.Equal(prefix.Contains("<1>", StringComparison.Ordinal) || prefix.Contains("alert", StringComparison.Ordinal) || prefix.StartsWith("1,", StringComparison.Ordinal) ? 1 : null, line.Level);
        Assert.Equal(prefix.Contains("2025", StringComparison.Ordinal) || prefix.Contains("Nov", StringComparison.Ordinal), line.WallClock is not null);
    }

    [Theory]
    [InlineData("Nov 25 10:00:00 host systemd[1]: Started a service.")]
    [InlineData("2025-11-25T10:00:00+0000 host sshd[812]: " + Text)]
    [InlineData("[   12.345678] host systemd[1]: " + Text)]
    public void Lines_of_other_programs_are_not_the_kernels(string raw) => Assert.False(Assert.Single(LogPrefixes.Split(1, raw)).IsKernel);

    [Theory]
    [InlineData("[   12.345678] Call Trace:")]
    [InlineData("[   12.345678] [<ffffffff81234567>] widget_open+0x1/0x20")]
    [InlineData("[   12.345678] [    135]     0   135      123 tail")]
    public void What_only_looks_like_a_prefix_stays(string raw) => Assert.Equal(raw[15..], Assert.Single(LogPrefixes.Split(1, raw)).Text);

    [Fact]
    public void A_frame_keeps_the_space_before_it() => Assert.Equal("  widget_open+0x1/0x20", Assert.Single(LogPrefixes.Split(1, "[    1.000000]   widget_open+0x1/0x20")).Text);

    [Fact]
    public void The_kernel_writes_into_a_login_prompt()
    {
        LogLine[] lines = [.. LogPrefixes.Split(1, "host login: [   12.345678] " + Text)];
        Assert.Equal(["host login: ", Text], lines.Select(l => l.Text));
        Assert.Equal(12_345_678_000UL, lines[1].TimestampNs);
    }

    [Fact]
    public void Two_processors_write_into_one_line()
    {
        LogLine[] lines = [.. LogPrefixes.Split(1, "[   12.345678][   C0] one[   12.345679][   C1] two")];
        Assert.Equal([("one", "C0"), ("two", "C1")], lines.Select(l => (l.Text, l.Caller!)));
    }

    [Fact]
    public void Escapes_of_kmsg_are_undone() => Assert.Equal("a\tb", Assert.Single(LogPrefixes.Split(1, @"6,1,2000000,-;a\x09b")).Text);
}
