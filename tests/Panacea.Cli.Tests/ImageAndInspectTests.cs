using System.Text.Json;
using Panacea.Cli.Services;

namespace Panacea.Cli.Tests;

public sealed class ImageAndInspectTests : IDisposable
{
    private readonly string _file = Path.Combine(Path.GetTempPath(), $"panacea-cli-{Guid.NewGuid():N}.rimg");

    private static readonly ImageSummary Summary = new(
        "0123456789abcdef", "6.1.0-41-cloud-amd64", "abcd", "/x.rimg", 5_000_000, 812_000, 1300, 170_000, 90_000, 600_000, 16 << 20, ["virtio_blk"],
        ["oops_end", "panic"], ["nothing"]);

    public void Dispose() => File.Delete(_file);

    private sealed class Guest : IInspection
    {
        public bool Disposed { get; private set; }

        public void Dispose() => Disposed = true;

        public IReadOnlyList<TaskRow> Tasks() =>
            [new(1, 1, 0, "S", 0, "init", false, 0xffff888000000001), new(2, 2, 0, "S", null, "kthreadd", true, 1), new(300, 300, 1, "R", 1, "\x1b]0;evil\a", false, 2)];

        public IReadOnlyList<ModuleRow> Modules() => [new("virtio_blk", 0xffffffffc0000000, 20480, "live", "")];

        public IReadOnlyList<LogRow> Log() => [new(1_500_000_000, 6, "hello\x1b[31m"), new(12_345_678_901, 0, "Oops")];

        public IReadOnlyList<BacktraceRow> Backtraces() => [new(0, 1, "init", false, [new(1, "schedule+0x5/0x10", true), new(2, "old+0x1/0x2", false)]), new(1, null, null, true, [])];

        public IReadOnlyList<SymbolRow> FindSymbol(string name) => name == "oops_end" ? [new(name, 0xffffffff81000000, 16, "T", null)] : [];

        public TypeText? FindType(string name) => name == "mutex" ? new("struct mutex", 32, "struct mutex {\n\tatomic_long_t owner; /* 0 */\n};\n") : null;
    }

    private static Outcome Inspect(params string[] args)
    {
        var guest = new Guest();
        Outcome outcome = new Harness { Inspect = _ => guest }.Run(["inspect", "pid:1", .. args]);
        Assert.True(guest.Disposed);
        return outcome;
    }

    [Fact]
    public void Ps_is_columns_and_escapes_names() => Assert.Equal(
        "PID  TGID  PPID  S  CPU  COMM\n  1     1     0  S    0  init\n  2     2     0  S    -  [kthreadd]\n300   300     1  R    1  \\x1b]0;evil\\x07\n",
        Inspect("ps").Out);

    [Fact]
    public void Dmesg_looks_like_dmesg() => Assert.Equal("[    1.500000] hello\\x1b[31m\n[   12.345678] Oops\n", Inspect("dmesg").Out);

    [Fact]
    public void Bt_marks_frames_that_are_not_proved() => Assert.Equal(
        "vCPU 0: pid 1, init\n #0    schedule+0x5/0x10\n #1  ? old+0x1/0x2\nvCPU 1: task unreadable, in user mode\n", Inspect("bt").Out);

    [Fact]
    public void A_type_is_shown_as_c() => Assert.Equal("struct mutex {\n    atomic_long_t owner; /* 0 */\n};\n", Inspect("type", "mutex").Out);

    [Theory]
    [InlineData("symbol")]
    [InlineData("type")]
    public void What_the_guest_has_not_is_exit_code_5(string what)
    {
        Outcome outcome = Inspect(what, "nope");
        Assert.Equal(ExitCodes.NotFound, outcome.ExitCode);
        Assert.Contains($"no {what} 'nope'", outcome.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("ps", 3)]
    [InlineData("modules", 1)]
    [InlineData("dmesg", 2)]
    [InlineData("bt", 2)]
    [InlineData("symbol oops_end", 1)]
    public void Json_is_an_array_of_objects(string command, int count)
    {
        Outcome outcome = Inspect([.. command.Split(' '), "--json"]);
        JsonElement json = JsonDocument.Parse(outcome.Out).RootElement;
        Assert.Equal(count, json.GetArrayLength());
        Assert.All(json.EnumerateArray(), element => Assert.Equal(JsonValueKind.Object, element.ValueKind));
    }

    [Fact]
    public void Addresses_in_json_are_strings_because_numbers_lose_bits() =>
        Assert.Equal("0xffff888000000001", JsonDocument.Parse(Inspect("ps", "--json").Out).RootElement[0].GetProperty("address").GetString());

    [Fact]
    public void Json_may_stand_before_the_subcommand() =>
        Assert.Equal(Inspect("ps", "--json").Out, Inspect("--json", "ps").Out);

    [Fact]
    public void Image_build_says_what_it_built()
    {
        Outcome outcome = new Harness { BuildImage = (_, _) => Summary }.Run("image", "build", "pid:1", "-o", _file);
        Assert.Equal(ExitCodes.Ok, outcome.ExitCode);
        Assert.Contains("built in      812.0 ms, guest held for 1.3 ms\n", outcome.Out, StringComparison.Ordinal);
        Assert.Contains("file          /x.rimg, 5,000,000 bytes\n", outcome.Out, StringComparison.Ordinal);
    }

    [Fact]
    public void Image_show_tells_files_from_targets()
    {
        File.WriteAllText(_file, "");
        var harness = new Harness { ShowFile = _ => Summary with { Kernel = "from-file" }, BuildImage = (_, _) => Summary with { Kernel = "from-guest" } };
        Assert.Contains("from-file", harness.Run("image", "show", _file).Out, StringComparison.Ordinal);
        JsonElement json = JsonDocument.Parse(harness.Run("image", "show", "pid:1", "--json").Out).RootElement;
        Assert.Equal("from-guest", json.GetProperty("kernel").GetString());
        Assert.Equal(1300, json.GetProperty("stopped_us").GetInt64());
    }

    [Fact]
    public void Image_verify_answers_with_its_exit_code()
    {
        File.WriteAllText(_file, "");
        Outcome good = new Harness { VerifyImage = (_, _) => new ImageMatch(true, []) }.Run("image", "verify", _file, "pid:1");
        Assert.Equal((ExitCodes.Ok, $"{_file} matches pid:1\n", ""), (good.ExitCode, good.Out, good.Error));
        Outcome bad = new Harness { VerifyImage = (_, _) => new ImageMatch(false, ["the build ids differ"]) }.Run("image", "verify", _file, "pid:1");
        Assert.Equal(ExitCodes.Image, bad.ExitCode);
        Assert.Equal("the build ids differ\n", bad.Out);
        Assert.Contains("does not match", bad.Error, StringComparison.Ordinal);
    }
}
