using System.Text.Json;
using Panacea.Cli.Services;
using Panacea.Kernel.Subsystems;
using Panacea.Sessions.Dumping;

namespace Panacea.Cli.Tests;

public sealed class DumpCommandTests
{
    private static readonly DumpRecord Record = new("/srv/vm1.core", 61_000_000, 58_000_000, 536_870_912, 31, new LeftOutBytes(400_000_000, 50_000_000, 2_000_000, 20_000_000, 0), null, 150_000);

    private DumpRequest? _asked;

    private Outcome Dump(DumpAnswer answer, params string[] args) => new Harness
    {
        Dumps = (_, request, progress) =>
        {
            _asked = request;
            progress(new DumpProgress(0, 61_000_000, TimeSpan.Zero));
            progress(new DumpProgress(61_000_000, 61_000_000, TimeSpan.FromSeconds(0.5)));
            return answer;
        },
    }.Run(["dump", "pid:1", "/srv/vm1.core", .. args]);

    [Fact]
    public void How_big_how_long_and_what_was_left_out()
    {
        Outcome outcome = Dump(new DumpAnswer(Record, TimeSpan.FromMilliseconds(180)));
        Assert.Equal(ExitCodes.Ok, outcome.ExitCode);
        Assert.Equal(
            "/srv/vm1.core: 61.0 MB (58.0 MB on the disk) of 536.9 MB of memory; the guest stood still for 180.0 ms\n"
            + "left out: 400.0 MB of free memory, 52.0 MB of page cache, 20.0 MB of memory of processes\n", outcome.Out);
        Assert.Equal("", outcome.Error);
        Assert.Equal(new DumpRequest("/srv/vm1.core", PageFilterLevel.All, false), _asked);
    }

    [Fact]
    public void A_dump_that_is_whole_says_why()
    {
        Outcome outcome = Dump(new DumpAnswer(Record with { WhyWhole = "broken \u001b[31m", WrittenBytes = 61_000_000 }, null));
        Assert.Equal("/srv/vm1.core: 61.0 MB of 536.9 MB of memory; the guest stood still already, and still does\nnothing was left out: broken \\x1b[31m\n", outcome.Out);
    }

    [Fact]
    public void Json_is_progress_and_result()
    {
        JsonElement[] lines = [.. Dump(new DumpAnswer(Record, TimeSpan.FromMilliseconds(180)), "--json").Out.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => JsonDocument.Parse(l).RootElement)];
        Assert.Equal(["dump-progress", "dump-progress", "dumped"], lines.Select(l => l.GetProperty("event").GetString()));
        Assert.Equal(61_000_000, lines[1].GetProperty("done_bytes").GetInt64());
        Assert.Equal((180_000, 400_000_000), (lines[2].GetProperty("stopped_us").GetInt64(), lines[2].GetProperty("dump").GetProperty("left_out").GetProperty("free").GetInt64()));
    }

    [Theory]
    [InlineData("0", PageFilterLevel.None)]
    [InlineData("17", PageFilterLevel.Zero | PageFilterLevel.Free)]
    [InlineData("none", PageFilterLevel.None)]
    [InlineData("zero,free", PageFilterLevel.Zero | PageFilterLevel.Free)]
    [InlineData("private-cache", PageFilterLevel.PrivateCache)]
    [InlineData("all", PageFilterLevel.All)]
    public void Levels_are_numbers_or_names(string text, PageFilterLevel level)
    {
        Assert.Equal(ExitCodes.Ok, Dump(new DumpAnswer(Record, null), "--filter", text, "--force").ExitCode);
        Assert.Equal(new DumpRequest("/srv/vm1.core", level, true), _asked);
    }

    [Theory]
    [InlineData("32")]
    [InlineData("-1")]
    [InlineData("zero,")]
    [InlineData("slab")]
    public void Other_levels_are_a_wrong_command_line(string text)
    {
        Outcome outcome = Dump(new DumpAnswer(Record, null), "--filter", text);
        Assert.Equal(ExitCodes.Usage, outcome.ExitCode);
        Assert.Null(_asked);
    }
}
