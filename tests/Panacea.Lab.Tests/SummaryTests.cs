using System.Text.Json;
using Panacea.Lab.Tour;

namespace Panacea.Lab.Tests;

public sealed class SummaryTests
{
    [Fact]
    public void A_good_tour_is_ok()
    {
        SummaryStep summary = SummaryStep.Of(Samples.Tour, null, 20_000_000, 50_000_000);
        Assert.True(summary.Ok);
        Assert.Empty(summary.Failures);
        Assert.Equal(4, summary.Crashes.Count);
        Assert.Equal(4, summary.Checks.Count);
        Assert.Equal(2500, summary.Ratio);
        Assert.Equal("6.1.0-56-cloud-amd64", summary.Kernel);
    }

    [Fact]
    public void What_fails_is_named()
    {
        TourStep[] steps =
        [
            TourCrash.NullWrite.Judge(1, Samples.Survived(), 1), new DetachStep(3), new CheckStep("every fsynced record is there", false, "record 3 is damaged"),
        ];
        SummaryStep summary = SummaryStep.Of(steps, "the tour ended early: no QEMU", null, 1);
        Assert.False(summary.Ok);
        Assert.Equal(
            ["crash 1: the client's connection broke", "every fsynced record is there: record 3 is damaged", "panacea guard ended with exit code 3",
                "the tour ended early: no QEMU"],
            summary.Failures);
        Assert.Null(summary.Ratio);
    }

    [Fact]
    public void A_tour_that_never_began_has_failed() => Assert.False(SummaryStep.Of([], "the guest did not boot", null, 1).Ok);

    [Fact]
    public async Task Json_is_one_object_a_line_with_its_step_first()
    {
        var output = new StringWriter();
        var view = new JsonTourView(output);
        Assert.Equal(5, await view.DuringAsync("something", report =>
        {
            report("more of it");
            return Task.FromResult(5);
        }));
        foreach (TourStep step in Samples.Tour)
            view.Show(step);
        view.Show(SummaryStep.Of(Samples.Tour, null, 1, 2));

        string[] lines = output.ToString().TrimEnd('\n').Split('\n');
        Assert.All(lines, line => Assert.StartsWith("{\"step\":\"", line, StringComparison.Ordinal));
        Assert.Equal(
            "guest work image guard crash crash crash detach check crash check check check summary",
            string.Join(' ', lines.Select(line => JsonDocument.Parse(line).RootElement.GetProperty("step").GetString())));
        JsonElement crash = JsonDocument.Parse(lines[4]).RootElement;
        Assert.Equal(
            "away_us cause client_gap_us command crash failures guarded lost number outcome process record repair step stopped_us what",
            string.Join(' ', crash.EnumerateObject().Select(p => p.Name).Order(StringComparer.Ordinal)));
        Assert.Contains("\"command\":\"echo null-write > /dev/crashtest\"", lines[4], StringComparison.Ordinal);
        JsonElement summary = JsonDocument.Parse(lines[^1]).RootElement;
        Assert.True(summary.GetProperty("ok").GetBoolean());
        Assert.Equal(4, summary.GetProperty("crashes").GetArrayLength());
        Assert.Equal("error-return", summary.GetProperty("crashes")[0].GetProperty("repair").GetString());
    }
}
