using System.Text;
using Panacea.Formats.Yaml;
using Panacea.Repair;
using Panacea.Sessions.Policy;
using Panacea.TestKit;

namespace Panacea.Sessions.Tests.Policy;

public sealed class PolicyFileTests
{
    private static readonly GuardOptions Usual = new() { ImageCache = "/c" };

    [Fact]
    public void A_whole_policy()
    {
        GuardPolicy policy = Good("""
            defaults:
              mode: full
              health-window: 5s
              repair-limit: {count: 20, window: 1m}
              fallback: {then: reset, dump: /var/lib/panacea/dumps}
              hangs: {detect: true, after: 3s}
            vms:
              - match: qmp:/run/db.qmp
                mode: quarantine
                quarantine: freeze
                fallback: keep-stopped
                check-up: true
              - match: qmp:/run/*.qmp
                rungs: [kill, go-on, heal]
                stop-budget: 500ms
                repair-limit: {count: 0}
                hangs: {detect: false}
                fallback: {dump: none}
            """);
        Assert.Equal([8, 13], policy.Entries.Select(e => e.Line));

        GuardOptions db = policy.OptionsFor("qmp:/run/db.qmp", PolicySettings.None, Usual);
        Assert.Equal((GuardMode.Quarantine, QuarantineKind.Freeze, true, "p.yaml:8"), (db.Mode, db.Quarantine, db.CheckUp, db.PolicySource));
        Assert.Equal(new FallbackPolicy { Then = FallbackAction.KeepStopped, DumpDirectory = "/var/lib/panacea/dumps" }, db.Fallback);
        Assert.Equal((TimeSpan.FromSeconds(5), 20, TimeSpan.FromMinutes(1)), (db.HealthWindow, db.RepairLimit, db.RepairLimitWindow));
        Assert.Equal((null, Usual.StopBudget), (db.Rungs, db.StopBudget));

        // Each value is looked up on its own: an entry's limit without a window has the window of the defaults.
        GuardOptions web = policy.OptionsFor("qmp:/run/sub/web.qmp", PolicySettings.None, Usual);
        Assert.Equal([RepairKind.GoOn, RepairKind.Heal, RepairKind.Kill], web.Rungs);
        Assert.Equal((0, TimeSpan.FromMinutes(1), TimeSpan.FromMilliseconds(500)), (web.RepairLimit, web.RepairLimitWindow, web.StopBudget));
        Assert.Equal(new HangPolicy { Detect = false, After = TimeSpan.FromSeconds(3) }, web.Hangs);
        Assert.Equal(new FallbackPolicy { Then = FallbackAction.Reset }, web.Fallback);

        GuardOptions other = policy.OptionsFor("pid:4242", PolicySettings.None, Usual);
        Assert.Equal((GuardMode.Full, 20, "p.yaml"), (other.Mode, other.RepairLimit, other.PolicySource));
    }

    [Fact]
    public void The_command_line_wins_over_the_file()
    {
        GuardPolicy policy = Good("defaults: {mode: observe, stop-budget: 5s}");
        GuardOptions options = policy.OptionsFor("pid:1", new PolicySettings { Mode = new(GuardMode.Full, "the command line") }, Usual);
        Assert.Equal((GuardMode.Full, TimeSpan.FromSeconds(5)), (options.Mode, options.StopBudget));
    }

    [Fact]
    public void What_nobody_says_is_as_without_a_policy() =>
        Assert.Equal(Usual with { PolicySource = "p.yaml" }, Good("vms: []").OptionsFor("pid:1", PolicySettings.None, Usual));

    [Fact]
    public void Every_kind_of_repair_is_a_rung()
    {
        Assert.Equal(Enum.GetValues<RepairKind>().Length - 1, GuardPolicy.Rungs.Count);
        GuardPolicy policy = Good($"defaults: {{rungs: [{PolicyText.Rungs(null)}]}}");
        Assert.Equal(GuardPolicy.Rungs, policy.Defaults.Rungs!.Value);
    }

