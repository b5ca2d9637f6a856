using Microsoft.Extensions.Time.Testing;
using Panacea.Formats;
using Panacea.Formats.Vmcore;
using Panacea.Sessions.Dumping;
using Panacea.Sessions.Policy;
using Panacea.Target;
using Panacea.Target.Qemu;
using Panacea.Target.Qemu.Gdb;
using Panacea.TestKit;
using Panacea.TestKit.Linux;

namespace Panacea.Sessions.Tests;

/// <summary>What becomes of a guest that is not repaired: whatever fails of it, the rest of the policy is carried out, and nothing but the policy keeps a guest stopped.</summary>
public sealed class FallbackTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();
    private readonly SyntheticKernel _guest = new();
    private readonly ScriptedVm _vm;
    private readonly CancellationTokenSource _cancel = new();
    private readonly Sink _sink = new();
    private Func<string, IDumpStore>? _open;

    public FallbackTests() => _vm = new ScriptedVm(_guest) { OnIdle = _cancel.Cancel };

    [Theory]
    [InlineData(FallbackAction.Leave)]
    [InlineData(FallbackAction.Reset)]
    public void The_guest_is_dumped_first_and_goes_on(FallbackAction action)
    {
        _vm.ThenStops(Dies);
        string opened = "";
        _open = path =>
        {
            opened = path;
            Assert.DoesNotContain("reset", _vm.Steps);
            Assert.NotNull(_vm.Now);
            return DumpFile.Create(path, overwrite: false);
        };
        Run(action, dump: true);
        _vm.AssertRuns();
        string[] names = [.. _sink.Events.Select(e => e.GetType().Name)];
        Assert.Equal(
            ["AttachedEvent", "ArmedEvent", "DeathEvent", "DumpProgressEvent", "DumpProgressEvent", "ResumedEvent", "DumpedEvent", "FallbackEvent"], names[..8]);
        Assert.Equal(action == FallbackAction.Reset, names.Contains("ResetEvent"));
        Incident incident = Assert.Single(_sink.Incidents);
        Assert.Equal((IncidentOutcome.Declined, action), (incident.Outcome, incident.Fallback!.Action));
        Assert.Empty(incident.Fallback.Errors);
        Assert.Empty(incident.Errors);
        Assert.Null(incident.Fallback.Next);
        Assert.Equal(action == FallbackAction.Reset, _vm.Steps.Contains("reset"));
        Assert.Equal(action == FallbackAction.Reset, incident.Machine is null);

        // Where it is left to itself it goes past the breakpoint; a reset one has nothing to pass.
        Assert.Equal(action == FallbackAction.Leave ? 1 : 0, _vm.Held.Single(h => h.Reason == StopReason.Breakpoint).Left.Count);
        Assert.Equal((opened, opened, $"{incident.Id}.vmcore"), (incident.Fallback.Dump!.File, Assert.Single(Directory.GetFiles(Dumps)), Path.GetFileName(opened)));
        AssertWhole(opened);
    }

    [Fact]
    public void A_guest_that_is_kept_stands_until_it_is_let_go()
    {
        int looks = 0;
        _vm.IsLetGo = () => ++looks == 3;
        _vm.ThenStops(Dies);
        Run(FallbackAction.KeepStopped, dump: false);
        _vm.AssertRuns();
        Assert.Equal(3, looks);
        Assert.DoesNotContain(_sink.Events, e => e is ResumedEvent or DumpedEvent);
        FallbackEvent told = Assert.Single(_sink.Events.OfType<FallbackEvent>());
        Assert.Contains("'cont'", told.Next);
        Incident incident = Assert.Single(_sink.Incidents);
        Assert.Equal(("kept-stopped", FallbackAction.KeepStopped), (incident.Timeline.Select(t => t.Step).Last(s => s != "machine-read"), incident.Fallback!.Action));
        Assert.Equal("interrupted", Assert.IsType<DetachedEvent>(_sink.Events[^1]).Reason);

        // Kept without breakpoints, armed again when it was let go, untouched where it stood.
        Assert.Equal(["keep-stopped", "note-resumed", "note-resumed", "note-resumed", "arm"], _vm.Steps.Where(s => s is "keep-stopped" or "note-resumed" or "arm").SkipWhile(s => s != "keep-stopped"));
        Assert.Empty(_vm.Held.Single(h => h.Reason == StopReason.Breakpoint).Left);
    }

    [Fact]
    public void A_guest_that_is_kept_stands_when_the_guard_has_ended()
    {
        _vm.IsLetGo = () =>
        {
            _cancel.Cancel();
            return false;
        };
        _vm.ThenStops(Dies);
        Run(FallbackAction.KeepStopped, dump: true);
        Assert.NotNull(_vm.Now);
        Assert.Equal(0, _vm.Now.Resumes);
        Assert.Empty(_vm.Armed);
        Assert.Equal("kept-stopped", Assert.IsType<DetachedEvent>(_sink.Events[^1]).Reason);
        Assert.Equal(FallbackAction.KeepStopped, Assert.Single(_sink.Incidents).Fallback!.Action);
        AssertWhole(Assert.Single(Directory.GetFiles(Dumps)));
    }

    /// <summary>An oops that panics stops twice: the end of a death that was dealt with is left to itself.</summary>
    [Fact]
    public void The_panic_after_an_oops_is_the_same_death()
    {
        SyntheticCrash crash = _guest.Crash(new CrashSpec());
        _vm.ThenStops(() => crash.Vcpu).ThenStops(() => crash.Vcpu with { Rip = _guest["panic"] });
        Run(FallbackAction.Leave, dump: true);
        _vm.AssertRuns();
        Assert.Equal(2, _sink.Events.OfType<DeathEvent>().Count());
        Assert.Single(_sink.Events.OfType<FallbackEvent>());
        Assert.Single(Directory.GetFiles(Dumps));
    }

    [Fact]
    public void A_guest_that_dies_again_and_again_does_not_fill_the_disk()
    {
        int opened = 0;
        _open = _ =>
        {
            opened++;
            return new FailingStore("", () => { }, () => { });
        };
        for (int i = 0; i < Fallback.MostDumps + 1; i++)
            _vm.ThenStops(Dies);
        Run(FallbackAction.Leave, dump: true);
        _vm.AssertRuns();
        Assert.Equal(Fallback.MostDumps, opened);
        FallbackEvent[] told = [.. _sink.Events.OfType<FallbackEvent>()];
        Assert.Equal(Fallback.MostDumps + 1, told.Length);
        Assert.All(told[..^1], e => Assert.Empty(e.Errors));
        Assert.Contains("no dump was written", Assert.Single(told[^1].Errors));
    }

    [Fact]
    public void A_repaired_death_needs_no_fallback()
    {
        _vm.ThenStops(Dies).ThenLives();
        Run(FallbackAction.Reset, dump: true, GuardMode.Full);
        _vm.AssertRuns();
        Assert.Equal((IncidentOutcome.Recovered, null), (_sink.Incidents[0].Outcome, _sink.Incidents[0].Fallback));
        Assert.Empty(Directory.GetFiles(Dumps));
        Assert.DoesNotContain("reset", _vm.Steps);
    }

    [Theory]
    [InlineData("open", FallbackAction.Reset)]
    [InlineData("require", FallbackAction.Reset)]
    [InlineData("write", FallbackAction.Reset)]
    [InlineData("write", FallbackAction.Leave)]
    [InlineData("write", FallbackAction.KeepStopped)]
    [InlineData("complete", FallbackAction.Reset)]
    [InlineData("progress", FallbackAction.Leave)]
    [InlineData("interrupted", FallbackAction.Leave)]
    public void A_dump_that_fails_does_not_keep_the_rest_from_being_done(string at, FallbackAction action)
    {
        bool removed = false;
        _open = _ => at == "open" ? throw new UnauthorizedAccessException("no") : new FailingStore(at, () => _cancel.Cancel(), () => removed = true);
        _sink.ThrowsAtProgress = at == "progress";
        _vm.ThenStops(Dies);
        Run(action, dump: true);
        _vm.AssertRuns();
        Incident incident = Assert.Single(_sink.Incidents);
        Assert.Equal((action, null, IncidentOutcome.Declined), (incident.Fallback!.Action, incident.Fallback.Dump, incident.Outcome));
        Assert.Contains(at switch { "interrupted" => "interrupted", "open" => "no", "progress" => "pipe", _ => "disk full" }, Assert.Single(incident.Fallback.Errors));
        Assert.Empty(incident.Errors);
        Assert.Equal(at != "open", removed);
        Assert.Single(_sink.Events.OfType<DeathEvent>());
        Assert.Equal(action == FallbackAction.Reset, _vm.Steps.Contains("reset"));
        Assert.DoesNotContain(_sink.Events, e => e is DumpedEvent);
    }

    [Theory]
    [InlineData(FallbackAction.Reset, "reset")]
    [InlineData(FallbackAction.KeepStopped, "keep-stopped")]
    public void What_qemu_refuses_leaves_the_guest_to_itself(FallbackAction action, string step)
    {
        _vm.Before = s =>
        {
            if (s == step)
                throw new TargetException("QEMU refused");
        };
        _vm.ThenStops(Dies);
        Run(action, dump: true);
        _vm.AssertRuns();
        FallbackResult result = Assert.Single(_sink.Incidents).Fallback!;
        Assert.Equal(FallbackAction.Leave, result.Action);
        Assert.Contains("QEMU refused", Assert.Single(result.Errors));
        Assert.NotNull(result.Dump);
        Assert.Contains(_sink.Events, e => e is ResumedEvent);
        Assert.Single(_vm.Held.Single(h => h.Reason == StopReason.Breakpoint).Left);
    }

    [Fact]
    public void A_qemu_that_is_lost_meanwhile_keeps_the_dump()
    {
        _vm.Before = s =>
        {
            if (s == "reset")
                throw new GdbException("QEMU's gdb stub closed the connection", GdbFailure.Closed);
        };
        _vm.ThenStops(Dies);
        Assert.ThrowsAny<TargetException>(() => Run(FallbackAction.Reset, dump: true));
        Assert.True(_vm.IsDisposed);
        Assert.Null(_vm.Now);
        AssertWhole(Assert.Single(Directory.GetFiles(Dumps)));
        Assert.Equal(IncidentOutcome.Failed, Assert.Single(_sink.Incidents).Outcome);
        Assert.Single(_sink.Events.OfType<DeathEvent>());
    }

    public void Dispose()
    {
        _directory.Dispose();
        _cancel.Dispose();
    }

    private string Dumps => Directory.CreateDirectory(_directory.File("dumps")).FullName;

    private VcpuRegisters Dies() => _guest.Crash(new CrashSpec()).Vcpu;

    private void Run(FallbackAction action, bool dump, GuardMode mode = GuardMode.Observe)
    {
        var options = new GuardOptions
        {
            ImageCache = _directory.File("images"), Mode = mode, HealthWindow = TimeSpan.Zero, Fallback = new FallbackPolicy { Then = action, DumpDirectory = dump ? Dumps : null },
        };
        var session = new GuardSession(QemuTargetSpec.Parse("pid:4711"), options, _sink)
        {
            Attach = () => _vm, Time = new FakeTimeProvider(), BeginCheckUp = (_, _, _) => null, OpenDump = _open ?? (path => DumpFile.Create(path, overwrite: false)),
        };
        session.Run(_cancel.Token);
        Assert.True(_vm.IsDisposed);
    }

    /// <summary>The dump holds the guest's memory as it was, and says what it lacks.</summary>
    private void AssertWhole(string path)
    {
        byte[] file = File.ReadAllBytes(path);
        Assert.True(ElfCore.TryRead(new MemoryDumpBytes(file), FormatLimits.Default, out ElfCore core, out string whyNot), whyNot);
        Assert.Equal(_guest.Options.Cpus, core.Notes.Status.Count);
        Assert.Equal(_guest.Options.Cpus, core.Notes.Qemu.Count);
        Assert.Equal(_guest["oops_end"], core.Notes.Status[0][UserRegister.Rip]);
        Assert.Equal(_guest.Memory.Ranges.Select(r => (r.Start.Value, r.Length)), core.Ranges.Select(r => (r.Start, r.Length)));
        byte[] page = new byte[4096];
        ulong text = _guest.Physical(_guest.TextBase);
        DumpExtent extent = core.Extents.Single(e => text >= e.Physical && text < e.End);
        Assert.True(_guest.Memory.TryRead(new PhysicalAddress(text), page, out _));
        Assert.Equal(page, file.AsSpan((int)(extent.Offset + (text - extent.Physical)), 4096).ToArray());
    }

    private sealed class Sink : ISessionSink
    {
        public List<SessionEvent> Events { get; } = [];

        public List<Incident> Incidents { get; } = [];

        public bool ThrowsAtProgress { get; set; }

        public void OnEvent(SessionEvent sessionEvent)
        {
            if (ThrowsAtProgress && sessionEvent is DumpProgressEvent)
                throw new IOException("broken pipe");
            Events.Add(sessionEvent);
        }

        public string? Store(Incident incident)
        {
            Incidents.Add(incident);
            return $"/incidents/{incident.Id}";
        }
    }

    private sealed class FailingStore(string at, Action interrupt, Action removed) : IDumpStore
    {
        private int _writes;

        public void Require(long bytes) => Fail("require");

        public void Write(long offset, ReadOnlySpan<byte> bytes)
        {
            if (++_writes < 2)
                return;
            Fail("write");
            if (at == "interrupted")
                interrupt();
        }

        public void SetLength(long bytes)
        {
        }

        public void Complete() => Fail("complete");

        public void Dispose() => removed();

        private void Fail(string step)
        {
            if (step == at)
                throw new IOException("disk full");
        }
    }
}
