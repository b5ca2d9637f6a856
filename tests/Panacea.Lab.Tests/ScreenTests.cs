using Panacea.Lab.Bench;
using Panacea.Lab.Tour;
using Spectre.Console.Testing;

namespace Panacea.Lab.Tests;

public sealed class ScreenTests
{
    [Theory]
    [InlineData(80)]
    [InlineData(132)]
    public void The_tour_fits_the_terminal(int width)
    {
        string text = Show(width, SummaryStep.Of(Samples.Tour, null, 1, 2));
        Assert.All(text.Split('\n'), line => Assert.InRange(line.TrimEnd().Length, 0, width));
        Assert.Contains("A driver writes through a NULL pointer in a process's write()", text, StringComparison.Ordinal);
        Assert.Contains("stopped   3.4 ms; the client's longest gap was 21.0 ms", text, StringComparison.Ordinal);
        Assert.Contains("redis answers again after 8.50 s", text, StringComparison.Ordinal);
        Assert.Contains("2500 times", text, StringComparison.Ordinal);
        Assert.DoesNotContain("failed", text, StringComparison.Ordinal);
    }

    [Fact]
    public void The_table_breaks_no_short_word()
    {
        string text = Show(80, SummaryStep.Of(Samples.Tour, null, 1, 2));
        string table = text[text.IndexOf("client's", text.IndexOf("e2fsck", StringComparison.Ordinal), StringComparison.Ordinal)..];
        foreach (string word in (string[])["NULL", "write", "error", "return", "unwinding", "nothing", "connection", "8.50 s", "crashtest_null_write"])
            Assert.Contains(word, table, StringComparison.Ordinal);
    }

    [Fact]
    public void A_failed_tour_says_what_failed()
    {
        string text = Show(80, SummaryStep.Of(Samples.Tour, "the tour ended early: no QEMU", 1, 2));
        Assert.Contains("no QEMU", text, StringComparison.Ordinal);
        Assert.Contains("did not go as it should", text, StringComparison.Ordinal);
    }

    [Fact]
    public void What_a_guest_says_cannot_style_the_screen()
    {
        GuardedCrash crash = Samples.Survived(Samples.Recovered("error-return") with { Title = "NULL write in [red]x[/]\e[2J" });
        string text = Show(80, TourCrash.NullWrite.Judge(1, crash, 0));
        Assert.Contains("[red]x[/]", text, StringComparison.Ordinal);
        Assert.DoesNotContain('\e', text);
    }

    [Fact]
    public void The_benchmark_fits_the_terminal()
    {
        using var console = new TestConsole();
        console.Profile.Width = 80;
        BenchRendering.Show(Samples.Bench, console);
        Assert.All(console.Output.Split('\n'), line => Assert.InRange(line.TrimEnd().Length, 0, 80));
        Assert.Contains("2000×", console.Output, StringComparison.Ordinal);
    }

    private static string Show(int width, TourStep last)
    {
        using var console = new TestConsole();
        console.Profile.Width = width;
        var view = new ScreenTourView(console);
        foreach (TourStep step in Samples.Tour.Append(last))
            view.Show(step);
        return console.Output;
    }
}
