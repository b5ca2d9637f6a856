using Panacea.GuestTests.Harness;
using Panacea.Lab.Guests;

namespace Panacea.GuestTests.Protection;

/// <summary>What a guard does in each mode, and what stays when it goes.</summary>
public abstract class ModeTests(SharedGuest shared)
{
    [Fact]
    public async Task Quarantine_takes_the_process_out_even_where_it_could_live()
    {
        Guest guest = await shared.AliveAsync();
        await using GuardProcess guard = await GuardProcess.StartArmedAsync(guest, "--mode", "quarantine");
        GuestCommandResult result = await guest.CrashAsync("null-write");
        GuardEvent incident = await guard.WaitForAsync("incident");
        Assert.Equal(137, result.Status);
        Assert.Equal("kill", incident.Text("repair"));
        Assert.Equal("recovered", incident.Text("outcome"));
        await guest.AssertLivesAsync();
    }

    [Fact]
    public async Task Observing_changes_nothing()
    {
        Guest guest = await shared.AliveAsync();
        await using GuardProcess guard = await GuardProcess.StartArmedAsync(guest, "--mode", "observe");
        await AssertDiesAloneAsync(guest);
        GuardEvent incident = await guard.WaitForAsync("incident");
        Assert.Equal("NULL write in crashtest_null_write [crashtest]", incident.Text("title"));
        Assert.Equal("none", incident.Text("repair"));
        Assert.Equal("declined", incident.Text("outcome"));
        Assert.Empty(incident.Texts("lost"));
        Assert.Equal(0, await guard.InterruptAsync());
        Assert.All(guard.EventsFrom(0).Where(e => e.Name == "incident"), e => Assert.Equal("none", e.Text("repair")));
    }

    [Fact]
    public async Task A_guard_that_is_interrupted_leaves_nothing_behind()
    {
        Guest guest = await shared.AliveAsync();
        await using GuardProcess guard = await GuardProcess.StartArmedAsync(guest);
        Assert.Equal(0, await guard.InterruptAsync());
        GuardEvent last = guard.EventsFrom(0)[^1];
        Assert.Equal("detached", last.Name);
        Assert.Equal("interrupted", last.Text("reason"));
        await guest.AssertLivesAsync();
        await AssertDiesAloneAsync(guest);
    }

    /// <summary>The guest dies as CrashTests shows that an unprotected one does.</summary>
    private static async Task AssertDiesAloneAsync(Guest guest)
    {
        long mark = guest.Console.Mark();
        Task panicked = guest.Monitor.NextEventAsync("GUEST_PANICKED");
        Task<GuestCommandResult> command = guest.RunAsync("echo null-write > /dev/crashtest", Limits.Silence);
        await guest.Console.WaitForAsync("Kernel panic - not syncing: Fatal exception", Limits.Guest, mark);
        await panicked.WaitAsync(Limits.Guest);
        await Assert.ThrowsAnyAsync<Exception>(() => command);
        await Assert.ThrowsAsync<TimeoutException>(() => guest.RunAsync("true", Limits.Silence));
        Assert.Equal("running", (string?)(await guest.Monitor.ExecuteAsync("query-status"))?["status"]);
    }
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class ModeTests61(Guest61 guest) : ModeTests(guest);

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class ModeTests612(Guest612 guest) : ModeTests(guest);
