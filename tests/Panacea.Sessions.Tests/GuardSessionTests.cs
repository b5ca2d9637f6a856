using System.Text.Json;
using Microsoft.Extensions.Time.Testing;
using Panacea.Diagnosis;
using Panacea.Diagnosis.KnownIssues;
using Panacea.Diagnosis.Validators;
using Panacea.Kernel.Image;
using Panacea.Repair;
using Panacea.Sessions.Control;
using Panacea.Sessions.Policy;
using Panacea.Target;
using Panacea.Target.Qemu;
using Panacea.Target.Qemu.Gdb;
using Panacea.TestKit;
using Panacea.TestKit.Linux;

namespace Panacea.Sessions.Tests;

/// <summary>The life of a guarded VM, without QEMU: what happens to it is a script.</summary>
public sealed partial class GuardSessionTests : IDisposable
{
    private readonly TemporaryDirectory _cache = new();
    private readonly SyntheticKernel _guest = new();
    private readonly ScriptedVm _vm;
    private readonly CancellationTokenSource _cancel = new();
    private readonly Sink _sink = new();
    private readonly FakeTimeProvider _time = new();
    private Func<int, Func<GuestRequest, Task<GuestAnswer>>, IDisposable?>? _openControl;
    private Func<RepairImage, IGuestMemory, TargetLimits, RunningCheckUp?> _beginCheckUp = (_, _, _) => null;

    public GuardSessionTests()
    {
        _vm = new ScriptedVm(_guest) { OnIdle = _cancel.Cancel };
        _sink.Vm = _vm;
    }

    [Theory]
    [InlineData(GuardMode.Full, RepairKind.ErrorReturn, IncidentOutcome.Recovered)]
    [InlineData(GuardMode.Quarantine, RepairKind.Kill, IncidentOutcome.Recovered)]
    [InlineData(GuardMode.Observe, RepairKind.None, IncidentOutcome.Declined)]
    public void A_crash_is_handled_as_the_mode_allows(GuardMode mode, RepairKind repair, IncidentOutcome outcome)
    {
        _vm.ThenStops(Dies).ThenLives();
        Run(mode);
        Assert.Equal(["attached", "armed", "death", "resumed", "incident", "detached"], _sink.Events.Select(Name));
        Incident incident = Assert.Single(_sink.Incidents);
        Assert.Equal((repair, outcome, mode, "oops_end", "qemu", 1234L), (incident.Repair, incident.Outcome, incident.Mode, incident.DeathPoint, incident.StoppedSource, incident.StoppedUs));
        Assert.Equal("NULL write in ct_int", incident.Report?.Title);
        Assert.Equal(mode != GuardMode.Observe, incident.Health?.Verified ?? false);
        Assert.Equal(mode == GuardMode.Observe, incident.Journal.Count == 0);
        Assert.Empty(incident.Errors);

        // Repaired or not, the machine around the crash is told of: read beside the session, after the guest went on.
        Assert.Equal(Diagnosis.Machine.StateMoment.Running, incident.Machine?.Moment);
        Assert.NotNull(incident.Machine!.Scheduling);
        Assert.StartsWith("ct_int+0x", incident.Report!.Values!.Registers[0].Text);
        Assert.Equal("machine-read", incident.Timeline.Select(t => t.Step).Except(["health-verified"]).Last());
        Assert.Equal("interrupted", Assert.IsType<DetachedEvent>(_sink.Events[^1]).Reason);
        if (mode == GuardMode.Observe)
            Assert.Equal([$"vcpu0.Rip {_guest["oops_end"]:x} -> {_guest["oops_end"] + 5:x}"], _vm.Held[^1].Left);
    }

    [Fact]
    public void A_guest_that_does_not_live_after_it_is_a_failure()
    {
        _vm.ThenStops(Dies).ThenLives(works: false);
        Run();
        Assert.Equal((IncidentOutcome.Failed, "the guest does not live after the repair"), (_sink.Incidents[0].Outcome, _sink.Incidents[0].OutcomeReason));
    }