    [Fact]
    public void Every_value_says_where_it_was_said()
    {
        GuardPolicy policy = Good("defaults:\n  mode: full\n  check-up: true\nvms:\n  - match: pid:*\n    mode: observe\n");
        IReadOnlyList<PolicyLine> lines = PolicyText.Lines(policy.For("pid:1"), Usual);
        Assert.Equal(new PolicyLine("mode", "observe", "line 6"), lines[0]);
        Assert.Equal(new PolicyLine("check-up", "true", "defaults, line 3"), lines.Single(l => l.Name == "check-up"));
        Assert.Equal(new PolicyLine("hangs.after", "2s", "built in"), lines.Single(l => l.Name == "hangs.after"));
        Assert.Equal(new PolicyLine("hangs.use-fallback", "true", "defaults, line 4"), PolicyText.Lines(Good("defaults:\n  hangs:\n    after: 1s\n    use-fallback: true\nvms:\n  - match: pid:*\n    mode: full\n").For("pid:1"), Usual).Single(l => l.Name == "hangs.use-fallback"));
        Assert.Equal(new PolicyLine("rehearse.budget", "2s", "built in"), lines[^1]);
        IReadOnlyList<PolicyLine> rehearsed = PolicyText.Lines(Good("defaults:\n  rehearse: {when: always, below: low, plans: 2, budget: 500ms}\nvms:\n  - match: pid:*\n    rehearse: auto\n").For("pid:1"), Usual);
        Assert.Equal(
            [new("rehearse.when", "auto", "line 5"), new("rehearse.below", "low", "defaults, line 2"), new("rehearse.plans", "2", "defaults, line 2"), new("rehearse.budget", "500ms", "defaults, line 2")],
            rehearsed.Where(l => l.Name.StartsWith("rehearse.", StringComparison.Ordinal)));
    }

