using System.Text.Json;
using Panacea.GuestTests.Harness;
using Panacea.Lab.Guests;
using Panacea.Lab.Setup;

namespace Panacea.GuestTests.Protection;

/// <summary>A function that crashes again and again returns at once from then on; who wants it otherwise says so.</summary>
public abstract class FuseTests(string line)
{
    private const string Function = "crashtest_null_write";

    [Fact]
    public async Task The_third_crash_is_the_last_one()
    {
        await using Guest guest = await Guest.StartAsync(new GuestSpec { Line = line, DiskMiB = 16 });
        await using GuardProcess guard = await GuardProcess.StartArmedAsync(guest, "--fuse", "3", "--repair-limit", "0");
        string vm = $"qmp:{guest.QmpPath}";
        for (int crash = 1; crash <= 3; crash++)
        {
            int mark = guard.Mark();
            await CrashAsync(guest);
            GuardEvent incident = await guard.WaitForAsync("incident", mark);
            Assert.True(incident.Text("outcome") == "recovered" && incident.Text("repair") == "error-return", incident.Json.GetRawText());
            Assert.Equal(crash == 3, incident.Texts("lost").Any(l => l.Contains("until its fuse is cleared", StringComparison.Ordinal)));
        }

        GuardEvent fuse = await guard.WaitForAsync("fuse");
        Assert.Equal((Function, "crashtest", "-EIO"), Told(fuse.Json.GetProperty("fuse")));
        Assert.Equal((Function, "crashtest", "-EIO"), Told(Assert.Single(await FusesAsync(vm))));

        // Its callers see the same error, from nothing: the driver does not crash any more, and all else of it works.
        int before = guard.Mark();
        for (int i = 0; i < 5; i++)
            await CrashAsync(guest);
        await guest.AssertLivesAsync();
        Assert.DoesNotContain(guard.EventsFrom(before), e => e.Name == "death");
        int other = guard.Mark();
        await guest.CrashAsync("null-read");
        Assert.Equal("recovered", (await guard.WaitForAsync("incident", other)).Text("outcome"));

        // A guard that comes later knows it too, and so does whoever looks without one.
        Assert.Equal(0, await guard.InterruptAsync());
        Assert.Equal((Function, "crashtest", "-EIO"), Told(Assert.Single(await FusesAsync(vm))));
        await using GuardProcess next = await GuardProcess.StartArmedAsync(guest);
        Assert.Single(await FusesAsync(vm));
        Assert.StartsWith("done; the guest was stopped for ", await PanaceaCommand.MustAsync("fuse", "clear", vm, Function), StringComparison.Ordinal);
        Assert.Empty(await FusesAsync(vm));
        int again = next.Mark();
        await CrashAsync(guest);
        Assert.Equal("recovered", (await next.WaitForAsync("incident", again)).Text("outcome"));
        Assert.Equal("cleared", (await next.WaitForAsync("fuse")).Text("change"));
    }

    /// <summary>A timer belongs to no task that could be taken out: after the third crash there would only be the panic.</summary>
    [Fact]
    public async Task A_timer_that_crashes_again_and_again_gets_its_fuse_in_time()
    {
        await using Guest guest = await Guest.StartAsync(new GuestSpec { Line = line, DiskMiB = 16 });
        await using GuardProcess guard = await GuardProcess.StartArmedAsync(guest, "--fuse", "10", "--health-window", "1m");
        await guest.MustAsync("insmod /modules/crashtest_matrix.ko");
        for (int i = 0; i < 6; i++)
            await guest.MustAsync("echo null-write@timer > /dev/crashtest-matrix; sleep 0.3");
        await guest.AssertLivesAsync();
        Assert.Equal(3, guard.EventsFrom(0).Count(e => e.Name == "death"));
        Assert.Equal("crashtest_matrix", (await guard.WaitForAsync("fuse")).Json.GetProperty("fuse").GetProperty("module").GetString());
    }

    /// <summary>By hand, on a guest that nobody guards.</summary>
    [Fact]
    public async Task One_that_is_set_by_hand_keeps_a_bug_from_happening()
    {
        await using Guest guest = await Guest.StartAsync(new GuestSpec { Line = line, DiskMiB = 16 });
        string vm = $"qmp:{guest.QmpPath}";
        await PanaceaCommand.MustAsync("fuse", "set", vm, $"crashtest:{Function}", "--return", "-ENOMEM");
        GuestCommandResult result = await guest.CrashAsync("null-write");
        Assert.True(result.Status == 1, $"status {result.Status}: {result.Output}");
        Assert.Contains("memory", result.Output, StringComparison.Ordinal);
        Assert.Equal((Function, "crashtest", "-ENOMEM"), Told(Assert.Single(await FusesAsync(vm))));

        // What would be too much is refused, and nothing is changed by it.
        foreach ((string function, int code) in ((string, int)[])[("vfs_write", 2), ("panic", 2), ("call_timer_fn", 2), ("crashtest_void_null_write", 2), ("no_such_function", 5), (Function, 2)])
        {
            HostCommandResult refused = await PanaceaCommand.RunAsync("fuse", "set", vm, function);
            Assert.True(refused.ExitCode == code && refused.Error.StartsWith("panacea: ", StringComparison.Ordinal), $"{function}: {refused.ExitCode} {refused.Error}");
        }

        Assert.Single(await FusesAsync(vm));

        // With the module goes its fuse.
        await guest.MustAsync("rmmod crashtest; insmod /modules/crashtest.ko");
        Assert.Empty(await FusesAsync(vm));
        await guest.AssertLivesAsync();
    }

    private static async Task CrashAsync(Guest guest)
    {
        GuestCommandResult result = await guest.CrashAsync("null-write");
        Assert.True(result.Status == 1, $"status {result.Status}: {result.Output}");
        Assert.Contains("Input/output error", result.Output, StringComparison.Ordinal);
    }

    private static async Task<JsonElement[]> FusesAsync(string vm) => [.. JsonDocument.Parse(await PanaceaCommand.MustAsync("fuse", "list", "--json", vm)).RootElement.GetProperty("fuses").EnumerateArray()];

    private static (string?, string?, string?) Told(JsonElement fuse) => (fuse.GetProperty("function").GetString(), fuse.GetProperty("module").GetString(), fuse.GetProperty("returns").GetString());
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class FuseTests61() : FuseTests("6.1");

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class FuseTests612() : FuseTests("6.12");
