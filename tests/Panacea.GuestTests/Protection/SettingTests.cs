using Panacea.GuestTests.Harness;
using Panacea.Lab.Guests;
using Panacea.Lab.Matrix;

namespace Panacea.GuestTests.Protection;

/// <summary>Panics that the kernel asks for itself: because a setting says that what it has found is to end in one, or because its first process died.</summary>
public abstract class SettingTests(SharedGuest shared)
{
    /// <summary>How a panic is provoked.</summary>
    /// <param name="Cell">The matrix's cell.</param>
    /// <param name="Repair">The rung that is to be used.</param>
    /// <param name="Title">What the title has in it.</param>
    private sealed record Scenario(string Cell, string Repair, string Title);

    private static readonly Scenario[] Quick = [new("unknown-nmi-panic@setting", "go-on", "NMI"), new("hung-task-panic@setting", "unwind", "hung_task")];

    private static readonly Scenario[] Slow =
        [new("panic-on-oom@setting", "go-on", "Out of memory"), new("panic-on-rcu-stall@setting", "go-on", "RCU"), new("softlockup-panic@setting", "go-on", "softlockup")];

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
        foreach (Scenario scenario in scenarios)
        {
            MatrixCell cell = MatrixCell.Parse(scenario.Cell);
            int mark = guard.Mark();
            await guest.RunAsync(cell.Command, Limits.Guest, TestContext.Current.CancellationToken);
            if (cell.MonitorCommand is { } outside)
                await guest.Monitor.HumanAsync(outside, TestContext.Current.CancellationToken);
            GuardEvent incident = await guard.WaitForAsync("incident", mark);
            TestContext.Current.TestOutputHelper?.WriteLine(incident.Json.GetRawText());
            Assert.True(incident.Text("outcome") == "recovered", incident.Json.GetRawText());
            Assert.Contains(scenario.Title, incident.Text("title"), StringComparison.OrdinalIgnoreCase);
            Assert.Equal(scenario.Repair, incident.Text("repair"));
            await guest.MustAsync(cell.Undo!);
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
