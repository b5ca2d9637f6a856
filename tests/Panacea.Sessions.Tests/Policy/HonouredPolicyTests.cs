using System.Text;
using Microsoft.Extensions.Time.Testing;
using Panacea.Repair;
using Panacea.Sessions.Policy;
using Panacea.Target;
using Panacea.Target.Qemu;
using Panacea.TestKit;
using Panacea.TestKit.Linux;

namespace Panacea.Sessions.Tests.Policy;

/// <summary>A guard does what the policy allows, and its record says what was not allowed.</summary>
public sealed class HonouredPolicyTests : IDisposable
{
    private readonly TemporaryDirectory _cache = new();
    private readonly SyntheticKernel _guest = new();
    private readonly CancellationTokenSource _cancel = new();
    private readonly ScriptedVm _vm;

    public HonouredPolicyTests() => _vm = new ScriptedVm(_guest) { OnIdle = _cancel.Cancel };

    [Fact]
    public void A_rung_that_the_policy_leaves_out_is_not_used_and_stands_in_the_ladder()
    {
        _vm.ThenStops(Dies).ThenLives();
        Incident incident = Assert.Single(Guard("defaults:\n  rungs: [kill, go-on, heal, unwind]\n"));
        Assert.Equal((RepairKind.Unwind, IncidentOutcome.Recovered), (incident.Repair, incident.Outcome));
        Assert.Equal(
            [(RepairKind.GoOn, RungVerdict.Declined), (RepairKind.Heal, RungVerdict.Declined), (RepairKind.Retry, RungVerdict.NotAllowed), (RepairKind.ErrorReturn, RungVerdict.NotAllowed), (RepairKind.Unwind, RungVerdict.Taken)],
            incident.Ladder.Select(s => (s.Repair, s.Verdict!.Value)));
        Assert.Equal(("not allowed: by policy rungs", false), (incident.Ladder[2].Explanation, incident.Ladder[2].Applied));
        Assert.Equal(("policy.yaml", "go-on, heal, unwind, kill", 0), (incident.Policy!.Source, PolicyText.Rungs(incident.Policy.Rungs), incident.Policy.RepairsBefore));
    }

    [Fact]
    public void Where_the_policy_leaves_nothing_the_guest_goes_on_alone()
    {
        _vm.ThenStops(Dies).ThenLives();
        Incident incident = Assert.Single(Guard("vms:\n  - match: pid:*\n    rungs: [go-on]\n"));
        Assert.Equal((RepairKind.None, IncidentOutcome.Declined), (incident.Repair, incident.Outcome));
        Assert.Equal(RungVerdict.Declined, incident.Ladder[0].Verdict);
        Assert.All(incident.Ladder.Skip(1), s => Assert.Equal(RungVerdict.NotAllowed, s.Verdict));
        Assert.Equal(incident.Ladder[0].Explanation, incident.OutcomeReason);
        Assert.Equal("policy.yaml:2", incident.Policy!.Source);
    }

    [Fact]
    public void A_mode_that_allows_nothing_says_so_rung_by_rung()
    {
        _vm.ThenStops(Dies).ThenLives();
        Incident incident = Assert.Single(Guard("defaults: {mode: observe}"));
        Assert.Equal(GuardMode.Observe, incident.Mode);
        Assert.Equal(GuardPolicy.Rungs, incident.Ladder.Select(s => s.Repair));
        Assert.All(incident.Ladder, s => Assert.Equal("not allowed: by mode observe", s.Explanation));
        Assert.Equal("the guard only observes", incident.OutcomeReason);
    }

    [Fact]
    public void The_repair_limit_and_its_window_are_the_policys()
    {
        _vm.ThenStops(Dies).ThenLives().ThenStops(Dies).ThenLives();
        IReadOnlyList<Incident> incidents = Guard("defaults: {repair-limit: {count: 1, window: 30s}}");
        Assert.Equal([RepairKind.ErrorReturn, RepairKind.None], incidents.Select(i => i.Repair));
        Assert.Equal([0, 1], incidents.Select(i => i.Policy!.RepairsBefore));
        Assert.Equal("the guest has been repaired 1 times within 30s (repair limit)", incidents[1].OutcomeReason);
        Assert.All(incidents[1].Ladder, s => Assert.Equal((RungVerdict.NotAllowed, "not allowed: by the repair limit, 1 repair within 30s"), (s.Verdict, s.Explanation)));
    }

    [Fact]
    public void A_rung_that_did_not_hold_is_said_to_have_failed_before()
    {
        // The same task dies elsewhere before it is back in user space.
        _vm.ThenStops(Dies).ThenStops(() => _guest.Crash(new CrashSpec { Function = "ct_read" }).Vcpu).ThenLives();
        IReadOnlyList<Incident> incidents = Guard("defaults: {health-window: 10m}");
        Assert.Equal((RepairKind.ErrorReturn, IncidentOutcome.Failed), (incidents[0].Repair, incidents[0].Outcome));
        LadderStep again = incidents[1].Ladder.Single(s => s.Repair == RepairKind.ErrorReturn);
        Assert.Equal(RungVerdict.FailedBefore, again.Verdict);
        Assert.StartsWith($"failed before on this task, in incident {incidents[0].Id}", again.Explanation);
        Assert.NotEqual(RepairKind.ErrorReturn, incidents[1].Repair);
    }

    public void Dispose()
    {
        _cancel.Dispose();
        _cache.Dispose();
    }

    private VcpuRegisters Dies() => _guest.Crash(new CrashSpec()).Vcpu;

    private List<Incident> Guard(string policy)
    {
        PolicyReading reading = PolicyFile.Read("policy.yaml", Encoding.UTF8.GetBytes(policy));
        Assert.Empty(reading.Mistakes);
        GuardOptions options = reading.Policy!.OptionsFor("pid:4711", PolicySettings.None, new GuardOptions { ImageCache = _cache.Path, HealthWindow = TimeSpan.Zero });
        var sink = new Sink();
        new GuardSession(QemuTargetSpec.Parse("pid:4711"), options, sink) { Attach = () => _vm, Time = new FakeTimeProvider() }.Run(_cancel.Token);
        _vm.AssertRuns();
        return sink.Incidents;
    }

    private sealed class Sink : ISessionSink
    {
        public List<Incident> Incidents { get; } = [];

        public void OnEvent(SessionEvent sessionEvent)
        {
        }

        public string? Store(Incident incident)
        {
            Incidents.Add(incident);
            return null;
        }
    }
}
