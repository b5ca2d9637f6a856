using System.Text.Json;
using Panacea.Cli.Services;
using Panacea.TestKit;

namespace Panacea.Cli.Tests;

public sealed class CampaignCommandTests : IDisposable
{
    private readonly TemporaryDirectory _place = new();

    [Theory]
    [InlineData("--trials", "0")]
    [InlineData("--trials", "100001")]
    [InlineData("--seed", "-1")]
    [InlineData("--kernels", "5.10")]
    [InlineData("--workloads", "redis,doom")]
    [InlineData("--workloads", ",")]
    [InlineData("--faults", "nonsense")]
    [InlineData("--arms", "all")]
    public void A_wrong_campaign_does_not_begin(params string[] args)
    {
        var harness = new Harness();
        Assert.Equal(ExitCodes.Usage, harness.Run(["campaign", "--output", "/tmp/x", .. args]).ExitCode);
        Assert.Null(harness.Campaigned);
    }

    [Fact]
    public void A_campaign_has_everything_that_is_not_named()
    {
        CampaignRequest asked = Ask("--output", "/tmp/x", "--workloads", "redis,idle,redis", "--trials", "3");
        Assert.Equal((3, 1ul, "/tmp/x", 2, 0, 5), (asked.Trials, asked.Seed, asked.Directory, asked.Kernels.Count, asked.Faults.Count, asked.Arms.Count));
        Assert.Equal(["redis", "idle"], asked.Workloads);
        Assert.Equal((null, false, false), (asked.At, asked.IsPersistent, asked.Yes));
    }

    [Fact]
    public void All_workloads_are_named_in_the_help_and_taken()
    {
        const string all = "idle,redis,records,bank,forks,nginx,fio,stress,network";
        Assert.Equal(all.Split(','), Ask("--output", "/tmp/x", "--workloads", all).Workloads);
        Assert.Equal(all.Split(','), Ask("--output", "/tmp/x").Workloads);
        string help = new Harness().Run("campaign", "--help").Out;
        Assert.All(all.Split(','), name => Assert.Matches($@"\n +{name} +\S", help));
    }

    [Fact]
    public void A_file_says_what_options_say()
    {
        string file = Write("output: results\nkernels: [6.12]\nworkloads: [nginx, fio]\ntrials: 7\nseed: 18446744073709551615\nfaults: [branch]\nat: virtio_blk\narms: [ladder, stock-panic]\nwhere-manifested: [ladder]\npersistent: true\n");
        CampaignRequest asked = Ask(file);
        Assert.Equal((7, ulong.MaxValue, Path.Combine(_place.Path, "results"), "virtio_blk", true), (asked.Trials, asked.Seed, asked.Directory, asked.At, asked.IsPersistent));
        Assert.Equal("6.12; nginx fio; branch; ladder stock-panic; ladder", string.Join("; ", ((IReadOnlyList<string>[])[asked.Kernels, asked.Workloads, asked.Faults, asked.Arms, asked.WhereManifested]).Select(l => string.Join(' ', l))));
        Assert.True(Ask(file, "--yes") is { Yes: true });
    }

    [Fact]
    public void Options_win_over_the_file_one_by_one()
    {
        string file = Write("output: /srv/a\ntrials: 7\nseed: 5\nworkloads: [nginx, fio]\npersistent: true\n");
        CampaignRequest asked = Ask(file, "--trials", "9", "--workloads", "bank", "--output", "/srv/b", "--persistent", "false", "--arms", "ladder");
        Assert.Equal((9, 5ul, "/srv/b", false), (asked.Trials, asked.Seed, asked.Directory, asked.IsPersistent));
        Assert.Equal(("bank", "ladder"), (Assert.Single(asked.Workloads), Assert.Single(asked.Arms)));

        // In whatever order they stand.
        Assert.True(Ask("--persistent", Write("output: /srv/a")) is { IsPersistent: true, Directory: "/srv/a" });
    }

