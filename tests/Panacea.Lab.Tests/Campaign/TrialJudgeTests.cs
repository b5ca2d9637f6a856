using Panacea.Lab.Campaign;

namespace Panacea.Lab.Tests.Campaign;

public sealed class TrialJudgeTests
{
    private const string Oops = "[    9.1] BUG: kernel NULL pointer dereference, address: 0000000000000000\n[    9.1] Oops: 0002 [#1] PREEMPT SMP PTI\n", Panic = Oops + "[    9.2] Kernel panic - not syncing: Fatal exception\n";

    private static (TrialOutcome, bool) Judge(string console = "", bool ended = false, string[]? titles = null, string[]? failures = null, string[]? lost = null, bool stuck = false) => TrialJudge.Judge(
        new TrialEvidence(console, ended, [.. (titles ?? []).Select(t => new TrialIncident(t, "unwind", "recovered", 1000, []))], failures ?? [], lost ?? [], stuck));

    [Fact]
    public void Nothing_is_nothing() => Assert.Equal((TrialOutcome.NoEffect, true), Judge("[    1.0] crashtest_extra: loaded\n"));

    [Fact]
    public void A_panic_is_a_crash_and_the_end() => Assert.Equal((TrialOutcome.Crash, false), Judge(Panic));

    [Fact]
    public void A_guest_that_does_everything_after_an_oops_lives() => Assert.Equal((TrialOutcome.Crash, true), Judge(Oops));

    [Fact]
    public void A_guest_that_does_not_do_everything_after_an_oops_does_not() => Assert.Equal((TrialOutcome.Crash, false), Judge(Oops, failures: ["fork and exec: timed out"]));

    [Fact]
    public void A_machine_that_resets_itself_has_crashed() => Assert.Equal((TrialOutcome.Crash, false), Judge(ended: true));

    [Fact]
    public void What_does_not_get_on_and_says_nothing_hangs_and_what_does_not_work_else_has_failed()
    {
        Assert.Equal((TrialOutcome.Hang, false), Judge(failures: ["redis did not answer"], stuck: true));
        Assert.Equal((TrialOutcome.Failure, false), Judge(failures: ["redis did not answer"]));
    }

    [Theory]
    [InlineData("soft lockup in f", TrialOutcome.Hang)]
    [InlineData("hung task in f", TrialOutcome.Hang)]
    [InlineData("stalled I/O in virtblk_done", TrialOutcome.Hang)]
    [InlineData("lost timer tick in f", TrialOutcome.Hang)]
    [InlineData("NULL write in f", TrialOutcome.Crash)]
    public void What_a_guard_tells_counts(string title, TrialOutcome outcome) => Assert.Equal((outcome, true), Judge(titles: [title]));

    [Fact]
    public void Data_that_is_gone_without_a_crash_is_silent_corruption()
    {
        Assert.Equal((TrialOutcome.SilentCorruption, false), Judge(lost: ["redis has 3, acknowledged were 5"]));

        // After a crash it is a crash that was not recovered.
        Assert.Equal((TrialOutcome.Crash, false), Judge(Oops, lost: ["redis has 3, acknowledged were 5"]));
    }

    [Fact]
    public void Data_that_is_gone_is_told_though_something_does_not_work_too() => Assert.Equal((TrialOutcome.SilentCorruption, false), Judge(failures: ["no round ended well"], lost: ["stress: a wrong result"]));

    /// <summary>It has ended by itself, as it may where nobody looks for hangs.</summary>
    [Fact]
    public void A_hang_that_a_guard_has_left_as_it_was_counts_where_the_guest_does_not_live()
    {
        TrialIncident declined = new("hard lockup in f", "none", "declined", 1000, []);
        Assert.Equal((TrialOutcome.NoEffect, true), TrialJudge.Judge(new TrialEvidence("", false, [declined], [], [], false)));
        Assert.Equal((TrialOutcome.Hang, false), TrialJudge.Judge(new TrialEvidence("", false, [declined], ["redis did not answer"], [], false)));
    }

    [Fact]
    public void Oopses_are_counted_and_warnings_are_not() => Assert.Equal((2, 0), (TrialJudge.Deaths(Oops + "[    3.0] WARNING: CPU: 0 PID: 1 at kernel/x.c:1 f+0x1\n" + Oops), TrialJudge.Deaths("")));

    [Fact]
    public void A_warning_is_no_crash() => Assert.Equal((TrialOutcome.NoEffect, true), Judge("[    3.0] WARNING: CPU: 0 PID: 1 at kernel/x.c:1 f+0x1\n[    3.0] ---[ end trace 0 ]---\n"));

    [Fact]
    public void The_kernels_words_are_the_lines_that_complain()
    {
        IReadOnlyList<string> words = TrialJudge.Words("[ 1.0] hello\n" + Panic + new string('x', 10) + "Oops " + new string('y', 400));
        Assert.Equal(4, words.Count);
        Assert.All(words, w => Assert.InRange(w.Length, 1, 201));
        Assert.Equal(12, TrialJudge.Words(string.Concat(Enumerable.Repeat(Oops, 50))).Count);
    }
}
