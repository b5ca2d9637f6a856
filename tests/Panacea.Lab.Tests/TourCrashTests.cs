using Panacea.Lab.Tour;

namespace Panacea.Lab.Tests;

/// <summary>The tour's expectations: each must be able to fail.</summary>
public sealed class TourCrashTests
{
    [Fact]
    public void A_survived_write_is_as_expected()
    {
        CrashStep step = TourCrash.NullWrite.Judge(1, Samples.Survived(), 0);
        Assert.Empty(step.Failures);
        Assert.Equal("process 143 lives on; write(): Input/output error", step.Process);
        Assert.Equal("echo null-write > /dev/crashtest", step.Command);
        Assert.Equal(3400, step.StoppedUs);
        Assert.Equal(21_000, step.ClientGapUs);
    }

    [Fact]
    public void A_panic_that_is_unwound_is_as_expected()
    {
        CrashStep step = TourCrash.Sysrq.Judge(3, Samples.Survived(Samples.Recovered("unwind")), 0);
        Assert.Empty(step.Failures);
        Assert.Empty(step.Lost);
    }

    [Fact]
    public void A_killed_process_has_not_survived() => Assert.Single(TourCrash.NullWrite.Judge(1, Samples.Survived(output: "", status: 137), 0).Failures);

    [Fact]
    public void A_write_that_succeeds_has_not_failed() =>
        Assert.Single(TourCrash.NullWrite.Judge(1, Samples.Survived(output: "still alive: 0 143\n"), 0).Failures);

    [Fact]
    public void Another_repair_is_told() => Assert.Equal(
        "the repair is kill, not error-return", TourCrash.NullWrite.Judge(1, Samples.Survived(Samples.Recovered("kill")), 0).Failures[0]);

    [Fact]
    public void A_declined_crash_is_told() => Assert.Contains(
        "\"declined\"", TourCrash.NullWrite.Judge(1, Samples.Survived(Samples.Recovered("error-return") with { Outcome = "declined" }), 0).Failures[0], StringComparison.Ordinal);

    [Fact]
    public void A_broken_connection_is_told() => Assert.Equal(["the client's connection broke"], TourCrash.NullWrite.Judge(1, Samples.Survived(), 1).Failures);

    [Fact]
    public void A_reboot_without_a_panic_is_told() => Assert.Single(TourCrash.NullWrite.Judge(4, Samples.Rebooted with { Panic = null }).Failures);
}
