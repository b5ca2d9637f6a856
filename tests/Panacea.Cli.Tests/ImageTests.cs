using System.Text.Json;
using Panacea.Cli.Services;

namespace Panacea.Cli.Tests;

public sealed class ImageTests : IDisposable
{
    private readonly string _file = Path.Combine(Path.GetTempPath(), $"panacea-cli-{Guid.NewGuid():N}.rimg");

    private static readonly ImageSummary Summary = new(
        "0123456789abcdef", "6.1.0-41-cloud-amd64", "abcd", "/x.rimg", 5_000_000, 812_000, 1300, 170_000, 90_000, 600_000, 16 << 20, ["virtio_blk"],
        ["oops_end", "panic"], ["nothing"]);

    public void Dispose() => File.Delete(_file);

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
