using System.Text.Json;
using Panacea.Diagnosis.Machine;
using Panacea.Diagnosis.Rendering;
using Panacea.Target;
using Panacea.TestKit;
using Panacea.TestKit.Linux;

namespace Panacea.Diagnosis.Tests.Machine;

/// <summary>What is said of a machine that has died, and of one that has not.</summary>
public sealed class MachineReporterTests
{
    private static readonly JsonSchema Schema = JsonSchema.Load("diagnosis.schema.json");

    [Theory]
    [InlineData(KernelShape.Linux61)]
    [InlineData(KernelShape.Linux612)]
    public void A_machine_that_died_tells_its_crash_and_its_state(KernelShape shape)
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_int" }, new SyntheticKernelOptions { Shape = shape });
        (MachineReport report, CrashEvidence? evidence) = Report(g, [g.Crash.Vcpu, Idle(g)]);
        Assert.NotNull(evidence);
        Assert.Equal((g.Report.Title, g.Report.Bucket), (report.Crash?.Title, report.Crash?.Bucket));
        Assert.Null(report.WhyNoCrash);
        Assert.Equal(g.Guest.Release, report.Kernel.Release);
        Assert.Equal([0, 1], report.Cpus.Select(c => c.Cpu ?? -1));
        Assert.Contains(report.Cpus[0].Stack, f => f.Location.Function == "ct_int");
        Assert.Equal(report.Tasks!.Threads, report.Tasks.ByState.Values.Sum());
        Assert.NotEmpty(report.Console);
        Assert.Empty(Schema.Validate(JsonSerializer.SerializeToElement(report, MachineReportJson.Default.MachineReport)));
    }

    [Fact]
    public void A_healthy_machine_says_why_there_is_no_crash()
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_int" });
        (MachineReport report, CrashEvidence? evidence) = Report(g, [Idle(g)]);
        Assert.Null(evidence);
        Assert.Equal((null, "no CPU's stack shows an oops or a panic"), (report.Crash, report.WhyNoCrash));
        Assert.StartsWith("# No crash was found\n", MachineMarkdown.Render(report));
        Assert.Empty(Schema.Validate(JsonSerializer.SerializeToElement(report, MachineReportJson.Default.MachineReport)));
    }

    /// <summary>What is missing is named, never a zero. Without types the crash is still found: a stack is told by its alignment.</summary>
    [Fact]
    public void What_can_not_be_read_is_said()
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_int" }, new SyntheticKernelOptions { Btf = false });
        (MachineReport report, _) = Report(g, [g.Crash.Vcpu]);
        Assert.Equal((g.Report.Title, g.Report.Bucket), (report.Crash?.Title, report.Crash?.Bucket));
        Assert.Equal((g.Guest.Release, "oops_end"), (report.Kernel.Release, report.Cpus[0].Stack[0].Location.Function));
        Assert.Null(report.Tasks);
        Assert.Null(report.Kernel.UptimeMs);
        Assert.Contains(report.Missing, m => m.StartsWith("tasks: ", StringComparison.Ordinal));
        Assert.Contains(report.Missing, m => m.StartsWith("kernel log: ", StringComparison.Ordinal));
        Assert.Empty(Schema.Validate(JsonSerializer.SerializeToElement(report, MachineReportJson.Default.MachineReport)));
    }

    [Fact]
    public void Reports_in_the_kernels_own_log_are_listed()
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_int" }, then: (k, _) => k.Log("watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [cat:77]", 99_000_000_000, 0));
        (MachineReport report, _) = Report(g, [Idle(g)]);
        LoggedReport logged = Assert.Single(report.Logged);
        Assert.Equal(CrashKind.SoftLockup, logged.Kind);
        Assert.Contains("soft lockup", MachineMarkdown.Render(report));
    }

    /// <summary>A guest chooses names and log lines: none of them becomes markup, in a page as little as in a terminal.</summary>
    [Fact]
    public void Hostile_strings_stay_strings()
    {
        const string evil = "<script>x</script>\"'&\u001b[2J\u202e|`*_[a](b)";
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_int" }, then: (k, _) => k.Log(evil, 99_000_000_000));
        (MachineReport report, _) = Report(g, [g.Crash.Vcpu]);
        report = report with
        {
            Source = evil,
            Description = evil,
            Missing = [evil],
            Crash = report.Crash! with { Title = evil, Cause = evil, Task = report.Crash.Task! with { Comm = evil, CommandLine = evil } },
            Kernel = report.Kernel with { CommandLine = evil, Hostname = evil, Banner = evil },
            Modules = [new ModuleReport(evil, 1, 2, evil, "live")],
            Recoverability = new RecoverabilityVerdict(true, CrashContext.Process, [new RepairOption(evil, true, evil, [evil], [evil])]),
            Findings = [new Finding(evil, evil, [evil], Confidence.High)],
            Locks = new LockFacts([new LockChain("deadlock", [new LockWaitReport(1, evil, evil, 2, evil, 3, evil)])], []),
            Tasks = new TaskFacts(1, new Dictionary<string, int> { [evil] = 1 }, [new WaitingTask(new ReportTask(1, 2, 3, evil, evil, false), 5, "exact", [])]),
            Logged = [new LoggedReport(evil, evil, CrashKind.Unknown, Diagnosis.ConsoleLog.LogRank.FirstCause, null)],
            State = HostileState(evil),
        };
        report = report with
        {
            Crash = report.Crash with
            {
                Values = new CrashValues([new ExplainedValue(evil, 1, evil, evil, Confidence.High)], [new ExplainedValue(evil, 1, evil, evil, Confidence.High)], 1, [evil]),
                Surroundings = new TaskSurroundings(0, 0, [new TaskLabel(1, evil)], [evil], evil, new Dictionary<string, long> { [evil] = 1 }),
            },
        };
        string html = MachineHtml.Render(report), markdown = MachineMarkdown.Render(report);
        Assert.DoesNotContain("<script", html, StringComparison.OrdinalIgnoreCase);
        Assert.Contains("&lt;script&gt;", html);
        foreach (string text in (string[])[html, markdown])
        {
            Assert.DoesNotContain('\u001b', text);
            Assert.DoesNotContain('\u202e', text);
        }

        Assert.DoesNotContain("http", html.Replace("http-equiv", "", StringComparison.Ordinal));
        Assert.Contains("Content-Security-Policy", html);
    }

    private static MachineState HostileState(string evil)
    {
        var task = new TaskLabel(1, evil);
        var work = new WorkReport(evil, evil, task);
        return new MachineState(
            StateMoment.Standing,
            new MemoryFacts(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, true, [new ZoneReport(0, evil, 1, 1, 1, 1)], [new SlabReport(evil, 1, 1, 1, 1)]),
            new SchedulingFacts([1.0], [new RunQueueReport(0, 1, false, 1, [new QueuedTaskReport(task, evil, true)], evil)], new RcuReport(true, true, 1, [0], [task], 1)),
            new WorkqueueFacts(1, [new WorkerPoolReport(0, 0, 1, 0, 31_000, [work], [work], 2)], [evil]), new TimerFacts(1, 1, [new LateTimer(0, evil, evil, evil, 20_000)], [evil]),
            [new MountReport(evil, evil, evil, [evil], true)], new BlockFacts([evil], [new BlockRequestReport(evil, evil, 1, 1, 1, true)], [evil]),
            [new HeldLockReport(evil, 1, evil, evil, 77, false, [task], Confidence.High)]);
    }

    /// <summary>Everything that a person who looks at a crash asks next is there: what values are, who the task is, what the machine has at hand.</summary>
    [Theory]
    [InlineData(KernelShape.Linux61)]
    [InlineData(KernelShape.Linux612)]
    public void The_state_of_the_machine_and_the_values_of_the_crash_are_told(KernelShape shape)
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_int" }, new SyntheticKernelOptions { Shape = shape });
        (MachineReport report, CrashEvidence? evidence) = Report(g, [g.Crash.Vcpu, Idle(g)]);
        CrashValues values = report.Crash!.Values!;
        Assert.Equal(17, values.Registers.Count);
        Assert.Equal(("rip", "symbol"), (values.Registers[0].Where, values.Registers[0].Meaning));
        Assert.StartsWith("ct_int+0x", values.Registers[0].Text);
        Assert.Contains(values.Registers, r => r is { Where: "rsp", Meaning: "task-stack" });
        Assert.Contains(values.Stack, w => w.Meaning == "symbol" && w.Text.StartsWith("vfs_write", StringComparison.Ordinal));
        Assert.All(values.Stack, w => Assert.DoesNotContain(w.Meaning, (string[])["null", "user"]));
        Assert.InRange(values.Words, values.Stack.Count, CrashDetailsReader.MaxWords);
        Assert.Equal(evidence!.Task!.Pid, report.Crash.Task!.Pid);
        Assert.Equal(StateMoment.Standing, report.State.Moment);
        Assert.Equal(g.Guest.Options.Cpus, report.State.Scheduling!.RunQueues.Count);
        Assert.NotNull(report.State.Workqueues);
        Assert.NotNull(report.State.Timers);
        Assert.NotNull(report.State.HeldLocks);
        string markdown = MachineMarkdown.Render(report), html = MachineHtml.Render(report);
        foreach (string heading in (string[])["What the registers hold", "Run queues", "Timers"])
        {
            Assert.Contains($"## {heading}\n", markdown);
            Assert.Contains($"<h2>{heading}</h2>", html);
        }
    }

    /// <summary>The task that crashed holds a mutex that lies in an object to which its stack points: whoever wants it waits for ever.</summary>
    [Fact]
    public void A_lock_of_the_crashed_task_is_a_finding()
    {
        SyntheticTask owner = null!;
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_int" }, task: k => owner = k.AddTask(880, "owner"), then: (k, _) => k.HoldMutex(k.Mutex(1), owner.Address, k.AddTask(900, "waiter")));
        g.Guest.Link();
        (MachineReport report, _) = Report(g, [g.Crash.Vcpu]);
        HeldLockReport held = Assert.Single(report.State.HeldLocks!);
        Assert.Equal(("mutex", g.Guest.Mutex(1), Confidence.High), (held.Kind, held.Lock, held.Confidence));
        Finding finding = Assert.Single(report.Findings, f => f.Id == "locks.held-by-crashed");
        Assert.Contains("1 task waits for it", finding.Text);
        Assert.Contains("waits: waiter (900)", finding.Evidence);
    }

    [Fact]
    public void What_is_wrong_in_the_state_of_a_machine_is_found()
    {
        MachineState state = HostileState("x");
        Assert.Equal(
            ["locks.held-by-crashed", "rcu.stalled", "workqueues.stalled", "timers.late", "memory.oom-victim", "mounts.frozen"],
            StateFindings.Of(state, 77).Select(f => f.Id).Where(id => id != "memory.below-minimum"));
        Assert.Equal("timers are late by up to 20 s on CPU 0", StateFindings.Of(state, 77).First(f => f.Id == "timers.late").Text);
        MachineState stuck = state with { Block = new BlockFacts(["vda"], [new BlockRequestReport("vda", "WRITE", 8, 4096, 40_000, false), new BlockRequestReport("vda", "WRITE", 8, 4096, 40_000, true)], []) };
        Assert.Equal("1 block request has been in flight for more than 30 s", StateFindings.Of(stuck, null).First(f => f.Id == "block.stuck").Text);
        Assert.DoesNotContain(StateFindings.Of(state, 78), f => f.Id == "locks.held-by-crashed");
    }

    [Fact]
    public void A_deadlock_and_a_lock_whose_owner_is_gone_are_findings()
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_int" });
        (MachineReport report, _) = Report(g, [Idle(g)]);
        var ring = new LockChain("deadlock", [new LockWaitReport(10, "a", "mutex", 0x1000, "m1", 11, "b"), new LockWaitReport(11, "b", "mutex", 0x2000, null, 10, "a")]);
        var into = new LockChain("deadlock", [new LockWaitReport(12, "c", "mutex", 0x1000, "m1", 11, "b")]);
        var gone = new LockChain("owner-gone", [new LockWaitReport(13, "d", "mutex", 0x3000, null, null, null)]);
        IReadOnlyList<Finding> findings = MachineFindings.Of(report with { Locks = new LockFacts([ring, into, gone], [new SpinReport(1, 0x4000, null, "f+0x1/0x2", [1], true, Confidence.High)]) });
        Assert.Equal(["locks.deadlock", "locks.owner-gone", "locks.self-deadlock"], findings.Select(f => f.Id));
        Assert.Equal("2 tasks wait for each other: a (10) → b (11)", findings[0].Text);
        Assert.Equal("pid 11 b waits for mutex 0x2000, held by pid 10 a", findings[0].Evidence[1]);
    }

    private static VcpuRegisters Idle(CrashedGuest g) => g.Guest.Vcpu(1, g.Guest["vfs_write"], default);

    private static (MachineReport Report, CrashEvidence? Evidence) Report(CrashedGuest g, VcpuRegisters[] vcpus) => StandingReports.Of(g.Image, g.Guest.Memory, vcpus);
}
