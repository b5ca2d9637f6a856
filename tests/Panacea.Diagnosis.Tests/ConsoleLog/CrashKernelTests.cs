using Panacea.Diagnosis.ConsoleLog;
using Panacea.Diagnosis.Rendering;

namespace Panacea.Diagnosis.Tests.ConsoleLog;

/// <summary>Logs that go on into the boot of a crash kernel.</summary>
public sealed class CrashKernelTests
{
    [Theory]
    [InlineData("captured/6.1-kdump-null-write", "NULL write in crashtest_null_write [crashtest]")]
    [InlineData("captured/6.12-kdump-null-write", "NULL write in crashtest_null_write [crashtest]")]
    [InlineData("captured/6.1-kdump-panic", "panic in crashtest_panic [crashtest]: crashtest: an explicit panic")]
    [InlineData("captured/6.12-kdump-panic", "panic in crashtest_panic [crashtest]: crashtest: an explicit panic")]
    public void The_report_of_the_kernel_that_died_is_the_headline(string name, string title)
    {
        LogDiagnosis diagnosis = LogSamples.Diagnose(name);
        Assert.Equal([false, true], diagnosis.Boots.Select(b => b.IsCrashKernel));
        LogCrash first = diagnosis.Reports[diagnosis.First!.Value];
        Assert.Equal((title, 0), (first.Title, first.Boot));
        Assert.Empty(diagnosis.Unavailable);
        Assert.Contains($"its crash kernel boots at line {diagnosis.Boots[1].Line}", LogMarkdown.Render(diagnosis), StringComparison.Ordinal);
    }

    /// <summary>The kernel goes into the crash kernel before it writes the end mark of an oops.</summary>
    [Fact]
    public void A_report_without_its_end_says_where_the_kernel_went() =>
        Assert.Contains(LogSamples.Diagnose("captured/6.12-kdump-null-write").Reports[0].Unavailable, u => u.Contains("the crash kernel was started before", StringComparison.Ordinal));

    /// <summary>A double fault: what it says waits for a console that nobody waits for.</summary>
    [Theory]
    [InlineData("captured/6.1-kdump-silent")]
    [InlineData("captured/6.12-kdump-silent")]
    public void A_death_of_which_no_word_reached_the_console_is_said(string name)
    {
        LogDiagnosis diagnosis = LogSamples.Diagnose(name);
        Assert.Null(diagnosis.First);
        string silent = Assert.Single(diagnosis.Unavailable);
        Assert.StartsWith($"the report of the kernel that died before line {diagnosis.Boots[1].Line}:", silent, StringComparison.Ordinal);
        string text = LogMarkdown.Render(diagnosis);
        Assert.StartsWith("# A kernel died, and its report is not in this log\n", text, StringComparison.Ordinal);
        Assert.Contains("before line", text, StringComparison.Ordinal);
        Assert.Contains("A kernel died, and its report is not in this log", LogHtml.Render(diagnosis, "console.log"), StringComparison.Ordinal);
    }

    [Fact]
    public void What_a_crash_kernel_reports_itself_is_its_own()
    {
        LogDiagnosis diagnosis = LogSamples.Diagnose("made/kdump-and-reboot");
        Assert.Equal([0, 0, 1, 1, 2], diagnosis.Reports.Select(r => r.Boot));
        Assert.Equal([LogRank.Independent, LogRank.FirstCause, LogRank.Independent, LogRank.FirstCause, LogRank.FirstCause], diagnosis.Reports.Select(r => r.Rank));
        Assert.Equal((1, "the first of the crash kernel's own boot"), (diagnosis.First, diagnosis.Reports[3].RankReason));
        string text = LogMarkdown.Render(diagnosis);
        Assert.Contains("1 of 3 in the log, from line 1; its crash kernel boots at line 25", text, StringComparison.Ordinal);
        Assert.Contains("| 2 (crash kernel) |", text, StringComparison.Ordinal);
        Assert.Contains("boot 2 (crash kernel)", LogHtml.Render(diagnosis, "console.log"), StringComparison.Ordinal);
    }

    [Fact]
    public void A_kernel_that_only_complained_goes_before_its_crash_kernel_and_behind_one_that_died()
    {
        LogDiagnosis crash = LogSamples.Diagnose("made/kdump-after-warning"), death = LogSamples.Diagnose("made/warning-then-death");
        Assert.Equal((CrashKind.Warning, 0), (crash.Reports[crash.First!.Value].Kind, crash.Reports[crash.First!.Value].Boot));
        Assert.Contains(crash.Unavailable, u => u.StartsWith("the report of the kernel that died before", StringComparison.Ordinal));
        Assert.Equal((CrashKind.NullWrite, 1), (death.Reports[death.First!.Value].Kind, death.Reports[death.First!.Value].Boot));
        Assert.Empty(death.Unavailable);
    }

    [Fact]
    public void A_log_that_begins_with_a_crash_kernel_says_that_another_died()
    {
        LogDiagnosis diagnosis = LogSamples.Diagnose((string[])["[    0.000000] Linux version 6.1.0", "[    0.000000] Command line: quiet elfcorehdr=1K"]);
        Assert.StartsWith("the kernel that died: the log begins with its crash kernel's boot (line 1)", Assert.Single(diagnosis.Unavailable), StringComparison.Ordinal);
    }
}
