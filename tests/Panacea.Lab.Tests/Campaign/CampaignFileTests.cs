using System.Text;
using Panacea.Formats.Yaml;
using Panacea.Lab.Campaign;
using Panacea.TestKit;

namespace Panacea.Lab.Tests.Campaign;

public sealed class CampaignFileTests
{
    [Fact]
    public void Everything_that_can_be_said_is_read()
    {
        CampaignSettings all = Good("output: out\nkernels: [6.1, \"6.12\"]\nworkloads: [idle]\ntrials: 100000\nseed: 0\nfaults: [stack-bit-flip]\nat: ext4_*\narms: [rehearsal]\nwhere-manifested: [quarantine]\npersistent: false\n");
        Assert.Equal(("/srv/files/out", 100_000, 0ul, "ext4_*", false), (all.Output, all.Trials, all.Seed, all.At, all.IsPersistent));
        Assert.Equal("6.1 6.12 idle stack-bit-flip rehearsal", string.Join(' ', [.. all.Kernels!, .. all.Workloads!, .. all.Faults!, .. all.Arms!]));
        Assert.Equal("/elsewhere", Good("output: /elsewhere").Output);
        Assert.Equal("/srv/out", Good("output: ../out").Output);
    }

    [Fact]
    public void What_is_not_said_is_null()
    {
        CampaignSettings one = Good("trials: 1");
        Assert.Equal(CampaignSettings.None with { Trials = 1 }, one);
        Assert.Equal(one with { Seed = 4 }, one.Over(CampaignSettings.None with { Trials = 2, Seed = 4 }));
    }

    [Theory]
    [InlineData("", "1:1: the file is empty; write members such as 'trials: 100'")]
    [InlineData("{}", "1:1: the file is empty;")]
    [InlineData("[trials]", "1:1: the file has to be a mapping;")]
    [InlineData("trial: 3", "1:1: 'trial' is no member of the file; write one of output, kernels,")]
    [InlineData("trials: 3\ntrials: 4", "2:1: 'trials' is given already, at line 1; write it once")]
    [InlineData("trials: 0", "1:9: '0' is no value of 'trials'; write a whole number from 1 to 100000")]
    [InlineData("trials: 1.5", "1:9: '1.5' is no value of 'trials'")]
    [InlineData("trials: +5", "1:9: '+5' is no value of 'trials'")]
    [InlineData("trials:", "1:8: 'trials' has no value;")]
    [InlineData("trials: [3]", "1:9: 'trials' has to be one value;")]
    [InlineData("seed: 18446744073709551616", "1:7: '18446744073709551616' is no value of 'seed'; write a whole number from 0 to 18446744073709551615")]
    [InlineData("kernels: [5.10]", "1:11: '5.10' is no kernel line; write 6.1 or 6.12")]
    [InlineData("workloads: nginx", "1:12: 'workloads' has to be a list; write [idle, redis], or others of idle, redis,")]
    [InlineData("workloads: []", "1:12: 'workloads' is an empty list; leave 'workloads' out where all are meant")]
    [InlineData("workloads: [fio, fio]", "1:18: 'fio' is given already; write it once")]
    [InlineData("workloads: [[fio]]", "1:13: 'workloads' has to be one value;")]
    [InlineData("faults: [nonsense]", "1:10: 'nonsense' is no kind of faults; write text-bit-flip,")]
    [InlineData("arms: [Ladder]", "1:8: 'Ladder' is no arm; write stock-panic, stock-oops, quarantine, ladder or rehearsal")]
    [InlineData("persistent: yes", "1:13: 'yes' is no value of 'persistent'; write true or false")]
    [InlineData("output: ~/x", "1:9: '~/x' is no value of 'output'; write a directory")]
    [InlineData("at: two words", "1:5: 'two words' is no value of 'at'; write a module")]
    [InlineData("seed: &a 1", "1:7: anchors, aliases and tags have no meaning in a campaign file")]
    [InlineData("trials: 1\n---\ntrials: 2", "2:1: a second document begins here; a campaign file is one")]
    [InlineData("trials: {", "2:1: it is no YAML")]
    public void A_mistake_is_told_with_its_place(string text, string says) =>
        Assert.StartsWith("c.yaml:" + says, YamlFile.Line("c.yaml", Assert.Single(Read(text).Mistakes)), StringComparison.Ordinal);

    [Fact]
    public void All_mistakes_are_told_at_once_in_the_order_of_the_file()
    {
        CampaignReading reading = Read("trials: no\nseed: no\nworkloads: [a, redis, b]\narms: {}\nx: 1\n");
        Assert.Null(reading.Settings);
        Assert.Equal([1, 2, 3, 3, 4, 5], reading.Mistakes.Select(m => m.Line));
    }

    [Fact]
    public void A_file_is_bounded_and_its_mistakes_are()
    {
        Assert.Equal("it is larger than 1 MiB", Assert.Single(CampaignFile.Read("c.yaml", new byte[(1 << 20) + 1]).Mistakes).Sentence);
        CampaignReading many = Read(string.Concat(Enumerable.Range(0, 150).Select(i => $"x{i}: 1\n")));
        Assert.Equal((101, "there are 50 mistakes more"), (many.Mistakes.Count, many.Mistakes[^1].Sentence));
        Assert.Equal(0, Assert.Single(CampaignFile.Read("/nonexistent/c.yaml").Mistakes).Line);
    }

    [Fact]
    public void The_example_of_the_documentation_is_good()
    {
        string file = Path.Combine(JsonSchema.Docs, "campaign.example.yaml");
        CampaignReading example = CampaignFile.Read(file);
        Assert.Empty(example.Mistakes.Select(m => YamlFile.Line(file, m)));
        string prose = File.ReadAllText(Path.Combine(JsonSchema.Docs, "campaign.md"));
        Assert.Contains(File.ReadAllText(file).Trim(), prose, StringComparison.Ordinal);
        Assert.All(CampaignWorkload.All, w => Assert.Contains($"\n| `{w.Name}` | ", prose, StringComparison.Ordinal));
        Assert.All((string[])["output", "kernels", "workloads", "trials", "seed", "faults", "at", "arms", "where-manifested", "persistent"], name => Assert.Contains($"\n| `{name}` | ", prose, StringComparison.Ordinal));
    }

    private static CampaignSettings Good(string text)
    {
        CampaignReading reading = Read(text);
        Assert.Empty(reading.Mistakes.Select(m => YamlFile.Line("c.yaml", m)));
        return reading.Settings!;
    }

    private static CampaignReading Read(string text) => CampaignFile.Read("/srv/files/c.yaml", Encoding.UTF8.GetBytes(text));
}
