using System.Text.Json;
using Panacea.GuestTests.Harness;
using Panacea.Lab.Guests;
using Panacea.Lab.Setup;
using Panacea.TestKit;

namespace Panacea.GuestTests.Dumps;

/// <summary>Dumps that panacea writes itself: of a living guest by command, and of one that died and was not repaired.</summary>
public abstract class OwnDumpTests(SharedGuest shared)
{
    private const string Title = "NULL write in crashtest_null_write [crashtest]";

    [Fact]
    public async Task A_living_guest_is_dumped_and_lives_on()
    {
        Guest guest = await shared.AliveAsync();
        using var directory = new TemporaryDirectory();
        string path = directory.File("core");
        JsonElement[] said = [.. (await PanaceaCommand.MustAsync("dump", $"pid:{guest.Pid}", path, "--json")).Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => JsonDocument.Parse(l).RootElement)];
        await guest.AssertLivesAsync();
        Assert.Equal("dumped", said[^1].GetProperty("event").GetString());
        Assert.All(said[..^1], s => Assert.Equal("dump-progress", s.GetProperty("event").GetString()));
        JsonElement dump = said[^1].GetProperty("dump");
        Assert.Equal(JsonValueKind.Null, dump.GetProperty("why_whole").ValueKind);
        Assert.Equal(31, dump.GetProperty("filter").GetInt32());
        Assert.Equal(new FileInfo(path).Length, dump.GetProperty("file_bytes").GetInt64());
        Assert.InRange(dump.GetProperty("file_bytes").GetInt64(), 10_000_000, dump.GetProperty("memory_bytes").GetInt64() / 2);
        JsonElement leftOut = dump.GetProperty("left_out");
        Assert.All((string[])["free", "cache", "user"], what => Assert.True(leftOut.GetProperty(what).GetInt64() > 1_000_000, $"{what}: {leftOut}"));
        Assert.Equal([path], Directory.GetFiles(directory.Path));

        // Slab, stacks, task lists, page tables, modules: all that the kernel itself has is in it.
        using JsonDocument check = JsonDocument.Parse(await PanaceaCommand.MustAsync("check", path, "--json"));
        Assert.DoesNotContain(check.RootElement.GetProperty("validators").EnumerateArray(), v => v.GetProperty("outcome").GetString() == "broken");
        using JsonDocument report = JsonDocument.Parse(await PanaceaCommand.MustAsync("diagnose", path, "--json"));
        Assert.Equal(JsonValueKind.Null, report.RootElement.GetProperty("crash").ValueKind);
        Assert.Equal(guest.Spec.Vcpus, report.RootElement.GetProperty("cpus").GetArrayLength());
        JsonElement slabs = JsonDocument.Parse(await PanaceaCommand.MustAsync("inspect", path, "slab", "--json")).RootElement;
        Assert.Contains(slabs.EnumerateArray(), s => s.GetProperty("name").GetString() == "task_struct");
        HostCommandResult again = await PanaceaCommand.RunAsync("dump", $"pid:{guest.Pid}", path);
        Assert.Equal(1, again.ExitCode);
        Assert.Contains("--force", again.Error);
        await guest.AssertLivesAsync();
    }

    [Fact]
    public async Task A_guest_that_is_not_repaired_is_dumped_and_reset()
    {
        using var directory = new TemporaryDirectory();
        await using Guest guest = await Guest.StartAsync(shared.Spec with { Start = [] });
        await using GuardProcess guard = await GuardProcess.StartArmedAsync(guest, "--mode", "observe", "--fallback", "reset", "--fallback-dump", directory.Path);
        int mark = guard.Mark();
        long console = guest.Console.Mark();
        await Assert.ThrowsAnyAsync<Exception>(() => guest.RunAsync("echo null-write > /dev/crashtest", Limits.Silence));
        GuardEvent fallback = await guard.WaitForAsync("fallback", mark, Limits.Guest), incident = await guard.WaitForAsync("incident", mark, Limits.Guest);
        Assert.Equal(("reset", "declined"), (fallback.Text("action"), incident.Text("outcome")));
        Assert.Empty(fallback.Texts("errors"));
        Assert.Equal(Title, incident.Text("title"));

        // It boots again, and is guarded again.
        await guard.WaitForAsync("reset", mark, Limits.Guest);
        await guest.WaitUntilRebootedAsync(console, Limits.Guest);
        await guard.WaitForAsync("armed", mark, Limits.Guest);
        string path = fallback.Text("dump");
        Assert.Equal([path], Directory.GetFiles(directory.Path));
        using JsonDocument report = JsonDocument.Parse(await PanaceaCommand.MustAsync("diagnose", path, "--json"));
        JsonElement crash = report.RootElement.GetProperty("crash");
        Assert.Equal((Title, incident.Text("bucket")), (crash.GetProperty("title").GetString(), crash.GetProperty("bucket").GetString()));
        using JsonDocument record = JsonDocument.Parse(await File.ReadAllTextAsync(Path.Combine(incident.Text("record"), "incident.json")));
        Assert.Empty(JsonSchema.Load("incident.schema.json").Validate(record.RootElement));
        Assert.Equal(path, record.RootElement.GetProperty("fallback").GetProperty("dump").GetProperty("file").GetString());
    }

    [Fact]
    public async Task A_guest_that_is_kept_stands_until_somebody_lets_it_go()
    {
        await using Guest guest = await Guest.StartAsync(shared.Spec with { Start = [] });
        await using GuardProcess guard = await GuardProcess.StartArmedAsync(guest, "--mode", "observe", "--fallback", "keep-stopped");
        int mark = guard.Mark();
        long console = guest.Console.Mark();
        using var given = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        Task<GuestCommandResult> dying = guest.RunAsync("echo null-write > /dev/crashtest", Limits.Guest, given.Token);
        Assert.Equal("keep-stopped", (await guard.WaitForAsync("fallback", mark, Limits.Guest)).Text("action"));
        await guard.WaitForAsync("incident", mark, Limits.Guest);
        Assert.Equal("debug", (string?)(await guest.Monitor.ExecuteAsync("query-status"))?["status"]);
        Assert.Equal(0, await guard.InterruptAsync());
        Assert.Equal("kept-stopped", guard.EventsFrom(mark)[^1].Text("reason"));
        Assert.Equal("debug", (string?)(await guest.Monitor.ExecuteAsync("query-status"))?["status"]);
        await guest.Monitor.ExecuteAsync("cont");
        await guest.Console.WaitForAsync("Kernel panic - not syncing: Fatal exception", Limits.Guest, console);
        Assert.False(dying.IsCompletedSuccessfully);
        await given.CancelAsync();
        await Assert.ThrowsAnyAsync<Exception>(() => dying);
    }
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class OwnDumpTests61(Guest61 guest) : OwnDumpTests(guest);

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class OwnDumpTests612(Guest612 guest) : OwnDumpTests(guest);
