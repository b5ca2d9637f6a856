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

    /// <summary>What is missing is named, never a zero. Without types no stack is known, so no crash can be found on one.</summary>
    [Fact]
    public void What_can_not_be_read_is_said()
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_int" }, new SyntheticKernelOptions { Btf = false });
        (MachineReport report, _) = Report(g, [g.Crash.Vcpu]);
        Assert.Equal((null, "no CPU's stack shows an oops or a panic"), (report.Crash, report.WhyNoCrash));
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

    private static (MachineReport Report, CrashEvidence? Evidence) Report(CrashedGuest g, VcpuRegisters[] vcpus) =>
        new MachineReporter(new StandingMachine(g.Image, g.Guest.Memory, vcpus), TargetLimits.Default).Write("vmcore", SourceKind.Dump, "ELF core");
}
