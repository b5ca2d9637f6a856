using System.Text;
using System.Text.Json;
using Panacea.Diagnosis.ConsoleLog;
using Panacea.Diagnosis.Rendering;
using Panacea.Formats;

namespace Panacea.Diagnosis.Tests.ConsoleLog;

public sealed class LogDiagnosisTests
{
    /// <summary>What the scenario's name promises, written by hand: the crash-test functions have the names of their crashes.</summary>
    [Fact]
    public void Captured_crashes_are_blamed_on_the_function_that_was_made_to_crash()
    {
        string[] others = ["ext4-error", "sysrq", "nmi", "oom", "machine-check", "init-killed", "no-root", "rcu-stall", "double-free", "soft-lockup", "thread", "work", "softirq", "hardirq", "kdump-silent"];
        int seen = 0;
        foreach (string name in LogSamples.Names.Where(n => n.StartsWith("captured/", StringComparison.Ordinal) && !others.Any(o => n.Contains(o, StringComparison.Ordinal))))
        {
            string crash = name[(name.IndexOf('-') + 1)..].Replace("panic-on-oops-", "", StringComparison.Ordinal).Replace("slub-", "", StringComparison.Ordinal).Replace("kfence-", "", StringComparison.Ordinal).Replace("kdump-", "", StringComparison.Ordinal);
            crash = crash switch
            {
                "panic-on-warn" => "warn",
                "panic-hung-task" => "hung",
                "stack-overflow" => "recurse",
                _ => crash,
            };
            LogDiagnosis diagnosis = LogSamples.Diagnose(name);
            string? function = diagnosis.Reports[diagnosis.First!.Value].Location?.Function;
            Assert.Equal((name, $"crashtest_{crash.Replace('-', '_')}"), (name, Buckets.Plain(function)));
            seen++;
        }

        Assert.True(seen > 80, $"only {seen} samples");
    }

    [Fact]
    public void Both_kernels_put_the_same_crash_into_the_same_words()
    {
        foreach (string name in LogSamples.Names.Where(n => n.StartsWith("captured/6.1-", StringComparison.Ordinal)))
        {
            string other = name.Replace("6.1-", "6.12-", StringComparison.Ordinal);

            // The allocator's own functions, and slub's words, differ; so does what was in memory behind an error pointer's code.
            if (!LogSamples.Names.Contains(other) || name.Contains("double-free", StringComparison.Ordinal) || name.Contains("slub", StringComparison.Ordinal) || name.Contains("no-root", StringComparison.Ordinal) || name.Contains("kdump-silent", StringComparison.Ordinal))
                continue;
            Assert.Equal((name, First(name).Title), (name, First(other).Title));
        }
    }

    [Fact]
    public void An_access_is_decoded_from_the_code_bytes()
    {
        LogCrash crash = First("captured/6.12-null-member");
        Assert.Equal("read", crash.Fault!.Access);
        Assert.StartsWith("NULL + 0x", crash.Fault.Explanation, StringComparison.Ordinal);
        Assert.Equal("%rax = 0x0", crash.Fault.BadOperand);
        Assert.Contains("(%rax)", crash.Fault.Instruction, StringComparison.Ordinal);
        Assert.Single(crash.Disassembly, l => l.StartsWith("=>", StringComparison.Ordinal));
        Assert.Equal(("6.12.117+deb12-cloud-amd64", "sh"), (crash.KernelRelease, crash.Comm));
        Assert.Contains("crashtest_reports(OE)", crash.Modules);
    }

    [Fact]
    public void List_poison_is_recognised() => Assert.Contains("LIST_POISON1", First("captured/6.1-list-poison").Cause, StringComparison.Ordinal);

    [Fact]
    public void Allocation_and_free_of_the_object_are_told()
    {
        LogCrash crash = First("made/kasan-use-after-free");
        Assert.Equal("widget_read [widget] read 8 bytes of memory that it must not (slab-use-after-free), called from vfs_read; the object was allocated in widget_open [widget]; the object was freed in widget_release [widget]", crash.Cause);
        Assert.Equal(["Allocated by task 4200:", "Freed by task 4207:"], crash.OtherStacks.Select(s => s.Title));
    }

    [Fact]
    public void Locks_are_told() =>
        Assert.Contains("it takes (widget_table_lock){+.+.}-{3:3}, at: widget_remove+0x2e/0x90 [widget] while it holds (widget_list_lock)", First("made/lockdep-circular").Cause, StringComparison.Ordinal);