    [Fact]
    public void A_guard_that_is_interrupted_before_health_is_verified_says_so()
    {
        _vm.ThenStops(Dies).Then(() =>
        {
            _cancel.Cancel();
            return new GuestWait(QemuWaitKind.Woken, null);
        });
        Run(window: TimeSpan.FromHours(1));
        Assert.Equal((IncidentOutcome.Failed, "the guard was interrupted before health was verified"), (_sink.Incidents[0].Outcome, _sink.Incidents[0].OutcomeReason));
    }

    [Fact]
    public void A_guest_that_ends_closes_what_is_open()
    {
        _vm.ThenStops(Dies).Then(() =>
        {
            _vm.IsGone = true;
            return new GuestWait(QemuWaitKind.Gone, null);
        });
        Run(window: TimeSpan.FromHours(1));
        Assert.Equal("the guest ended before health was verified", _sink.Incidents[0].OutcomeReason);
        Assert.Equal("gone", Assert.IsType<DetachedEvent>(_sink.Events[^1]).Reason);
    }

    [Fact]
    public void A_guest_found_standing_at_a_death_point_is_carried_on()
    {
        _vm.StandsAt(Dies());
        _vm.ThenLives();
        Run();
        Assert.True(Assert.Single(_sink.Events.OfType<DeathEvent>()).Found);
        Assert.Equal((IncidentOutcome.Recovered, "panacea"), (_sink.Incidents[0].Outcome, _sink.Incidents[0].StoppedSource));
    }

    [Fact]
    public void A_guest_found_standing_elsewhere_is_let_go()
    {
        _vm.StandsAt(_guest.Vcpu(0, _guest["vfs_write"], default));
        Run();
        Assert.Empty(_sink.Incidents);
        Assert.Empty(_vm.Held[0].Left);
    }

    [Fact]
    public void A_stop_that_is_no_death_is_resumed_untouched()
    {
        _vm.ThenStops(() => _guest.Vcpu(1, _guest["vfs_write"], default));
        Run();
        Assert.Empty(_sink.Incidents);
        Assert.Empty(_vm.Held[^1].Left);
    }

    [Fact]
    public void An_operators_pause_is_the_operators_to_end()
    {
        _vm.ThenStops(() => _guest.Vcpu(0, _guest["oops_end"], default), StopReason.Other);
        Run();
        Assert.Empty(_sink.Incidents);
        Assert.Contains("note-resumed", _vm.Steps);
        Assert.DoesNotContain("resume", _vm.Steps.SkipWhile(s => s != "wait"));
    }

    /// <summary>A guest that its operator pauses while its health is being watched shows no life, and is not dead.</summary>
    [Fact]
    public void An_operators_pause_does_not_count_as_death()
    {
        TimeSpan window = TimeSpan.FromSeconds(2);
        _vm.ThenStops(Dies).ThenStops(() => _guest.Vcpu(0, _guest["vfs_write"], default), StopReason.Other).ThenLives(works: false).Then(() =>
        {
            _vm.Work();
            _time.Advance(window);
            return new GuestWait(QemuWaitKind.TimedOut, null);
        });
        _vm.Before = step =>
        {
            if (step == "note-resumed")
                _time.Advance(TimeSpan.FromMinutes(1));
        };
        Run(window: window);
        Assert.Equal(IncidentOutcome.Recovered, Assert.Single(_sink.Incidents).Outcome);
    }

    [Fact]
    public void Arming_takes_one_stop()
    {
        Run();
        Assert.Equal(["flush-disks", "stop", "arm", "read-registers", "resume"], _vm.Steps.SkipWhile(s => s != "flush-disks").Take(5));
        Assert.Single(_vm.Held);
        Assert.Equal(1234, Assert.Single(_sink.Events.OfType<ArmedEvent>()).StoppedUs);
    }

    [Fact]
    public void After_a_reset_it_arms_again()
    {
        _vm.ThenTells("RESET").ThenStops(Dies).ThenLives();
        Run();
        Assert.Equal(["attached", "armed", "reset", "armed", "death", "resumed", "incident", "detached"], _sink.Events.Select(Name));
        Assert.Equal(IncidentOutcome.Recovered, _sink.Incidents[0].Outcome);
        Assert.Single(_vm.Steps, "refresh-memory");
    }