    [Theory]
    [InlineData("/tmp/a", "report", "/tmp/a")]
    [InlineData("/tmp/r", "report", "/tmp/a", "/tmp/b/", "/tmp/b/", "--output", "/tmp/r")]
    public void Reports_are_of_one_campaign_or_of_several(string output, params string[] args)
    {
        var harness = new Harness();
        Assert.Equal(ExitCodes.Ok, harness.Run(["campaign", .. args]).ExitCode);
        Assert.Equal((output, "/tmp/a"), (harness.Reported!.Output, harness.Reported.Campaigns[0]));
        Assert.Null(harness.Campaigned);
    }

    [Fact]
    public void Faults_are_tried_again_where_the_ladder_failed_or_where_it_is_said()
    {
        var harness = new Harness();
        Assert.Equal(ExitCodes.Ok, harness.Run("campaign", "replay", "/tmp/a", "--output", "/tmp/b").ExitCode);
        Assert.Equal(("/tmp/a", "/tmp/b", 0, 2, "ladder"), (harness.Replayed!.Campaign, harness.Replayed.Directory, harness.Replayed.Only.Count, harness.Replayed.Kernels.Count, Assert.Single(harness.Replayed.Arms)));
        Assert.Equal(ExitCodes.Ok, harness.Run("campaign", "replay", "/tmp/a", "--output", "/tmp/b", "--only", "redis:3,bank:12", "--arms", "quarantine,rehearsal", "--kernels", "6.12").ExitCode);
        Assert.Equal([("redis", 3), ("bank", 12)], harness.Replayed.Only);
        Assert.Equal(["quarantine", "rehearsal"], harness.Replayed.Arms);
    }

    [Theory]
    [InlineData("where do the results go?")]
    [InlineData("a directory of their own", "--output", "/tmp/a/")]
    [InlineData("'redis' is no fault", "--output", "/tmp/b", "--only", "redis")]
    [InlineData("'doom:3' is no fault", "--output", "/tmp/b", "--only", "redis:3,doom:3")]
    [InlineData("'redis:-1' is no fault", "--output", "/tmp/b", "--only", "redis:-1")]
    [InlineData("there is no 'all'", "--output", "/tmp/b", "--arms", "all")]
    public void What_can_not_be_tried_again_is_not_begun(string message, params string[] args)
    {
        var harness = new Harness();
        Outcome outcome = harness.Run(["campaign", "replay", "/tmp/a", .. args]);
        Assert.Equal(ExitCodes.Usage, outcome.ExitCode);
        Assert.Contains(message, outcome.Error, StringComparison.Ordinal);
        Assert.Null(harness.Replayed);
    }

    [Fact]
    public void The_report_of_several_campaigns_needs_a_place()
    {
        var harness = new Harness();
        Outcome outcome = harness.Run("campaign", "report", "/tmp/a", "/tmp/b");
        Assert.Equal((ExitCodes.Usage, "panacea: where does the report of several campaigns go? say --output DIR\n"), (outcome.ExitCode, outcome.Error));
        Assert.Null(harness.Reported);
    }

    [Fact]
    public void An_arm_has_to_say_which_faults_do_something()
    {
        var harness = new Harness();
        Outcome outcome = harness.Run("campaign", "--output", "/tmp/x", "--arms", "ladder", "--where-manifested", "ladder,rehearsal");
        Assert.Equal((ExitCodes.Usage, "panacea: no arm is left that would say which faults do something; leave one of ladder out of where-manifested\n"), (outcome.ExitCode, outcome.Error));
        Assert.Null(harness.Campaigned);
        Assert.Equal(["rehearsal"], Ask("--output", "/tmp/x", "--where-manifested", "rehearsal").WhereManifested);

        // One that is not run at all is none of them.
        Assert.Empty(Ask("--output", "/tmp/x", "--arms", "ladder", "--where-manifested", "rehearsal").WhereManifested);
        Assert.Contains("each in 5 arms, 1 of them only where it has done something in one of the others;", harness.Run("campaign", "check", Write("where-manifested: [rehearsal]")).Out, StringComparison.Ordinal);
    }

    [Fact]
    public void Results_have_to_go_somewhere()
    {
        var harness = new Harness();
        foreach (string[] args in (string[][])[["campaign"], ["campaign", Write("trials: 3")]])
        {
            Outcome outcome = harness.Run(args);
            Assert.Equal((ExitCodes.Usage, "panacea: where do the results go? say --output DIR, or 'output:' in a campaign file\n"), (outcome.ExitCode, outcome.Error));
        }

        Assert.Null(harness.Campaigned);
    }

