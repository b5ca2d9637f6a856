using System.Text.Json;
using Panacea.Daemon;
using Panacea.Repair;
using Panacea.Sessions;
using Panacea.Sessions.Policy;
using Panacea.TestKit;

namespace Panacea.Cli.Tests;

public sealed class PolicyCommandTests : IDisposable
{
    private readonly TemporaryDirectory _place = new();

    private sealed class Session(Action run) : IGuardSession
    {
        public void Run(CancellationToken cancel) => run();
    }

    [Fact]
    public void Every_mistake_is_a_line_with_its_place()
    {
        string file = Write("defaults:\n  mode: ful\nvms:\n  - match: \"vm\\e[1m\"\n");
        Outcome outcome = new Harness().Run("policy", "check", file);
        Assert.Equal(ExitCodes.Usage, outcome.ExitCode);
        string[] lines = outcome.Out.TrimEnd('\n').Split('\n');
        Assert.Equal($"{file}:2:9: 'ful' is no mode; write observe, quarantine or full", lines[0]);
        Assert.StartsWith($"{file}:4:12: 'vm\\x1b[1m' would never match; write the VM", lines[1]);
        Assert.Equal((2, $"panacea: {file} has 2 mistakes\n"), (lines.Length, outcome.Error));
    }

    [Fact]
    public void A_file_that_is_not_there_is_a_mistake_of_the_file()
    {
        Outcome outcome = new Harness().Run("policy", "check", "/nonexistent/p.yaml");
        Assert.Equal(ExitCodes.Usage, outcome.ExitCode);
        Assert.StartsWith("/nonexistent/p.yaml: Could not find", outcome.Out);
    }

    [Fact]
    public void A_good_file_is_a_sentence_and_a_vm_a_table()
    {
        string file = Write("defaults: {mode: full}\nvms:\n  - match: qmp:/run/*.qmp\n    rungs: [heal, kill]\n");
        Outcome good = new Harness().Run("policy", "check", file);
        Assert.Equal((ExitCodes.Ok, $"{file} is good: 1 entry for VMs, and what is said for all the others.\n", ""), (good.ExitCode, good.Out, good.Error));
        string[] lines = new Harness().Run("policy", "check", file, "--vm", "qmp:/run/vm1.qmp").Out.TrimEnd('\n').Split('\n');
        Assert.Equal("qmp:/run/vm1.qmp: the entry 'qmp:/run/*.qmp' at line 3", lines[2]);
        Assert.Contains(lines, l => l.StartsWith("mode ", StringComparison.Ordinal) && l.EndsWith("full        defaults, line 1", StringComparison.Ordinal));
        Assert.Contains(lines, l => l.StartsWith("rungs ", StringComparison.Ordinal) && l.EndsWith("heal, kill  line 4", StringComparison.Ordinal));
        Assert.Contains("no entry matches; the defaults", new Harness().Run("policy", "check", file, "--vm", "pid:1").Out, StringComparison.Ordinal);
        Assert.Equal(ExitCodes.Usage, new Harness().Run("policy", "check", file, "--vm", "vm1").ExitCode);
    }

    [Fact]
    public void A_script_gets_the_same_as_an_object()
    {
        JsonElement bad = JsonDocument.Parse(new Harness().Run("policy", "check", "--json", Write("defaults:\n  mode: ful\n")).Out).RootElement;
        Assert.Equal(("file valid mistakes entries vm", false), (string.Join(' ', bad.EnumerateObject().Select(p => p.Name)), bad.GetProperty("valid").GetBoolean()));
        Assert.Equal((2, 9), (bad.GetProperty("mistakes")[0].GetProperty("line").GetInt32(), bad.GetProperty("mistakes")[0].GetProperty("column").GetInt32()));
        JsonElement vm = JsonDocument.Parse(new Harness().Run("policy", "check", "--json", Write("vms: [{match: pid:1, mode: observe}]"), "--vm", "pid:1").Out).RootElement.GetProperty("vm");
        Assert.Equal(("pid:1", 1), (vm.GetProperty("entry").GetProperty("match").GetString(), vm.GetProperty("entry").GetProperty("line").GetInt32()));
        JsonElement mode = vm.GetProperty("settings")[0];
        Assert.Equal(("mode", "observe", "line 1"), (mode.GetProperty("name").GetString(), mode.GetProperty("value").GetString(), mode.GetProperty("place").GetString()));
    }