    [Theory]
    [InlineData("", "1:1: the file is empty; write 'defaults:', 'vms:' or both")]
    [InlineData("{}", "1:1: the file is empty; write 'defaults:', 'vms:' or both")]
    [InlineData("- a", "1:1: the file has to be a mapping; write 'defaults:', 'vms:' or both")]
    [InlineData("default: {}", "1:1: 'default' is no member of the file; write one of defaults, vms")]
    [InlineData("defaults:", "1:10: 'defaults' has no value; write settings such as 'mode: full' below it")]
    [InlineData("defaults: [a]", "1:11: 'defaults' has to be a mapping; write settings")]
    [InlineData("defaults:\n  mod: full", "2:3: 'mod' is no member of defaults; write one of mode, rungs, health-window,")]
    [InlineData("defaults:\n  mode: ful", "2:9: 'ful' is no mode; write observe, quarantine or full")]
    [InlineData("defaults:\n  mode: full\n  mode: full", "3:3: 'mode' is given already, at line 2; write it once")]
    [InlineData("defaults:\n  mode:", "2:8: 'mode' has no value; write observe, quarantine or full")]
    [InlineData("defaults:\n  mode: [full]", "2:9: 'mode' has to be one value; write observe, quarantine or full")]
    [InlineData("defaults:\n  rungs: [go-on, none]", "2:18: 'none' is no rung; write go-on, heal, retry, error-return, unwind,")]
    [InlineData("defaults:\n  rungs: [kill, kill]", "2:17: the rung 'kill' is given already; write it once")]
    [InlineData("defaults:\n  rungs: []", "2:10: 'rungs' is an empty list; write 'mode: observe' where nothing is to be repaired")]
    [InlineData("defaults:\n  rungs: kill", "2:10: 'rungs' has to be a list; write a list of go-on,")]
    [InlineData("defaults:\n  health-window: 5", "2:18: '5' is no value of 'health-window'; write a duration from 100ms to 10m, as 500ms, 2s or 1m")]
    [InlineData("defaults:\n  health-window: 1e9s", "2:18: '1e9s' is no value of 'health-window'")]
    [InlineData("defaults:\n  stop-budget: 1ms", "2:16: '1ms' is no value of 'stop-budget'; write a duration from 50ms to 1m")]
    [InlineData("defaults:\n  hangs: {after: 499ms}", "2:18: '499ms' is no value of 'after'; write a duration from 500ms to 10m")]
    [InlineData("defaults:\n  hangs: {detect: yes}", "2:19: 'yes' is no value of 'detect'; write true or false")]
    [InlineData("defaults:\n  rehearse: sometimes", "2:13: 'sometimes' is no time to rehearse; write never, auto or always")]
    [InlineData("defaults:\n  rehearse: {mode: auto}", "2:14: 'mode' is no member of rehearse; write one of when, below, plans, budget")]
    [InlineData("defaults:\n  rehearse: {plans: 8}", "2:21: '8' is no value of 'plans'; write a number from 0, for none, to 7")]
    [InlineData("defaults:\n  hangs: 2s", "2:10: 'hangs' has to be a mapping; write 'detect', 'after' and 'use-fallback' below it")]
    [InlineData("defaults:\n  repair-limit: {count: -1}", "2:25: '-1' is no value of 'count'; write a number from 0, for no limit, to 1000000")]
    [InlineData("defaults:\n  repair-limit: {count: 99999999999999999999}", "2:25: '99999999999999999999' is no value of 'count'")]
    [InlineData("defaults:\n  repair-limit: {windows: 1m}", "2:18: 'windows' is no member of repair-limit; write one of count, window")]
    [InlineData("defaults:\n  quarantine: ice", "2:15: 'ice' is no quarantine; write kill or freeze")]
    [InlineData("defaults:\n  fallback: reboot", "2:13: 'reboot' is no fallback; write leave, reset or keep-stopped")]
    [InlineData("defaults:\n  fallback: {then: reset, dump: dumps}", "2:33: 'dumps' is no value of 'dump'; write a directory's full path, as /var/lib/panacea/dumps, or none")]
    [InlineData("defaults:\n  mode: quarantine\n  rungs: [heal, unwind]", "3:10: the mode quarantine (defaults, line 2) allows none of the rungs heal, unwind (defaults, line 3); write kill")]
    [InlineData("vms: 5", "1:6: 'vms' has to be a list; write each entry after a dash")]
    [InlineData("vms:\n  - mode: full", "2:5: the entry that begins here has no 'match'; write the VM as on the command line")]
    [InlineData("vms:\n  - pid:1", "2:5: an entry of 'vms' has to be a mapping; write 'match' and settings below it")]
    [InlineData("vms:\n  - match: qmp:run/vm1.qmp", "2:12: 'qmp:run/vm1.qmp' would never match; write the socket's full path")]
    [InlineData("vms:\n  - match: /run/vm1.qmp", "2:12: '/run/vm1.qmp' would never match; write the VM as on the command line")]
    [InlineData("vms:\n  - match: pid:vm1", "2:12: 'pid:vm1' would never match; write pid: and the number")]
    [InlineData("vms:\n  - match: pid:1\n  - match: pid:1", "3:12: 'pid:1' has an entry already, at line 2; the first one holds, so write one")]
    [InlineData("vms:\n  - match: pid:*\n  - match: pid:1", "3:12: 'pid:1' is matched by the entry at line 2, and the first one holds; write this one before it")]
    [InlineData("vms:\n  - match: pid:1\n    mode: quarantine\ndefaults: {rungs: [heal]}", "3:11: the mode quarantine (line 3) allows none of the rungs heal (defaults, line 4); write kill")]
    [InlineData("defaults: &x {mode: full}", "1:11: anchors, aliases and tags have no meaning in a policy file")]
    [InlineData("defaults: [[[[[[[[[[[]]]]]]]]]]]", "1:19: values lie in each other more than 8 deep")]
    [InlineData("defaults: {mode: full}\n---\nvms: []", "2:1: a second document begins here; a policy file is one")]
    [InlineData("defaults:\n\tmode: full", "2:1: the line is indented with a tab; YAML takes spaces alone")]
    [InlineData("defaults:\n  mode: 'full", "2:")]
    public void A_mistake_says_where_it_is_what_it_is_and_what_to_write(string text, string says)
    {
        YamlMistake mistake = Assert.Single(Read(text).Mistakes);
        Assert.StartsWith("p.yaml:" + says, YamlFile.Line("p.yaml", mistake));
        Assert.DoesNotContain('\n', mistake.Sentence);
    }

