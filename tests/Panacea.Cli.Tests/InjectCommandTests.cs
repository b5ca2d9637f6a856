using System.Text.Json;
using Panacea.Injection;
using Panacea.Sessions.Control;
using Panacea.TestKit;

namespace Panacea.Cli.Tests;

public sealed class InjectCommandTests : IDisposable
{
    private static readonly Fault Injected = new()
    {
        Type = FaultType.Branch,
        Seed = 7,
        Place = new FaultPlace("drv_ioctl", "drv", 0x1a),
        Explanation = "drv_ioctl+0x1a [drv] never branches",
        CodeBefore = "je drv_ioctl\u001b[31m",
        CodeAfter = "nopw",
        Trigger = "0xffffffffc020001a",
        Changes = [new FaultChange("0xffffffffc020001a", "7405", "6690", "branch of drv_ioctl")],
        Release = "6.1.0",
    };

    private readonly List<GuestRequest> _asked = [];
    private readonly TemporaryDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    private Outcome Run(GuestAnswer answer, params string[] args) => new Harness
    {
        Answers = (target, request) =>
        {
            Assert.Equal("pid:1", target.Text);
            _asked.Add(request);
            return answer;
        },
    }.Run(["inject", .. args]);

    [Fact]
    public void The_kinds_are_listed_without_a_VM()
    {
        Outcome outcome = Run(new GuestAnswer(), "--list");
        Assert.Equal(0, outcome.ExitCode);
        Assert.All(FaultKinds.All, k => Assert.Contains($"{k.Name} ", outcome.Out, StringComparison.Ordinal));
        Assert.Equal(FaultKinds.All.Count, JsonDocument.Parse(Run(new GuestAnswer(), "--list", "--json").Out).RootElement.GetProperty("kinds").GetArrayLength());
        Assert.Empty(_asked);
    }

    [Theory]
    [InlineData("--list", "--fault", "branch")]
    [InlineData("pid:1")]
    [InlineData("pid:1", "--fault", "branch", "--at", "drv")]
    [InlineData("pid:1", "--fault", "brunch", "--yes-crash-it")]
    [InlineData("pid:1", "--fault", "branch", "--list")]
    [InlineData("pid:1", "--fault", "branch", "--list", "--at", "hot")]
    [InlineData("pid:1", "--revert", "f.json", "--fault", "branch")]
    [InlineData("--fault", "branch", "--yes-crash-it")]
    [InlineData("pid:1", "--fault", "branch", "--yes-crash-it", "--seed", "-3")]
    public void A_wrong_command_line_asks_nothing(params string[] args)
    {
        Outcome outcome = Run(new GuestAnswer(), args);
        Assert.Equal(ExitCodes.Usage, outcome.ExitCode);
        Assert.StartsWith("panacea: ", outcome.Error, StringComparison.Ordinal);
        Assert.Empty(_asked);
    }

    [Fact]
    public void Nothing_is_injected_unless_it_is_meant()
    {
        Outcome outcome = Run(new GuestAnswer(), "pid:1", "--fault", "panic", "--at", "drv");
        Assert.Contains("say --yes-crash-it", outcome.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void What_was_done_is_said_and_kept_and_can_be_taken_back()
    {
        string log = Path.Combine(_directory.Path, "fault.json");
        Outcome outcome = Run(new GuestAnswer { Faults = [Injected], StoppedUs = 1200 }, "pid:1", "--fault", "branch", "--at", "drv", "--seed", "7", "--yes-crash-it", "--log", log);

        Assert.Equal(0, outcome.ExitCode);
        Assert.StartsWith("injected  branch, seed 7: drv_ioctl+0x1a [drv] never branches\ncode      je drv_ioctl\\x1b[31m  →  nopw\nwrote     0xffffffffc020001a: 7405 → 6690", outcome.Out, StringComparison.Ordinal);
        Assert.Contains("stopped   1.2 ms", outcome.Out, StringComparison.Ordinal);
        Assert.Equal(new FaultInjectRequest(FaultType.Branch, "drv", 7), Assert.Single(_asked));

        Outcome again = Run(new GuestAnswer { Faults = [Injected] }, "pid:1", "--fault", "branch", "--yes-crash-it", "--log", log);
        Assert.Equal(ExitCodes.Failure, again.ExitCode);
        Assert.Single(_asked);

        Outcome reverted = Run(new GuestAnswer { StoppedUs = 900 }, "pid:1", "--revert", log);
        Assert.StartsWith("taken back: drv_ioctl+0x1a [drv] never branches; the guest was stopped for ", reverted.Out, StringComparison.Ordinal);
        Assert.Equal(Injected.Changes, Assert.IsType<FaultRevertRequest>(_asked[^1]).Changes);
    }

    [Fact]
    public void A_mistake_that_shows_once_is_the_guards_to_take_out()
    {
        Run(new GuestAnswer { Faults = [Injected] }, "pid:1", "--fault", "branch", "--at", "drv", "--seed", "7", "--until-crash", "--yes-crash-it", "--log", Path.Combine(_directory.Path, "fault.json"));
        Assert.Equal(new FaultInjectRequest(FaultType.Branch, "drv", 7) { UntilCrash = true }, Assert.Single(_asked));
    }

    [Theory]
    [InlineData("")]
    [InlineData("{}")]
    [InlineData("[1, 2]")]
    [InlineData("{\"fault\": {\"type\": \"nonsense\"}}")]
    public void A_file_that_is_no_record_takes_nothing_back(string text)
    {
        string file = Path.Combine(_directory.Path, "x.json");
        File.WriteAllText(file, text);
        Outcome outcome = Run(new GuestAnswer(), "pid:1", "--revert", file);
        Assert.Equal((ExitCodes.Failure, $"panacea: {file} is no record of a fault, as 'panacea inject' writes one\n"), (outcome.ExitCode, outcome.Error));
        Assert.Equal(ExitCodes.Failure, Run(new GuestAnswer(), "pid:1", "--revert", file + ".none").ExitCode);
        Assert.Empty(_asked);
    }

    [Fact]
    public void What_goes_on_in_the_kernel_can_t_be_taken_back()
    {
        string log = Path.Combine(_directory.Path, "heap.json");
        Run(new GuestAnswer { Faults = [Injected with { Type = FaultType.HeapBitFlip }] }, "pid:1", "--fault", "heap-bit-flip", "--yes-crash-it", "--log", log);
        Assert.Contains("can't be taken back", Run(new GuestAnswer(), "pid:1", "--revert", log).Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Places_are_a_table()
    {
        Outcome outcome = Run(new GuestAnswer { Faults = [Injected] }, "pid:1", "--fault", "branch", "--at", "drv:drv_ioctl", "--list", "--seed", "7");
        Assert.Equal("PLACE                 CODE                  BECOMES\ndrv_ioctl+0x1a [drv]  je drv_ioctl\\x1b[31m  nopw\n", outcome.Out);
        Assert.Equal(new FaultListRequest(FaultType.Branch, "drv:drv_ioctl", 7), Assert.Single(_asked));
    }
}
