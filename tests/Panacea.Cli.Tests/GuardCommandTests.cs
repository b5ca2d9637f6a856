using System.Text.Json;
using Panacea.Daemon;
using Panacea.Diagnosis;
using Panacea.Repair;
using Panacea.Sessions;
using Panacea.Sessions.Dumping;
using Panacea.Sessions.Policy;
using Panacea.Target;
using Panacea.TestKit;

namespace Panacea.Cli.Tests;

public class GuardCommandTests
{
    private sealed class Session(Action run) : IGuardSession
    {
        public void Run(CancellationToken cancel) => run();
    }

    private static readonly SessionEvent[] AllEvents =
    [
        new AttachedEvent("pid:1", 1, "shared"),
        new ArmedEvent("pid:1", "6.1.0-41-cloud-amd64", "0123456789abcdef", 812_000, 1300, ["no BTF: error returns are not possible"]),
        new DeathEvent("pid:1", "i-1", "oops_end", false),
        new ResumedEvent("pid:1", "i-1", RepairKind.ErrorReturn, 4210),
        new IncidentEvent("pid:1", "i-1", "NULL write in \x1b[2Jcrash_c", "b", CrashContext.Process, RepairKind.ErrorReturn, IncidentOutcome.Recovered, 4210, [], "/r/i-1"),
        new IncidentEvent("pid:1", "i-2", "panic", "b", CrashContext.Idle, RepairKind.None, IncidentOutcome.Declined, 900, ["everything"], null),
        new IncidentEvent("pid:1", "i-3", "panic", "b", CrashContext.Idle, RepairKind.Kill, IncidentOutcome.Failed, 900, [], null),
        new ResetEvent("pid:1"),
        new WarningEvent("pid:1", "careful\n"),
        new DetachedEvent("pid:1", "interrupted"),
    ];

    private static Harness Emitting(params SessionEvent[] events) => new()
    {
        Guard = (_, _, sink) => new Session(() =>
        {
            foreach (SessionEvent each in events)
                sink.OnEvent(each);
        }),
    };

    [Fact]
    public void Json_is_one_object_a_line_and_nothing_else()
    {
        Outcome outcome = Emitting(AllEvents).Run("guard", "--json", "pid:1");
        Assert.Equal(ExitCodes.Ok, outcome.ExitCode);
        Assert.Equal("panacea: pid:1: careful\\n\n", outcome.Error);
        string[] lines = outcome.Out.TrimEnd('\n').Split('\n');
        Assert.Equal(AllEvents.Length, lines.Length);
        Assert.All(lines, line => Assert.Equal("pid:1", JsonDocument.Parse(line).RootElement.GetProperty("vm").GetString()));
        JsonElement incident = JsonDocument.Parse(lines[4]).RootElement;
        Assert.Equal("incident", incident.GetProperty("event").GetString());
        Assert.Equal("error-return", incident.GetProperty("repair").GetString());
        Assert.Equal("recovered", incident.GetProperty("outcome").GetString());
        Assert.Equal("process", incident.GetProperty("context").GetString());
        Assert.Equal(4210, incident.GetProperty("stopped_us").GetInt64());
        Assert.Equal(JsonValueKind.Array, incident.GetProperty("lost").ValueKind);
        Assert.DoesNotContain('\x1b', outcome.Out);
    }

    [Fact]
    public void People_get_one_calm_line_an_event()
    {
        Outcome outcome = Emitting(AllEvents).Run("guard", "pid:1");
        string[] lines = outcome.Out.TrimEnd('\n').Split('\n');
        Assert.Equal(AllEvents.Length, lines.Length);
        string[] wanted =
        [
            "attached   QEMU 1, shared memory",
            "armed      Linux 6.1.0-41-cloud-amd64, repair image 0123456789ab in 812.0 ms, guest held for 1.3 ms; without: no BTF: error returns are not possible",
            "crashed    stopped at oops_end; incident i-1",
            "resumed    by an error return from the faulty function, after 4.2 ms; watching its health",
            "recovered  NULL write in \\x1b[2Jcrash_c; by an error return from the faulty function, stopped 4.2 ms, nothing lost; record /r/i-1",
            "declined   panic; not repaired; no record",
            "failed     panic; the repair failed; no record",
            "reset      the guest was reset; arming again when its kernel is up",
            "warning    careful\\n",
            "detached   the guest runs on, without protection",
        ];
        Assert.All(lines.Zip(wanted), pair => Assert.EndsWith("  pid:1  " + pair.Second, pair.First, StringComparison.Ordinal));
    }

    [Fact]
    public void Options_reach_the_session()
    {
        GuardOptions? seen = null;
        var harness = new Harness { Guard = (_, options, _) => new Session(() => seen = options) };
        Assert.Equal(0, harness.Run("guard", "pid:1", "--mode", "quarantine", "--health-window", "1.5s", "--stop-budget", "500ms", "--image-cache", "/c").ExitCode);
        Assert.Equal(
            new GuardOptions { Mode = GuardMode.Quarantine, HealthWindow = TimeSpan.FromSeconds(1.5), StopBudget = TimeSpan.FromMilliseconds(500), ImageCache = "/c" },
            seen);
    }