    [Fact]
    public void All_mistakes_are_told_at_once_in_the_order_of_the_file()
    {
        PolicyReading reading = Read("""
            vms:
              - match: vm1
                mode: ful
                rungs: [kil, heal, heal]
                colour: red
              - mode: *unknown
                hangs: {after: 1ms, detect: maybe}
            defaults: {health-window: soon}
            """);
        Assert.Null(reading.Policy);
        Assert.Equal(["2:12", "3:11", "4:13", "4:24", "5:5", "6:5", "6:11", "7:20", "7:33", "8:27"], reading.Mistakes.Select(m => $"{m.Line}:{m.Column}"));
    }

    [Fact]
    public void A_file_of_mistakes_alone_tells_a_hundred()
    {
        IReadOnlyList<YamlMistake> mistakes = Read("defaults:\n" + string.Concat(Enumerable.Range(0, 500).Select(i => $"  a{i}: 1\n"))).Mistakes;
        Assert.Equal((101, "there are 400 mistakes more"), (mistakes.Count, mistakes[^1].Sentence));
    }

    [Fact]
    public void More_entries_than_anybody_writes_are_refused() =>
        Assert.Contains("more than 1000 entries", Assert.Single(Read("vms:\n" + string.Concat(Enumerable.Range(1, 1001).Select(i => $"  - match: pid:{i}\n"))).Mistakes).Sentence, StringComparison.Ordinal);

    [Fact]
    public void Files_that_are_not_there_or_too_large_are_said()
    {
        Assert.StartsWith("/nonexistent/p.yaml: ", YamlFile.Line("/nonexistent/p.yaml", Assert.Single(PolicyFile.Read("/nonexistent/p.yaml").Mistakes)));
        Assert.Equal("x: it is larger than 1 MiB", YamlFile.Line("x", Assert.Single(PolicyFile.Read("x", new byte[(1 << 20) + 1]).Mistakes)));
    }

    [Fact]
    public void The_documented_example_is_valid_and_the_documentation_complete()
    {
        string prose = File.ReadAllText(Path.Combine(JsonSchema.Docs, "policy.md"));
        PolicyReading example = PolicyFile.Read(Path.Combine(JsonSchema.Docs, "policy.example.yaml"));
        Assert.Empty(example.Mistakes);
        Assert.NotEmpty(example.Policy!.Entries);
        Assert.Contains(File.ReadAllText(Path.Combine(JsonSchema.Docs, "policy.example.yaml")).Trim(), prose, StringComparison.Ordinal);
        foreach (string name in PolicyText.Lines(PolicySettings.None, Usual).SelectMany(l => l.Name.Split('.')).Append("match"))
            Assert.Contains($"`{name}`", prose, StringComparison.Ordinal);
        foreach (string name in GuardPolicy.Rungs.Select(GuardPolicy.Name).Concat(Enum.GetValues<FallbackAction>().Select(GuardPolicy.Name)).Concat(Enum.GetValues<QuarantineKind>().Select(GuardPolicy.Name)))
            Assert.Contains($"`{name}`", prose, StringComparison.Ordinal);
        foreach (PolicyLine line in PolicyText.Lines(PolicySettings.None, Usual).Where(l => l.Name != "rungs"))
            Assert.Contains($"`{line.Value}`", prose.Split('\n').Single(row => row.StartsWith($"| `{line.Name.Split('.')[^1]}` |", StringComparison.Ordinal)), StringComparison.Ordinal);
    }

    private static PolicyReading Read(string text) => PolicyFile.Read("p.yaml", Encoding.UTF8.GetBytes(text));

    private static GuardPolicy Good(string text)
    {
        PolicyReading reading = Read(text);
        Assert.Empty(reading.Mistakes.Select(m => YamlFile.Line("p.yaml", m)));
        return reading.Policy!;
    }
}
