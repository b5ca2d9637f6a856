using Panacea.Cli.Prompt;

namespace Panacea.Cli.Tests.Inspect;

/// <summary>The prompt of <c>inspect SOURCE</c>, over a terminal whose user has typed already.</summary>
public sealed class PromptTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("panacea-prompt-").FullName;

    private string History => Path.Combine(_directory, "state", "inspect_history");

    public void Dispose() => Directory.Delete(_directory, true);

    private (Outcome Outcome, FakeGuest Guest) Run(FakeTerminal terminal)
    {
        var guest = new FakeGuest();
        Outcome outcome = new Harness { Inspect = _ => guest, Terminal = terminal, History = History }.Run("inspect", "pid:1");
        Assert.True(guest.Disposed);
        return (outcome, guest);
    }

    private string Line(string keys, Func<string, IReadOnlyList<string>>? complete = null, params string[] earlier)
    {
        var history = new LineHistory(null);
        foreach (string line in earlier)
            history.Add(line);
        Assert.Equal(LineEnd.Entered, new LineEditor(FakeTerminal.OfKeys(keys), "> ", history, complete ?? (_ => [])).Read(out string read));
        return read;
    }

    [Fact]
    public void Lines_of_a_script_are_run_over_one_source_without_a_prompt()
    {
        (Outcome outcome, FakeGuest guest) = Run(FakeTerminal.OfLines("# a comment", "", "modules --json", "symbol oops_end", "quit", "ps"));
        Assert.Equal((ExitCodes.Ok, ""), (outcome.ExitCode, outcome.Error));
        Assert.StartsWith("[", outcome.Out, StringComparison.Ordinal);
        Assert.Contains("oops_end", outcome.Out, StringComparison.Ordinal);
        Assert.DoesNotContain("panacea>", outcome.Out, StringComparison.Ordinal);
        Assert.Equal(2, guest.Looks);
        Assert.False(File.Exists(History));
    }

    [Fact]
    public void A_line_that_fails_does_not_end_a_script_but_gives_its_exit_code()
    {
        (Outcome outcome, _) = Run(FakeTerminal.OfLines("symbol nope", "pss", "task x", "ps"));
        Assert.Equal(ExitCodes.NotFound, outcome.ExitCode);
        Assert.Equal(3, outcome.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);
        Assert.Contains("'pss' is not known here, did you mean 'ps'?; see 'help'\n", outcome.Error, StringComparison.Ordinal);
        Assert.Contains("'x' is not a process id; see 'help task'\n", outcome.Error, StringComparison.Ordinal);
        Assert.Contains("kthreadd", outcome.Out, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("help", "\n  ps ")]
    [InlineData("help read", "read runqueues:0 --as rq")]
    [InlineData("read --help", "read runqueues:0 --as rq")]
    public void Help_is_there(string line, string says) => Assert.Contains(says, Run(FakeTerminal.OfLines(line)).Outcome.Out, StringComparison.Ordinal);

    [Fact]
    public void A_person_gets_a_prompt_and_a_history_of_their_own()
    {
        FakeTerminal terminal = FakeTerminal.OfKeys("symbol nope\nps\n  \n↑\n");
        (Outcome outcome, FakeGuest guest) = Run(terminal);
        Assert.Equal(ExitCodes.Ok, outcome.ExitCode);
        Assert.StartsWith($"Linux 6.1 {FakeGuest.Shown}\n", outcome.Out, StringComparison.Ordinal);
        Assert.Contains("panacea> ps", terminal.Written, StringComparison.Ordinal);
        Assert.Equal(3, guest.Looks);
        Assert.Equal("symbol nope\nps\n", File.ReadAllText(History));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(History));
    }

    [Fact]
    public void The_history_of_an_earlier_session_comes_back()
    {
        Directory.CreateDirectory(Path.GetDirectoryName(History)!);
        File.WriteAllText(History, "modules\nbad\x1b[31m\n");
        (_, FakeGuest guest) = Run(FakeTerminal.OfKeys("↑\n^D"));
        Assert.Equal(1, guest.Looks);
        Assert.Equal("modules\n", File.ReadAllText(History));
    }

    [Fact]
    public void Ctrl_c_throws_the_line_away_and_ctrl_d_ends()
    {
        (Outcome outcome, FakeGuest guest) = Run(FakeTerminal.OfKeys("ps^Cmodules\n^Dps\n"));
        Assert.Equal((ExitCodes.Ok, 1), (outcome.ExitCode, guest.Looks));
        Assert.Contains("virtio_blk", outcome.Out, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("p\t\n", "MEM")] // the only command that begins so
    [InlineData("sym\toops_end\n", "ffffffff81000000")]
    [InlineData("symbol oops_end\t\n", "ffffffff81000000")]
    [InlineData("symbol o\td\n", "ffffffff81000000")] // up to where names part
    [InlineData("type mu\t\n", "atomic_long_t")]
    [InlineData("read x --as mu\t\n", "struct mutex at")]
    [InlineData("bt --al\t\n", "PID: 300")]
    public void Tab_completes_commands_symbols_types_and_options(string keys, string says) => Assert.Contains(says, Run(FakeTerminal.OfKeys(keys)).Outcome.Out, StringComparison.Ordinal);

    [Fact]
    public void Names_that_part_are_listed_with_what_would_take_over_the_terminal_escaped()
    {
        FakeTerminal terminal = FakeTerminal.OfKeys("symbol do_\t^U^D");
        Run(terminal);
        Assert.Contains("do_exit  do_nmi", terminal.Written, StringComparison.Ordinal);
        terminal = FakeTerminal.OfKeys("symbol zz\t^U^D");
        Run(terminal);
        Assert.DoesNotContain("\x1b[31m", terminal.Written, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("abc\b\bd\n", "ad")]
    [InlineData("abc←←x→y\n", "axbyc")]
    [InlineData("bc⇱a⇲d\n", "abcd")]
    [InlineData("bc^Aa^Ed\n", "abcd")]
    [InlineData("←\b^Ka\n", "a")]
    [InlineData("one two^W\n", "one ")]
    [InlineData("one two^U\n", "")]
    [InlineData("abc⇱→^K\n", "a")]
    public void A_line_can_be_edited(string keys, string expected) => Assert.Equal(expected, Line(keys));

    [Theory]
    [InlineData("↑\n", "two")]
    [InlineData("↑↑\n", "one")]
    [InlineData("↑↑↑\n", "one")]
    [InlineData("draft↑↑↓↓\n", "draft")]
    [InlineData("↑!\n", "two!")]
    public void Up_and_down_go_through_the_history(string keys, string expected) => Assert.Equal(expected, Line(keys, null, "one", "two"));

    [Fact]
    public void Too_many_possibilities_are_counted()
    {
        FakeTerminal terminal = FakeTerminal.OfKeys("a\t\n");
        new LineEditor(terminal, "> ", new LineHistory(null), _ => [.. Enumerable.Range(0, 500).Select(i => $"a{i}")]).Read(out _);
        Assert.Contains("500 possibilities", terminal.Written, StringComparison.Ordinal);
    }

    [Fact]
    public void A_line_longer_than_the_terminal_scrolls()
    {
        FakeTerminal terminal = FakeTerminal.OfKeys(new string('x', 100) + "\n", width: 40);
        new LineEditor(terminal, "> ", new LineHistory(null), _ => []).Read(out string line);
        Assert.Equal(100, line.Length);
        Assert.All(terminal.Written.Split('\r'), part => Assert.True(part.Replace("\e[K", "", StringComparison.Ordinal).Length <= 40, part));
    }

    [Fact]
    public void The_history_keeps_the_newest_lines()
    {
        var history = new LineHistory(null);
        for (int i = 0; i < LineHistory.Most + 5; i++)
            history.Add($"line {i}");
        Assert.Equal((LineHistory.Most, "line 5"), (history.Lines.Count, history.Lines[0]));
    }
}