    [Fact]
    public void A_kernel_that_is_still_booting_is_waited_for()
    {
        _guest.WriteU64(_guest["system_state"], 1);
        _vm.Then(() =>
        {
            _guest.WriteU64(_guest["system_state"], 3);
            return new GuestWait(QemuWaitKind.TimedOut, null);
        });
        Run();
        Assert.Equal(["attached", "armed", "detached"], _sink.Events.Select(Name));
        Assert.Equal("wait", _vm.Steps[1]);
    }

    [Fact]
    public void A_module_that_came_since_is_known_at_the_crash()
    {
        SyntheticModule? module = null;
        _vm.Then(() =>
        {
            module = _guest.AddModule("crashtest");
            _guest.Link();
            return new GuestWait(QemuWaitKind.TimedOut, null);
        }).ThenStops(() => _guest.Crash(new CrashSpec { Function = "ctm_write", Chain = ["do_syscall_64", "ksys_write", "vfs_write"], Module = module }).Vcpu).ThenLives();
        Run();
        Incident incident = Assert.Single(_sink.Incidents);
        Assert.Equal(("NULL write in ctm_write [crashtest]", RepairKind.Unwind), (incident.Report?.Title, incident.Repair));
        Assert.Contains("crashtest has no BTF", incident.Ladder.Single(s => s.Repair == RepairKind.ErrorReturn).Explanation);
    }

    [Fact]
    public void A_task_that_runs_into_the_same_place_again_and_again_gets_the_next_rung()
    {
        for (int i = 0; i < 5; i++)
            _vm.ThenStops(Dies);
        _vm.ThenLives();
        Run(window: TimeSpan.FromHours(1));
        Assert.Equal(
            [RepairKind.ErrorReturn, RepairKind.ErrorReturn, RepairKind.ErrorReturn, RepairKind.Unwind, RepairKind.Unwind], _sink.Incidents.Select(i => i.Repair));
    }

    /// <summary>An interrupt belongs to no task: it is the same one that comes again whatever it interrupts, and there is no rung below for it. So the one that has helped for a while is used on, but not for ever.</summary>
    [Fact]
    public void An_interrupt_that_crashes_again_and_again_is_left_to_the_kernel()
    {
        for (int i = 0; i < 13; i++)
            _vm.ThenStops(() => _guest.Crash(new CrashSpec { Function = "ct_void", Chain = ["do_syscall_64", "call_timer_fn"], Preempt = 0x100 }, i % 2 == 0 ? _guest.Victim : _guest.Idle[0]).Vcpu);
        _vm.ThenLives();
        Run(window: TimeSpan.FromHours(1));
        Assert.Equal([.. Enumerable.Repeat(RepairKind.Unwind, 12), RepairKind.None], _sink.Events.OfType<ResumedEvent>().Select(e => e.Repair));
        Assert.All(_sink.Incidents, incident => Assert.Equal(incident.Repair == RepairKind.Unwind, incident.Ladder.Any(s => s.Applied)));
    }

    [Theory]
    [InlineData(2, new[] { RepairKind.ErrorReturn, RepairKind.ErrorReturn, RepairKind.None })]
    [InlineData(0, new[] { RepairKind.ErrorReturn, RepairKind.ErrorReturn, RepairKind.ErrorReturn })]
    public void A_guest_that_was_repaired_often_enough_is_left_to_its_kernel(int limit, RepairKind[] repairs)
    {
        for (int i = 0; i < 3; i++)
            _vm.ThenStops(Dies).ThenLives();
        Run(limit: limit);
        Assert.Equal(repairs, _sink.Events.OfType<ResumedEvent>().Select(e => e.Repair));
        if (limit > 0)
            Assert.Equal("the guest has been repaired 2 times within 10m (repair limit)", _sink.Incidents[^1].OutcomeReason);
    }

    public static TheoryData<string> Kinds => ["bug", "refused", "broken"];

