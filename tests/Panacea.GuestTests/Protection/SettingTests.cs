using Panacea.GuestTests.Harness;
using Panacea.Lab.Guests;

namespace Panacea.GuestTests.Protection;

/// <summary>Panics that the kernel asks for itself: because a setting says that what it has found is to end in one, or because its first process died.</summary>
public abstract class SettingTests(SharedGuest shared)
{
    /// <summary>How a panic is provoked.</summary>
    /// <param name="Setting">The setting's file, written 1 before and 0 after it.</param>
    /// <param name="Provoke">A command in the guest; null for an NMI from the monitor.</param>
    /// <param name="Repair">The rung that is to be used.</param>
    /// <param name="Title">What the title has in it.</param>
    private sealed record Scenario(string Setting, string? Provoke, string Repair, string Title);

    /// <summary>A CPU that does not give way stalls RCU only where somebody waits for a grace period: whoever unloads a module does.</summary>
    private const string Stall = "echo 30 > /proc/sys/kernel/watchdog_thresh; echo 3 > /sys/module/rcupdate/parameters/rcu_cpu_stall_timeout; "
        + "echo soft-lockup > /dev/crashtest-reports & sleep 1; insmod /modules/crashtest_extra.ko; rmmod crashtest_extra; wait";

    private static readonly Scenario[] Quick =
    [
        new("/proc/sys/kernel/unknown_nmi_panic", null, "go-on", "NMI"),
        new("/proc/sys/kernel/hung_task_panic", "echo 2 > /proc/sys/kernel/hung_task_timeout_secs; (echo hung-completion > /dev/crashtest-reports) > /dev/null 2>&1 &", "unwind", "hung_task"),
    ];

    private static readonly Scenario[] Slow =
    [
        new("/proc/sys/vm/panic_on_oom", "awk 'BEGIN { s = \"x\"; while (1) s = s s }'", "go-on", "Out of memory"),
        new("/proc/sys/kernel/panic_on_rcu_stall", Stall, "go-on", "RCU"),
        new("/proc/sys/kernel/softlockup_panic", "echo 2 > /proc/sys/kernel/watchdog_thresh; echo soft-lockup > /dev/crashtest-reports", "go-on", "softlockup"),
    ];

    [Fact]
    public Task What_the_kernel_has_found_is_not_the_end_of_it() => RunAsync(Quick);

    [Fact(Skip = Suites.NeedsMatrix, SkipUnless = nameof(Suites.Matrix), SkipType = typeof(Suites))]
    public Task What_takes_the_kernel_seconds_to_find_is_not_the_end_of_it_either() => RunAsync(Slow);

    /// <summary>The kernel can't do without its first process; the servers that it once started can.</summary>
    [Fact]
    public async Task A_guest_whose_first_process_dies_goes_on_serving()
    {
        await using Guest guest = await Guest.StartAsync(shared.Spec, null, TestContext.Current.CancellationToken);
        await using GuardProcess guard = await GuardProcess.StartArmedAsync(guest);
        await guest.MustAsync("[ -e /dev/crashtest-matrix ] || insmod /modules/crashtest_matrix.ko");
        int mark = guard.Mark();
        await guest.RunAsync("echo fatal-signal@init > /dev/crashtest-matrix", Limits.Guest, TestContext.Current.CancellationToken);
        GuardEvent incident = await guard.WaitForAsync("incident", mark);
        TestContext.Current.TestOutputHelper?.WriteLine(incident.Json.GetRawText());
        Assert.True(incident.Text("outcome") == "recovered", incident.Json.GetRawText());
        Assert.Contains("Attempted to kill init", incident.Text("title"), StringComparison.Ordinal);
        Assert.Equal("freeze", incident.Text("repair"));
        await guest.AssertLivesAsync();
    }

    /// <summary>The guard does not look for hangs, or it would break the loops before the kernel has noticed them.</summary>
    private async Task RunAsync(Scenario[] scenarios)
    {
        await using Guest guest = await Guest.StartAsync(shared.Spec, null, TestContext.Current.CancellationToken);
        await using GuardProcess guard = await GuardProcess.StartArmedAsync(guest, "--hangs", "off");
        await guest.MustAsync("[ -e /dev/crashtest-reports ] || insmod /modules/crashtest_reports.ko");
        foreach (Scenario scenario in scenarios)
        {
            int mark = guard.Mark();
            await guest.MustAsync($"echo 1 > {scenario.Setting}");
            if (scenario.Provoke is { } command)
                await guest.RunAsync(command, Limits.Guest, TestContext.Current.CancellationToken);
            else
                await guest.Monitor.HumanAsync("nmi", TestContext.Current.CancellationToken);
            GuardEvent incident = await guard.WaitForAsync("incident", mark);
            TestContext.Current.TestOutputHelper?.WriteLine(incident.Json.GetRawText());
            Assert.True(incident.Text("outcome") == "recovered", incident.Json.GetRawText());
            Assert.Contains(scenario.Title, incident.Text("title"), StringComparison.OrdinalIgnoreCase);
            Assert.Equal(scenario.Repair, incident.Text("repair"));
            await guest.MustAsync($"echo 0 > {scenario.Setting}");
            await guest.AssertLivesAsync();
        }
    }
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class SettingTests61(Guest61 guest) : SettingTests(guest);

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class SettingTests612(Guest612 guest) : SettingTests(guest);
