using System.Text.Json;
using Panacea.Diagnosis.ConsoleLog;
using Panacea.Diagnosis.KnownIssues;
using Panacea.Diagnosis.Machine;
using Panacea.Diagnosis.Rendering;
using Panacea.Diagnosis.Tests.ConsoleLog;
using Panacea.Formats;
using Panacea.TestKit;
using Panacea.TestKit.Linux;

namespace Panacea.Diagnosis.Tests.KnownIssues;

/// <summary>Which crashes a rule matches, and how sure that is.</summary>
public sealed class MatcherTests
{
    internal static readonly CrashReport Crash = new()
    {
        Title = "NULL write in acme_reset_task.isra.0 [acme]", Bucket = "a3f1c2d4e5b60718", Kind = CrashKind.NullWrite, Cause = "acme_reset_task.isra.0 wrote to NULL+0x18, called from process_one_work",
        Context = CrashContext.KernelThread, Vcpu = 0, Location = new CodeLocation(0x1000, "acme_reset_task.isra.0", 0x12, 0x30, "acme"),
        Fault = new ReportFault("write", 0x18, "NULL + 0x18", null, null),
        Stack = [Frame("acme_reset_task.isra.0"), Frame("acme_leftover", reliable: false), Frame("process_one_work"), Frame("worker_thread"), Frame("kthread")],
        Registers = new Dictionary<string, ulong>(), Taint = "GO", KernelRelease = "6.1.0-56-cloud-amd64",
        Findings = [new Finding("context.atomic", "atomic", [], Confidence.High)],
    };

    private const string Banner = "Linux version 6.1.0-56-cloud-amd64 (x) (gcc) #1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-16)";

    [Theory]
    [InlineData("bucket: A3F1C2D4E5B60718", "high")]
    [InlineData("bucket: a3f1c2d4e5b60719", null)]
    [InlineData("{function: acme_reset_task, kind: null-write}", "high")]
    [InlineData("{function: acme_reset_task.isra.0, kind: [bug, null-write]}", "high")]
    [InlineData("{function: acme_reset_task, kind: bug}", null)]
    [InlineData("function: 'acme_*_task'", "medium")]
    [InlineData("function: '/^acme_.*task$/'", "medium")]
    [InlineData("function: reset_task", null)]
    [InlineData("{stack: [acme_reset_task, process_one_work, kthread], kind: null-write}", "high")]
    [InlineData("{stack: [acme_reset_task, acme_leftover], kind: null-write}", "medium")]
    [InlineData("stack: [kthread, process_one_work]", null)]
    [InlineData("stack: worker_thread", "medium")]
    [InlineData("{text: 'NULL+0X18, called from', kind: null-write}", "medium")]
    [InlineData("text: /NULL write/", "low")]
    [InlineData("text: /null write/", null)]
    [InlineData("text: /null write/i", "low")]
    [InlineData("kind: null-write", "low")]
    [InlineData("{kind: null-write, module: acme}", "low")]
    [InlineData("{kind: null-write, module: vmlinux}", null)]
    [InlineData("{kind: null-write, taint: [O, '!E']}", "low")]
    [InlineData("{kind: null-write, taint: [O, E]}", null)]
    [InlineData("{function: acme_reset_task, address: 'null'}", "high")]
    [InlineData("{function: acme_reset_task, address: freed-slab}", null)]
    [InlineData("finding: context.atomic", "medium")]
    [InlineData("finding: [context.atomic, context.irqs-off]", null)]
    [InlineData("{function: acme_reset_task, kernel: 6.1}", "medium")]
    [InlineData("{function: acme_reset_task, kernel: 6.12}", null)]
    [InlineData("{function: acme_reset_task, kernel: '>=6.1 <6.1.192'}", null)]
    [InlineData("{function: acme_reset_task, kernel: ['>=6.12', '>6.1.100 <=6.1.192']}", "medium")]
    [InlineData("{function: acme_reset_task, kernel: '6.1.0-*-cloud-amd64'}", "medium")]
    [InlineData("{function: acme_reset_task, kernel: '6.1.0-*-rt-amd64'}", null)]
    public void Conditions_hold_or_do_not(string match, string? confidence) =>
        Assert.Equal(confidence, Find(match, Banner) is [var issue] ? MarkdownReport.Kebab(issue.Confidence) : null);

    /// <summary>Without Debian's version 6.1.0-56 is some 6.1.N: what depends on N is not known, and that is said.</summary>
    [Fact]
    public void What_is_not_known_makes_a_match_less_sure()
    {
        KnownIssue issue = Assert.Single(Find("{function: acme_reset_task, kind: null-write, kernel: '>=6.1 <6.1.192'}", null));
        Assert.Equal(Confidence.Medium, issue.Confidence);
        Assert.Equal(
            ["kind is null-write", "function at fault is acme_reset_task.isra.0, as acme_reset_task", "not known: whether kernel 6.1.0-56-cloud-amd64 is in >=6.1 <6.1.192"], issue.Evidence);
        Assert.Equal(("r", "t", "rules.yaml:2"), (issue.Id, issue.Title, issue.Rule));
        Assert.Empty(Find("{kind: null-write, kernel: '>=6.2'}", null));
    }