    /// <summary>Each operation of a whole guard, from attaching to letting go, fails in turn.</summary>
    [Theory]
    [MemberData(nameof(Kinds))]
    public void Whatever_throws_at_any_step_the_guest_runs_and_a_death_is_on_record(string kind)
    {
        _vm.ThenStops(Dies).ThenLives();
        Run();
        int steps = _vm.Steps.Count - 1;
        int deaths = 0;
        for (int step = 0; step < steps; step++)
        {
            using var again = new GuardSessionTests();
            int at = 0;
            string failed = "";
            again._vm.ThenStops(again.Dies).ThenLives();
            again._vm.Before = what =>
            {
                if (at++ != step)
                    return;
                failed = what;
                again._vm.IsBroken = kind == "broken";
                throw kind switch
                {
                    "bug" => new InvalidOperationException("a bug of ours"),
                    "refused" => new GdbException("E22", GdbFailure.Refused),
                    _ => new GdbException("QEMU did not answer in time", GdbFailure.Timeout),
                };
            };
            Exception? thrown = Record.Exception(() => again.Run());
            string where = $"{kind}, step {step}: {failed}, {thrown?.GetType().Name}: {string.Join(" ", again._vm.Steps)}";
            Assert.True(thrown is null or TargetException || kind == "bug", where);
            Assert.True(again._vm.IsDisposed && again._vm.Now is null && again._vm.Held.All(h => h.Resumes == 1), where);
            Assert.Empty(again._vm.Armed);
            Assert.True(again._sink.Events.OfType<DeathEvent>().Count() == again._sink.Incidents.Count, where);
            Assert.All(again._sink.Incidents, i => Assert.True(i.Outcome != IncidentOutcome.Recovered || i.Repair != RepairKind.None, where));
            deaths += again._sink.Incidents.Count;
        }

        // What goes wrong before there is a death is on no record.
        Assert.True(deaths > steps / 2, $"{deaths} deaths on record of {steps} runs");
    }

    /// <summary>An event or a record is never written while the guest stands still.</summary>
    [Fact]
    public void A_sink_that_throws_ends_the_guard_and_the_guest_runs()
    {
        _vm.ThenStops(Dies).ThenLives();
        _sink.ThrowsAt = nameof(DeathEvent);
        Assert.Throws<IOException>(() => Run());
        _vm.AssertRuns();
    }

    [Fact]
    public void The_record_keeps_its_shape()
    {
        _vm.ThenStops(Dies).ThenLives();
        Run();
        using JsonDocument json = JsonDocument.Parse(JsonSerializer.Serialize(_sink.Incidents[0], IncidentJson.Default.Incident));
        Assert.Equal(
            "schema id vm at mode policy death_point repair outcome outcome_reason stopped_us stopped_source lost ladder journal timeline health check_up report machine known_issues fallback rehearsal fuse console errors",
            string.Join(' ', json.RootElement.EnumerateObject().Select(p => p.Name)));
        Assert.Equal(
            "title bucket kind cause context vcpu location fault task stack registers values surroundings taint kernel_release build_id panic_message disassembly findings unavailable",
            string.Join(' ', json.RootElement.GetProperty("report").EnumerateObject().Select(p => p.Name)));
        Assert.Equal(["detected", "evidence-read", "diagnosed", "planned", "applied", "resumed", "machine-read", "health-verified"], json.RootElement.GetProperty("timeline").EnumerateArray().Select(t => t.GetProperty("step").GetString()));
        Assert.Equal(("full", "error-return", "recovered"), (json.RootElement.GetProperty("mode").GetString(), json.RootElement.GetProperty("repair").GetString(), json.RootElement.GetProperty("outcome").GetString()));
        Assert.Equal("process", json.RootElement.GetProperty("report").GetProperty("context").GetString());
        JsonElement line = json.RootElement.GetProperty("journal")[0];
        Assert.Equal("where before after why", string.Join(' ', line.EnumerateObject().Select(p => p.Name)));
        Assert.Equal(336, line.GetProperty("before").GetString()!.Length);
        Assert.Equal("repair applied explanation risks verdict tried took_us", string.Join(' ', json.RootElement.GetProperty("ladder")[0].EnumerateObject().Select(p => p.Name)));
        using JsonDocument e = JsonDocument.Parse(JsonSerializer.Serialize(_sink.Events.OfType<IncidentEvent>().Single(), SessionEventJson.Default.SessionEvent));
        Assert.Equal("event id title bucket context repair outcome stopped_us lost record vm", string.Join(' ', e.RootElement.EnumerateObject().Select(p => p.Name)));
    }