    [Fact]
    public void The_memory_table_of_an_oom_is_kept()
    {
        LogCrash crash = First("made/cgroup-oom");
        Assert.Contains("java (pid 5100, 517440kB of its own) was killed", crash.Cause, StringComparison.Ordinal);
        Assert.Contains(crash.Details, f => f.Name == "constraint" && f.Value == "CONSTRAINT_MEMCG");
        Assert.Single(crash.Details, f => f.Name == "task");
    }

    [Fact]
    public void What_is_missing_is_named()
    {
        LogCrash cut = First("made/end-missing");
        Assert.Contains(cut.Unavailable, u => u.StartsWith("the end of the report", StringComparison.Ordinal));
        Assert.Contains(cut.Unavailable, u => u.StartsWith("some registers", StringComparison.Ordinal));
        Assert.Contains(First("made/start-missing").Unavailable, u => u.StartsWith("the headline", StringComparison.Ordinal));
    }

    [Fact]
    public void A_boot_has_one_first_cause_and_the_others_know_theirs()
    {
        LogDiagnosis diagnosis = LogSamples.Diagnose("made/two-boots");
        Assert.Equal([LogRank.Independent, LogRank.FirstCause, LogRank.Consequence, LogRank.FirstCause], diagnosis.Reports.Select(r => r.Rank));
        Assert.Equal([0, 0, 0, 1], diagnosis.Reports.Select(r => r.Boot));
        Assert.Equal((1, 1), (diagnosis.First, diagnosis.Reports[2].FollowsFrom));
        Assert.Equal(diagnosis.Reports[1].Bucket, diagnosis.Reports[3].Bucket);
        Assert.Equal("Fatal exception in interrupt", First("captured/6.1-softirq").PanicMessage);
    }

    [Fact]
    public void A_crash_that_was_not_the_first_says_so() =>
        Assert.Contains(First("captured/6.1-null-call").Unavailable, u => u.Contains("tainted by an earlier one (D)", StringComparison.Ordinal));

    [Fact]
    public void Names_that_a_guest_chose_are_data()
    {
        LogDiagnosis diagnosis = LogSamples.Diagnose("made/hostile-names");
        Assert.Contains('\u202e', diagnosis.Reports[0].Comm!);
        string text = LogMarkdown.Render(diagnosis);
        Assert.DoesNotContain('\u202e', text);
        Assert.Contains("`<b>\\u{202e}[x](y)|`", text, StringComparison.Ordinal);
    }

    [Fact]
    public void The_json_uses_the_words_of_incidents()
    {
        using var json = JsonDocument.Parse(JsonSerializer.Serialize(LogSamples.Diagnose("captured/6.1-null-write"), LogDiagnosisJson.Default.LogDiagnosis));
        JsonElement report = json.RootElement.GetProperty("reports")[0];
        Assert.Equal(("null-write", "process", "first-cause"), (report.GetProperty("kind").GetString(), report.GetProperty("context").GetString(), report.GetProperty("rank").GetString()));
        Assert.Equal("crashtest_null_write", report.GetProperty("location").GetProperty("function").GetString());
        Assert.Equal(0UL, report.GetProperty("registers").GetProperty("rax").GetUInt64());
    }

    [Fact]
    public void A_log_without_reports_says_so()
    {
        LogDiagnosis diagnosis = ConsoleLogDiagnosis.Diagnose(new StringReader("nothing\nhappened\n"), FormatLimits.Default);
        Assert.Null(diagnosis.First);
        Assert.Contains("2 lines were read", LogMarkdown.Render(diagnosis), StringComparison.Ordinal);
    }

    [Fact]
    public void UTF_16_is_read_where_it_says_that_it_is() =>
        Assert.Equal(
            LogSamples.Summary(LogSamples.Diagnose("captured/6.1-bug")),
            LogSamples.Summary(LogSamples.Diagnose([.. Encoding.Unicode.GetPreamble(), .. Encoding.Unicode.GetBytes(Encoding.UTF8.GetString(LogSamples.Read("captured/6.1-bug")))])));

    private static LogCrash First(string name)
    {
        LogDiagnosis diagnosis = LogSamples.Diagnose(name);
        return diagnosis.Reports[diagnosis.First!.Value];
    }
}