    [Fact]
    public void A_bad_file_is_told_whole_and_nothing_is_run()
    {
        string file = Write("trials: many\nworkloads: [doom]\n");
        var harness = new Harness();
        Outcome outcome = harness.Run("campaign", file, "--output", "/tmp/x");
        Assert.Equal((ExitCodes.Usage, ""), (outcome.ExitCode, outcome.Out));
        string[] lines = outcome.Error.TrimEnd('\n').Split('\n');
        Assert.Equal($"panacea: {file}:1:9: 'many' is no value of 'trials'; write a whole number from 1 to 100000", lines[0]);
        Assert.StartsWith($"panacea: {file}:2:13: 'doom' is no workload; write idle, redis,", lines[1], StringComparison.Ordinal);
        Assert.Equal((3, $"panacea: {file} has 2 mistakes"), (lines.Length, lines[2]));
        Assert.Null(harness.Campaigned);
        Assert.StartsWith("panacea: /nonexistent/c.yaml: Could not find", harness.Run("campaign", "/nonexistent/c.yaml").Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Check_tells_every_mistake_or_what_would_be_tried()
    {
        var harness = new Harness();
        string bad = Write("trials: 0\ncolour: red\nat: \"\\e[1m\"\narms: []\n");
        Outcome outcome = harness.Run("campaign", "check", bad);
        string[] lines = outcome.Out.TrimEnd('\n').Split('\n');
        Assert.Equal((ExitCodes.Usage, 4, $"panacea: {bad} has 4 mistakes\n"), (outcome.ExitCode, lines.Length, outcome.Error));
        Assert.StartsWith($"{bad}:2:1: 'colour' is no member of the file; write one of output,", lines[1], StringComparison.Ordinal);
        Assert.StartsWith($"{bad}:3:5: '\\x1b[1m' is no value of 'at'", lines[2], StringComparison.Ordinal);

        string good = Write("output: /srv/a\ntrials: 7\nworkloads: [nginx, fio]\narms: [ladder]\n"), nowhere = Write("seed: 3");
        outcome = harness.Run("campaign", "check", good);
        Assert.Equal((ExitCodes.Ok, $"{good} is good: 2 × 2 × 7 faults (kernels, workloads, trials), each in 1 arm; results go to /srv/a.\n", ""), (outcome.ExitCode, outcome.Out, outcome.Error));
        Assert.EndsWith("each in 5 arms; --output has to say where results go.\n", harness.Run("campaign", "check", nowhere).Out, StringComparison.Ordinal);
        Assert.Null(harness.Campaigned);
        Assert.False(Directory.Exists("/srv/a"));
    }

    [Fact]
    public void A_script_gets_the_same_as_an_object()
    {
        JsonElement bad = JsonDocument.Parse(new Harness().Run("campaign", "check", "--json", Write("trials: 0\n")).Out).RootElement;
        Assert.Equal(("file valid mistakes", false, 1), (string.Join(' ', bad.EnumerateObject().Select(p => p.Name)), bad.GetProperty("valid").GetBoolean(), bad.GetProperty("mistakes")[0].GetProperty("line").GetInt32()));
        JsonElement good = JsonDocument.Parse(new Harness().Run("campaign", "check", "--json", Write("trials: 1\n")).Out).RootElement;
        Assert.Equal((true, 0), (good.GetProperty("valid").GetBoolean(), good.GetProperty("mistakes").GetArrayLength()));
    }

    public void Dispose() => _place.Dispose();

    private static CampaignRequest Ask(params string[] args)
    {
        var harness = new Harness();
        Outcome outcome = harness.Run(["campaign", .. args]);
        Assert.Equal((ExitCodes.Ok, ""), (outcome.ExitCode, outcome.Error));
        return harness.Campaigned!;
    }

    private string Write(string text)
    {
        string file = Path.Combine(_place.Path, $"{Guid.NewGuid():n}.yaml");
        File.WriteAllText(file, text);
        return file;
    }
}