    [Fact]
    public void A_check_up_of_the_guest_that_lives_on_is_on_record()
    {
        var found = new StructureReport([new StructureCheck("stacks", CheckOutcome.Broken, 7, 1)], [new Finding("check.stacks.end-magic", "a stack ran over", [], Confidence.High)], []);
        _beginCheckUp = (image, memory, limits) =>
        {
            RunningCheckUp begun = RunningCheckUp.Start(image, memory, limits, _ => found);
            begun.Wait();
            return begun;
        };
        _vm.ThenStops(Dies).ThenLives();
        Run();
        Assert.Equal((found, IncidentOutcome.Recovered), (_sink.Incidents[0].CheckUp, _sink.Incidents[0].Outcome));
    }

    [Fact]
    public void A_check_up_ends_at_its_next_read_when_the_guest_stops_again()
    {
        _beginCheckUp = (image, memory, limits) => RunningCheckUp.Start(image, memory, limits, context =>
        {
            context.Cancel.WaitHandle.WaitOne();
            context.Kernel.ReadSymbolU64("jiffies_64");
            return new StructureReport([], [], []);
        });
        _vm.ThenStops(Dies).ThenStops(Dies).ThenLives();
        Run(window: TimeSpan.FromMinutes(1));
        Assert.Equal(2, _sink.Incidents.Count);
        Assert.All(_sink.Incidents.Where(i => i.CheckUp is not null), i => Assert.StartsWith("the check-up was interrupted", Assert.Single(i.CheckUp!.NotChecked)));
        Assert.NotNull(_sink.Incidents[0].CheckUp);
    }

    [Fact]
    public void A_check_up_that_fails_ends_no_guard()
    {
        _beginCheckUp = (image, memory, limits) =>
        {
            RunningCheckUp begun = RunningCheckUp.Start(image, memory, limits, _ => throw new InvalidOperationException("oh"));
            begun.Wait();
            return begun;
        };
        _vm.ThenStops(Dies).ThenLives();
        Run();
        Assert.Equal(["the check-up failed: InvalidOperationException: oh"], _sink.Incidents[0].CheckUp!.NotChecked);
        Assert.Equal(IncidentOutcome.Recovered, _sink.Incidents[0].Outcome);
    }

    [Fact]
    public void Where_nothing_was_applied_there_is_no_check_up()
    {
        _beginCheckUp = (_, _, _) => throw new InvalidOperationException("there is nothing to check");
        _vm.ThenStops(Dies).ThenLives();
        Run(GuardMode.Observe);
        Assert.Null(_sink.Incidents[0].CheckUp);
    }