    [Fact]
    public void The_fallback_reaches_the_session()
    {
        using var directory = new TemporaryDirectory();
        List<FallbackPolicy> seen = [];
        var harness = new Harness { Guard = (_, options, _) => new Session(() => seen.Add(options.Fallback)) };
        Assert.Equal(0, harness.Run("guard", "pid:1").ExitCode);
        Assert.Equal(0, harness.Run("guard", "pid:1", "--fallback", "keep-stopped", "--fallback-dump", directory.File("dumps")).ExitCode);
        Assert.Equal([new FallbackPolicy(), new FallbackPolicy { Then = FallbackAction.KeepStopped, DumpDirectory = directory.File("dumps") }], seen);

        // What is wrong with the directory is said now, not at a crash.
        Assert.True(Directory.Exists(directory.File("dumps")));
        File.WriteAllText(directory.File("file"), "");
        Assert.Equal(ExitCodes.Failure, harness.Run("guard", "pid:1", "--fallback-dump", directory.File("file")).ExitCode);
        Assert.Equal(2, seen.Count);
    }

    [Fact]
    public void A_dump_and_what_came_after_it_are_told()
    {
        var dump = new DumpRecord("/d/i.vmcore", 61_000_000, 58_000_000, 536_870_912, 31, new LeftOutBytes(400_000_000, 0, 0, 0, 0), null, 150_000);
        var harness = new Harness
        {
            Guard = (_, _, sink) => new Session(() =>
            {
                sink.OnEvent(new DumpProgressEvent("pid:1", "i", "/d/i.vmcore", 30_000_000, 60_000_000, 500_000));
                sink.OnEvent(new DumpedEvent("pid:1", "i", dump, 0));
                sink.OnEvent(new FallbackEvent("pid:1", "i", FallbackAction.KeepStopped, "/d/i.vmcore", "go on with 'cont'", ["an \e[31merror"]));
                sink.OnEvent(new DetachedEvent("pid:1", "kept-stopped"));
            }),
        };
        Assert.Equal(
            [
                "dumping    50 %, 30 of 60 MB, 60 MB/s", "dumped     /d/i.vmcore: 61.0 MB (58.0 MB on the disk) of 536.9 MB of memory; left out: 400.0 MB of free memory",
                "fallback   the guest stays stopped; go on with 'cont'; an \\x1b[31merror", "detached   the guest stays stopped where it died, as it was asked for",
            ],
            harness.Run("guard", "pid:1").Out.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => l[(l.IndexOf("pid:1", StringComparison.Ordinal) + 7)..]));
    }

    [Fact]
    public void The_usual_mode_is_full_and_the_usual_window_two_seconds()
    {
        GuardOptions? seen = null;
        new Harness { Guard = (_, options, _) => new Session(() => seen = options) }.Run("guard", "pid:1");
        Assert.Equal((GuardMode.Full, TimeSpan.FromSeconds(2)), (seen!.Mode, seen.HealthWindow));
    }

    [Fact]
    public void A_vm_that_cannot_be_guarded_is_an_error_event_and_exit_code_3()
    {
        var harness = new Harness { Guard = (target, _, _) => throw new TargetException($"there is no process {target.Pid}; list the running ones with 'pgrep -a qemu'") };
        Outcome json = harness.Run("guard", "--json", "pid:7");
        Assert.Equal(ExitCodes.Target, json.ExitCode);
        Assert.Equal("error", JsonDocument.Parse(json.Out).RootElement.GetProperty("event").GetString());
        Outcome human = harness.Run("guard", "pid:7");
        Assert.Equal(ExitCodes.Target, human.ExitCode);
        Assert.Equal(("", "panacea: pid:7: there is no process 7; list the running ones with 'pgrep -a qemu'\n"), (human.Out, human.Error));
        Assert.Equal(human.Error, json.Error);
    }

    [Fact]
    public void Several_vms_are_guarded_at_once_and_the_worst_end_counts()
    {
        using var both = new Barrier(2);
        var harness = new Harness
        {
            Guard = (target, _, _) => new Session(() =>
            {
                // Neither gets on unless both run.
                Assert.True(both.SignalAndWait(TimeSpan.FromSeconds(30)));
                if (target.Pid == 2)
                    throw new TargetException("gone");
            }),
        };
        Assert.Equal(ExitCodes.Target, harness.Run("guard", "pid:1", "pid:2").ExitCode);
    }

    [Fact]
    public void A_bug_in_one_session_is_reported_and_exits_70()
    {
        Outcome outcome = new Harness { Guard = (_, _, _) => throw new InvalidOperationException("oh") }.Run("guard", "--json", "pid:1");
        Assert.Equal(ExitCodes.Bug, outcome.ExitCode);
        Assert.Contains("pid:1: a bug in panacea ended the guarding of this VM: InvalidOperationException: oh", outcome.Error, StringComparison.Ordinal);
    }
}