    [Fact]
    public void Guard_takes_each_vms_options_from_the_file_and_the_command_line_wins()
    {
        string file = Write("defaults: {mode: observe, health-window: 9s}\nvms:\n  - match: pid:1\n    rungs: [kill]\n    check-up: true\n    mode: full\n");
        var seen = new System.Collections.Concurrent.ConcurrentDictionary<int, GuardOptions>();
        var harness = new Harness { Guard = (target, options, _) => new Session(() => seen[target.Pid!.Value] = options) };
        Assert.Equal(0, harness.Run("guard", "--policy", file, "--health-window", "3s", "pid:1", "pid:2").ExitCode);
        Assert.Equal((GuardMode.Full, true, TimeSpan.FromSeconds(3), $"{file}:3"), (seen[1].Mode, seen[1].CheckUp, seen[1].HealthWindow, seen[1].PolicySource));
        Assert.Equal([RepairKind.Kill], seen[1].Rungs!);
        Assert.Equal((GuardMode.Observe, false, TimeSpan.FromSeconds(3), file), (seen[2].Mode, seen[2].CheckUp, seen[2].HealthWindow, seen[2].PolicySource));
        Assert.Equal(0, harness.Run("guard", "--policy", file, "--check-up", "--mode", "quarantine", "pid:2").ExitCode);
        Assert.Equal((GuardMode.Quarantine, true, TimeSpan.FromSeconds(9)), (seen[2].Mode, seen[2].CheckUp, seen[2].HealthWindow));
    }

    [Fact]
    public void Guard_with_a_bad_file_tells_all_of_it_and_guards_nothing()
    {
        string file = Write("defaults: {mode: ful, colour: red}");
        Outcome outcome = new Harness { Guard = (_, _, _) => throw new InvalidOperationException("guarded") }.Run("guard", "--policy", file, "pid:1");
        Assert.Equal(ExitCodes.Usage, outcome.ExitCode);
        string[] lines = outcome.Error.TrimEnd('\n').Split('\n');
        Assert.StartsWith($"panacea: {file}:1:18: 'ful' is no mode", lines[0]);
        Assert.StartsWith($"panacea: {file}:1:23: 'colour' is no member of defaults", lines[1]);
        Assert.Equal((3, $"panacea: {file} has 2 mistakes"), (lines.Length, lines[2]));
    }

    [Fact]
    public void A_mode_of_the_command_line_that_leaves_nothing_of_the_file_is_refused()
    {
        Outcome outcome = new Harness { Guard = (_, _, _) => throw new InvalidOperationException("guarded") }.Run("guard", "--policy", Write("defaults: {rungs: [heal]}"), "--mode", "quarantine", "pid:1");
        Assert.Equal(ExitCodes.Usage, outcome.ExitCode);
        Assert.Contains("--mode quarantine allows none of the rungs that", outcome.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void An_incident_is_explained_rung_by_rung()
    {
        string id = Store();
        Outcome outcome = new Harness().Run("policy", "explain", "--records", _place.Path, id);
        Assert.Equal((ExitCodes.Ok, ""), (outcome.ExitCode, outcome.Error));
        Assert.Contains("\n1. error-return was not allowed: by policy rungs.\n2. unwind was taken: vfs_write\\x1b[2J returned -EIO. It risks: a file may be half written.\n3. kill was not asked: unwind loses less and was chosen.\n", outcome.Out, StringComparison.Ordinal);
        JsonElement json = JsonDocument.Parse(new Harness().Run("policy", "explain", "--json", Path.Combine(_place.Path, id)).Out).RootElement;
        Assert.Equal("not-allowed", json.GetProperty("rungs")[0].GetProperty("verdict").GetString());
        Assert.Equal("unwind", json.GetProperty("repair").GetString());
        Assert.Equal(ExitCodes.Ok, new Harness().Run("policy", "explain", Path.Combine(_place.Path, id, "incident.json")).ExitCode);
    }

    [Fact]
    public void An_incident_that_is_not_there_names_the_latest()
    {
        string id = Store();
        Outcome outcome = new Harness().Run("policy", "explain", "--records", _place.Path, "20260101-000000-0000");
        Assert.Equal((ExitCodes.Usage, $"panacea: there is no incident '20260101-000000-0000' in {_place.Path}; the latest is {id}\n"), (outcome.ExitCode, outcome.Error));
        Assert.Equal(ExitCodes.Usage, new Harness().Run("policy", "explain", _place.Path).ExitCode);
        Assert.Equal(ExitCodes.Failure, new Harness().Run("policy", "explain", Write("{\"schema\": 1")).ExitCode);
    }

    public void Dispose() => _place.Dispose();

    private string Write(string text)
    {
        string file = Path.Combine(_place.Path, "policy.yaml");
        File.WriteAllText(file, text);
        return file;
    }

    private string Store()
    {
        const string Id = "20261123-140500-4f2a";
        var incident = new Incident
        {
            Id = Id, Vm = "pid:1", At = DateTimeOffset.UnixEpoch, Mode = GuardMode.Full, Policy = PolicyInForce.Of(new GuardOptions { ImageCache = "" }, 2), DeathPoint = "oops_end", Repair = RepairKind.Unwind,
            Outcome = IncidentOutcome.Recovered, OutcomeReason = "it lives", StoppedUs = 1, StoppedSource = "qemu", Lost = [], Journal = [], Timeline = [],
            Ladder = [new LadderStep(RepairKind.ErrorReturn, false, "not allowed: by policy rungs", [], RungVerdict.NotAllowed), new LadderStep(RepairKind.Unwind, true, "vfs_write\x1b[2J returned -EIO", ["a file may be half written"], RungVerdict.Taken)],
        };
        Assert.NotNull(new IncidentStore(_place.Path, _ => { }).Store(incident));
        return Id;
    }
}