    [Fact]
    public void Ids_sort_by_time()
    {
        string early = IncidentBuilder.NewId(new DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.Zero)), late = IncidentBuilder.NewId(new DateTimeOffset(2026, 1, 2, 3, 4, 6, TimeSpan.Zero));
        Assert.Matches("^20260102-030405-[0-9a-f]{4}$", early);
        Assert.True(string.CompareOrdinal(early, late) < 0);
    }

    public void Dispose()
    {
        _cancel.Dispose();
        _cache.Dispose();
    }

    private static string Name(SessionEvent e) => e.GetType().Name.Replace("Event", "").ToLowerInvariant();

    private VcpuRegisters Dies() => _guest.Crash(new CrashSpec()).Vcpu;

    /// <summary>After the guest goes on, the crash is held against the rules that the guard was given.</summary>
    [Fact]
    public void A_known_issue_is_on_the_record()
    {
        _vm.ThenStops(Dies).ThenLives();
        Run(rules: new KnownIssueMatcher([new KnownIssueRule("r", "known", new RuleConditions { Kinds = [CrashKind.NullWrite] }, "rules.yaml:1"), new KnownIssueRule("other", "not this", new RuleConditions { Kinds = [CrashKind.Bug] }, "rules.yaml:2")]));
        KnownIssue issue = Assert.Single(_sink.Incidents[0].KnownIssues);
        Assert.Equal(("r", "kind is null-write"), (issue.Id, Assert.Single(issue.Evidence)));
    }

    /// <summary>Findings about the machine around the crash, and of a check-up after it, come after the report of the crash: rules are held against them too.</summary>
    [Fact]
    public void A_known_issue_may_ask_for_what_was_read_after_the_crash()
    {
        _guest.HoldMutex(_guest.Mutex(1), _guest.Victim.Address, _guest.AddTask(900, "waiter"));
        _guest.Link();
        _beginCheckUp = (image, memory, limits) =>
        {
            RunningCheckUp begun = RunningCheckUp.Start(
                image, memory, limits, _ => new StructureReport([], [new Finding("check.stacks.end-magic", "a stack ran over", [], Confidence.High)], []));
            begun.Wait();
            return begun;
        };
        _vm.ThenStops(Dies).ThenLives();
        string[] asked = ["locks.held-by-crashed", "check.stacks.end-magic", "rcu.stalled"];
        Run(rules: new KnownIssueMatcher([.. asked.Select(f => new KnownIssueRule(f, f, new RuleConditions { Kinds = [CrashKind.NullWrite], Findings = [f] }, "rules.yaml:1"))]));
        Incident incident = Assert.Single(_sink.Incidents);
        Assert.Contains("locks.held-by-crashed", incident.Report!.Findings.Select(f => f.Id));
        Assert.Equal(asked[..2], incident.KnownIssues.Select(i => i.Id));
        Assert.Equal(["kind is null-write", "finding locks.held-by-crashed"], incident.KnownIssues[0].Evidence);
        Assert.Empty(incident.Errors);
    }

    private void Run(GuardMode mode = GuardMode.Full, TimeSpan window = default, KnownIssueMatcher? rules = null, int limit = 100, FusePolicy? fuse = null, HangPolicy? hangs = null, FallbackPolicy? fallback = null)
    {
        var session = new GuardSession(
            QemuTargetSpec.Parse("pid:4711"),
            new GuardOptions { ImageCache = _cache.Path, Mode = mode, HealthWindow = window, CheckUp = true, KnownIssues = rules ?? KnownIssueMatcher.None, RepairLimit = limit, Fuse = fuse ?? new FusePolicy(), Hangs = hangs ?? new HangPolicy(), Fallback = fallback ?? new FallbackPolicy() }, _sink)
        { OpenControl = _openControl, Attach = () => _vm, Time = _time, BeginCheckUp = _beginCheckUp };
        session.Run(_cancel.Token);
        _vm.AssertRuns();
        Assert.True(_vm.IsDisposed);
    }

    private sealed class Sink : ISessionSink
    {
        public List<SessionEvent> Events { get; } = [];

        public List<Incident> Incidents { get; } = [];

        public ScriptedVm? Vm { get; set; }

        public string ThrowsAt { get; set; } = "";

        public void OnEvent(SessionEvent sessionEvent)
        {
            // A guest that was found standing stands until the guard is armed.
            Assert.True(Vm?.Now is null || (Vm.Now.Reason == StopReason.FoundStopped && sessionEvent is AttachedEvent or ArmedEvent), $"{sessionEvent} while the guest stands still");
            if (sessionEvent.GetType().Name == ThrowsAt)
                throw new IOException("disk full");
            Events.Add(sessionEvent);
        }

        public string? Store(Incident incident)
        {
            Assert.True(Vm?.Now is null, "an incident is stored while the guest stands still");
            Incidents.Add(incident);
            return $"/incidents/{incident.Id}";
        }
    }
}
