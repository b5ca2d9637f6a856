using System.Text.Json;
using Panacea.Cli.CommandLine;
using Panacea.Sessions.Control;

namespace Panacea.Cli.Tests;

public sealed class FuseCommandTests
{
    private static readonly FuseLine Fuse = new("drv_ioctl", "drv", "0xffffffffc0200000", "-EIO");

    private readonly List<GuestRequest> _asked = [];

    private Outcome Run(GuestAnswer answer, params string[] args) => new Harness
    {
        Answers = (target, request) =>
        {
            Assert.Equal("pid:1", target.Text);
            _asked.Add(request);
            return answer;
        },
    }.Run(args);

    [Fact]
    public void Fuses_are_a_table()
    {
        Outcome outcome = Run(new GuestAnswer { Fuses = [Fuse, Fuse with { Function = "x\u001b[31m", Module = null }], Missing = ["the code of f can't be read"] }, "fuse", "list", "pid:1");
        Assert.Equal(
            "FUNCTION   MODULE  ADDRESS             RETURNS\ndrv_ioctl  drv     0xffffffffc0200000  -EIO\nx\\x1b[31m  -       0xffffffffc0200000  -EIO\n", outcome.Out);
        Assert.Equal((ExitCodes.Ok, "panacea: the code of f can't be read\n"), (outcome.ExitCode, outcome.Error));
        Assert.Equal([new FuseListRequest()], _asked);
        Assert.Equal("no function has a fuse\n", Run(new GuestAnswer(), "fuse", "list", "pid:1").Out);
    }

    [Theory]
    [InlineData(new[] { "drv:drv_ioctl" }, null, false)]
    [InlineData(new[] { "drv:drv_ioctl", "--return", "-ENOMEM" }, "-ENOMEM", false)]
    [InlineData(new[] { "drv:drv_ioctl", "--return", "nothing", "--force" }, "nothing", true)]
    public void Setting_one_says_what_is_set_and_for_how_long_the_guest_stood(string[] args, string? value, bool force)
    {
        Outcome outcome = Run(new GuestAnswer { Fuses = [Fuse], StoppedUs = 5200 }, ["fuse", "set", "pid:1", .. args]);
        Assert.StartsWith("done; the guest was stopped for 5.2 ms\nFUNCTION", outcome.Out, StringComparison.Ordinal);
        Assert.Equal([new FuseSetRequest("drv:drv_ioctl", value, force)], _asked);
    }

    [Theory]
    [InlineData("fuse", "set", "pid:1", "f", "--return", "EIO")]
    [InlineData("fuse", "set", "pid:1", "f", "--return", "-ENOSUCHTHING")]
    [InlineData("fuse", "clear", "pid:1")]
    [InlineData("fuse", "clear", "pid:1", "f", "--all")]
    [InlineData("quarantine", "kill", "pid:1", "init")]
    [InlineData("quarantine", "kill", "pid:1", "0")]
    public void A_wrong_command_line_asks_nothing(params string[] args)
    {
        Outcome outcome = Run(new GuestAnswer(), args);
        Assert.Equal(ExitCodes.Usage, outcome.ExitCode);
        Assert.StartsWith("panacea: ", outcome.Error, StringComparison.Ordinal);
        Assert.Empty(_asked);
    }

    [Fact]
    public void Clearing_is_of_one_or_of_all()
    {
        Run(new GuestAnswer(), "fuse", "clear", "pid:1", "drv_ioctl");
        Run(new GuestAnswer(), "fuse", "clear", "pid:1", "--all");
        Assert.Equal([new FuseClearRequest("drv_ioctl"), new FuseClearRequest(null)], _asked);
    }

    [Fact]
    public void Refusals_are_sentences_with_codes_of_their_own()
    {
        Outcome missing = Run(GuestAnswer.None("there is no function f"), "fuse", "set", "pid:1", "f"), refused = Run(GuestAnswer.Refused("no"), "fuse", "set", "pid:1", "f"), failed = Run(GuestAnswer.Wrong("busy"), "quarantine", "list", "pid:1");
        Assert.Equal((ExitCodes.NotFound, "panacea: there is no function f\n"), (missing.ExitCode, missing.Error));
        Assert.Equal((ExitCodes.Usage, ExitCodes.Target), (refused.ExitCode, failed.ExitCode));
    }

    [Fact]
    public void Frozen_tasks_are_a_table()
    {
        var frozen = new FrozenLine(1307, 1300, "worker", "drv_ioctl+0x1a [drv]", 61_000);
        Outcome outcome = Run(new GuestAnswer { Frozen = [frozen], StoppedUs = 0 }, "quarantine", "list", "pid:1");
        Assert.Equal(" PID  PROCESS  COMM    FROZEN FOR  WHERE\n1307     1300  worker         61s  drv_ioctl+0x1a [drv]\n", outcome.Out);
        Outcome inspect = Run(new GuestAnswer { Frozen = [frozen], Stack = ["schedule+0x1/0x2", "? drv\u001b+0x1/0x2"] }, "quarantine", "inspect", "pid:1", "1307");
        Assert.EndsWith("\n\n  schedule+0x1/0x2\n  ? drv\\x1b+0x1/0x2\n", inspect.Out, StringComparison.Ordinal);
        Assert.Equal("no task is frozen\n", Run(new GuestAnswer(), "quarantine", "kill", "pid:1", "1307").Out);
        Assert.Equal([new QuarantineListRequest(), new QuarantineInspectRequest(1307), new QuarantineKillRequest(1307)], _asked);
        JsonElement json = JsonDocument.Parse(Run(new GuestAnswer { Frozen = [frozen], StoppedUs = 9 }, "quarantine", "list", "--json", "pid:1").Out).RootElement;
        Assert.Equal((1307, 61_000, 9), (json.GetProperty("frozen")[0].GetProperty("pid").GetInt32(), json.GetProperty("frozen")[0].GetProperty("slept_ms").GetInt32(), json.GetProperty("stopped_us").GetInt32()));
    }
}