    [Theory]
    [InlineData("6.1.193", Banner, "high", "this kernel is 6.1.192, and the fix came with 6.1.193")]
    [InlineData("6.1.192", Banner, "low", "this kernel is 6.1.192 and should have the fix of 6.1.192: the same symptom may have another cause")]
    [InlineData("6.1.50", null, "high", "the fix came with 6.1.50; this kernel is 6.1 with an unknown number of updates, so whether it has the fix can't be told")]
    [InlineData("5.10.3", Banner, "low", "this kernel is 6.1.192, later than 5.10.3, and should have the fix: the same symptom may have another cause")]
    [InlineData("6.12.3", Banner, "high", null)]
    public void A_kernel_with_the_fix_is_told(string fixedIn, string? banner, string confidence, string? says)
    {
        KnownIssue issue = Assert.Single(Find("bucket: a3f1c2d4e5b60718", banner, $"\n    fixed-in: {fixedIn}"));
        Assert.Equal(confidence, MarkdownReport.Kebab(issue.Confidence));
        Assert.Equal(says is null ? ["bucket is a3f1c2d4e5b60718"] : (string[])["bucket is a3f1c2d4e5b60718", says], issue.Evidence);
    }

    [Fact]
    public void A_machine_is_matched_by_its_crash_its_findings_and_its_log()
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_int" }, then: (k, _) => k.Log("watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [cat:77]", 99_000_000_000, 0));
        MachineReport report = Machine.StandingReports.Of(g.Image, g.Guest.Memory, [g.Crash.Vcpu]).Report;
        report = report with { Findings = [new Finding("locks.deadlock", "x", [], Confidence.High)] };
        var matcher = new KnownIssueMatcher(RulesFileTests.Read("""
            rules:
              - {id: lockup, title: a lockup, match: {kind: soft-lockup}}
              - {id: ct, title: "<b>ct</b>", url: "https://example.org/1", notes: "do *this*", match: {function: ct_int, kind: null-write, finding: locks.deadlock}}
              - {id: never, title: never, match: {function: ct_long}}
            """));
        report = matcher.Add(report);
        Assert.Equal(["ct", "lockup"], report.KnownIssues.Select(k => k.Id));
        Assert.StartsWith("kind is soft-lockup, in the kernel's log (", Assert.Single(report.KnownIssues[1].Evidence));
        Assert.Empty(JsonSchema.Load("diagnosis.schema.json").Validate(JsonSerializer.SerializeToElement(report, MachineReportJson.Default.MachineReport)));
        string markdown = MachineMarkdown.Render(report), html = MachineHtml.Render(report);
        Assert.Contains("## Known issues that this looks like\n\n- **\\<b\\>ct\\</b\\>** (`ct`, confidence high)\n  - what to do: do \\*this\\*\n  - see: `https://example.org/1`\n  - because: `kind is null-write`\n", markdown);
        Assert.Contains("<strong>&lt;b&gt;ct&lt;/b&gt;</strong>", html);
        Assert.Empty(KnownIssueMatcher.None.Add(report with { KnownIssues = [] }).KnownIssues);
    }

    /// <summary>The example of the documentation over logs of real kernels.</summary>
    [Theory]
    [InlineData("captured/6.1-null-call", "crashtest-null-call high,crashtest-write medium")]
    [InlineData("captured/6.1-list-poison", "null-after-list-del low")]
    [InlineData("captured/6.1-oom", "")]
    public void Reports_of_a_log_are_matched_each(string sample, string says)
    {
        var matcher = new KnownIssueMatcher(RulesFile.Read([Path.Combine(JsonSchema.Docs, "known-issues.example.yaml")]));
        string name = LogSamples.Names.First(n => n.EndsWith(sample.Split('/')[1], StringComparison.Ordinal));
        LogDiagnosis diagnosis = matcher.Add(ConsoleLogDiagnosis.Diagnose(new MemoryStream(LogSamples.Read(name)), FormatLimits.Default));
        LogCrash crash = diagnosis.Reports[diagnosis.First!.Value];
        string found = string.Join(',', crash.KnownIssues.Select(k => $"{k.Id} {MarkdownReport.Kebab(k.Confidence)}"));
        if (says.Length == 0)
            Assert.Equal("", found);
        else
            Assert.All(says.Split(','), each => Assert.Contains(each, found));
        Assert.Equal(says.Length > 0, LogMarkdown.Render(diagnosis).Contains("## Known issues that this looks like", StringComparison.Ordinal));
        Assert.Equal(says.Length > 0, LogHtml.Render(diagnosis, "log").Contains("Known issues that this looks like", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("6.12.117+deb12-cloud-amd64", null, "6.12.117")]
    [InlineData("6.1.0-56-cloud-amd64", "#1  Debian 6.1.192-2", "6.1.192")]
    [InlineData("6.1.0-56-cloud-amd64", "#1 SMP", "6.1 with an unknown number of updates")]
    [InlineData("6.8.0", null, "6.8.0")]
    [InlineData("6.8.0-rc1", null, "6.8 with an unknown number of updates")]
    [InlineData("next", null, null)]
    public void A_release_tells_a_version(string release, string? build, string? version) => Assert.Equal(version, KnownVersion.Of(release, build)?.ToString());

    private static IReadOnlyList<KnownIssue> Find(string match, string? banner, string more = "") =>
        new KnownIssueMatcher(RulesFileTests.Read($"rules:\n  - id: r\n    title: t{more}\n    match: {(match.StartsWith('{') ? match : $"{{{match}}}")}\n")).Find(Crash, banner, []);

    private static ReportFrame Frame(string name, bool reliable = true) => new(new CodeLocation(0x2000, name, 0, 0, null), 0, reliable, false, "task");
}
