using System.Text.Json;
using Panacea.GuestTests.Harness;
using Panacea.Lab.Guests;
using Panacea.Lab.Setup;

namespace Panacea.GuestTests.Protection;

/// <summary>Faults that are injected from outside: what is meant to crash does, and what was done is on record and can be taken back.</summary>
public abstract class InjectionTests(string line)
{
    /// <summary>The system call of <c>free</c> alone.</summary>
    private const string Function = "__x64_sys_sysinfo", Calls = "free > /dev/null";

    [Fact]
    public async Task A_function_crashes_or_hangs_until_the_fault_is_taken_back()
    {
        await using Guest guest = await Guest.StartAsync(new GuestSpec { Line = line, DiskMiB = 16 });
        string vm = $"qmp:{guest.QmpPath}";
        foreach (string fault in (string[])["null-dereference", "bug", "panic", "infinite-loop"])
        {
            string log = Path.Combine(guest.RunDirectory, $"{fault}.json");
            await guest.MustAsync(Calls);
            Assert.StartsWith($"injected  {fault}, seed 1: {Function}: ", await PanaceaCommand.MustAsync("inject", vm, "--fault", fault, "--at", Function, "--seed", "1", "--yes-crash-it", "--log", log), StringComparison.Ordinal);

            // The guard comes after it: what it finds is the kernel's own mistake.
            await using GuardProcess guard = await GuardProcess.StartArmedAsync(guest, "--repair-limit", "0");
            int mark = guard.Mark();
            await guest.RunAsync(Calls, TimeSpan.FromSeconds(40));
            GuardEvent incident = await guard.WaitForAsync("incident", mark);
            Assert.True(incident.Text("outcome") == "recovered" && incident.Text("title").Contains(Function, StringComparison.Ordinal), incident.Json.GetRawText());

            // A function that is as it was does its work again.
            await PanaceaCommand.MustAsync("inject", vm, "--revert", log);
            mark = guard.Mark();
            await guest.MustAsync(Calls);
            Assert.DoesNotContain(guard.EventsFrom(mark), e => e.Name == "death");
            Assert.Equal(2, (await PanaceaCommand.RunAsync("inject", vm, "--revert", log)).ExitCode);
        }

        await guest.AssertLivesAsync();
    }

    /// <summary>The lock is taken, and nobody has taken it: no CPU can hold it, and who waits for it gets it.</summary>
    [Fact]
    public async Task A_deadlock_of_a_lock_that_nobody_holds_ends_when_it_is_given_back()
    {
        await using Guest guest = await Guest.StartAsync(new GuestSpec { Line = line, DiskMiB = 16 });
        string vm = $"qmp:{guest.QmpPath}", log = Path.Combine(guest.RunDirectory, "fault.json");
        await PanaceaCommand.MustAsync("inject", vm, "--fault", "deadlock", "--at", Function, "--seed", "1", "--yes-crash-it", "--log", log);
        await using GuardProcess guard = await GuardProcess.StartArmedAsync(guest);
        Task<GuestCommandResult> waits = guest.RunAsync(Calls, TimeSpan.FromMinutes(1));
        GuardEvent incident = await guard.WaitForAsync("incident");
        Assert.True(incident.Text("outcome") == "recovered" && incident.Text("repair") == "heal" && incident.Text("title") == $"soft lockup in {Function}", incident.Json.GetRawText());
        Assert.True((await waits).Succeeded);
    }

    [Fact]
    public async Task A_mistake_in_code_is_the_same_for_the_same_seed()
    {
        await using Guest guest = await Guest.StartAsync(new GuestSpec { Line = line, DiskMiB = 16 });
        string vm = $"qmp:{guest.QmpPath}";
        foreach (string type in (string[])["text-bit-flip", "source", "destination", "pointer", "branch", "argument"])
        {
            JsonElement[] places = [.. JsonDocument.Parse(await PanaceaCommand.MustAsync("inject", vm, "--fault", type, "--at", "vfs_read", "--list", "--seed", "5", "--json")).RootElement.GetProperty("faults").EnumerateArray()];
            Assert.True(places.Length > 1, $"{type}: {places.Length}");
        }

        // A function that nobody calls here.
        string first = await InjectAsync(guest, "branch", "ext4_resize_fs", 11);
        string second = await InjectAsync(guest, "branch", "ext4_resize_fs", 11);
        Assert.Equal(first, second);
        await guest.AssertLivesAsync();

        HostCommandResult unmeant = await PanaceaCommand.RunAsync("inject", vm, "--fault", "panic", "--at", Function);
        Assert.True(unmeant.ExitCode == 2 && unmeant.Error.Contains("--yes-crash-it", StringComparison.Ordinal), unmeant.Error);
        foreach ((string[] arguments, int code) in ((string[], int)[])[(["--fault", "panic", "--at", "no_such_function"], 5), (["--fault", "panic", "--at", "panic"], 2), (["--fault", "bug"], 2), (["--fault", "heap-bit-flip", "--at", Function], 2)])
            Assert.Equal(code, (await PanaceaCommand.RunAsync(["inject", vm, .. arguments, "--yes-crash-it"])).ExitCode);
        await guest.AssertLivesAsync();
    }

    [Fact]
    public async Task Data_of_the_kernel_is_changed_where_it_is_in_use()
    {
        await using Guest guest = await Guest.StartAsync(new GuestSpec { Line = line, DiskMiB = 16 });
        await guest.Monitor.ExecuteAsync("stop", null);
        string vm = $"qmp:{guest.QmpPath}";
        foreach ((string fault, int changes) in ((string, int)[])[("heap-bit-flip", 1), ("stack-bit-flip", 1), ("early-free", 3)])
        {
            string log = Path.Combine(guest.RunDirectory, $"{fault}.json");
            JsonElement record = JsonDocument.Parse(await PanaceaCommand.MustAsync("inject", vm, "--fault", fault, "--seed", "2", "--yes-crash-it", "--log", log, "--json")).RootElement;
            JsonElement[] written = [.. record.GetProperty("fault").GetProperty("changes").EnumerateArray()];
            Assert.Equal(changes, written.Length);
            Assert.Equal(0, record.GetProperty("stopped_us").GetInt64());

            // A guest that stood still stands as before, and memory holds what the record says, by QEMU's own monitor.
            Assert.Equal("paused", (string?)(await guest.Monitor.ExecuteAsync("query-status", null))!["status"]);
            foreach (JsonElement change in written)
                Assert.Equal(change.GetProperty("after").GetString(), await BytesAsync(guest, change.GetProperty("address").GetString()!, change.GetProperty("after").GetString()!.Length / 2));
            Assert.Equal(1, (await PanaceaCommand.RunAsync("inject", vm, "--revert", log)).ExitCode);
        }
    }

    /// <summary>The guard takes it out at the crash, before it makes anything of it; then the same call gets past, and is made again: who made it sees nothing of all that. The call asks for the time, which the guest
    /// reads from a device: kernels fall back to it where they have stopped to trust the time stamp counter.</summary>
    [Fact]
    public async Task A_mistake_that_shows_once_loses_nothing()
    {
        await using Guest guest = await Guest.StartAsync(new GuestSpec { Line = line, DiskMiB = 16, KernelParameters = "clocksource=hpet" });
        Assert.Equal("hpet", (await guest.MustAsync("cat /sys/devices/system/clocksource/clocksource0/current_clocksource")).Trim());
        string vm = $"qmp:{guest.QmpPath}", log = Path.Combine(guest.RunDirectory, "fault.json");
        HostCommandResult alone = await PanaceaCommand.RunAsync("inject", vm, "--fault", "bug", "--at", Function, "--until-crash", "--yes-crash-it");
        Assert.True(alone.ExitCode == 2 && alone.Error.Contains("nobody guards this VM", StringComparison.Ordinal), alone.Error);
        await using GuardProcess guard = await GuardProcess.StartArmedAsync(guest);
        foreach (string fault in (string[])["bug"])
        {
            int mark = guard.Mark();
            await PanaceaCommand.MustAsync("inject", vm, "--fault", fault, "--at", Function, "--seed", "1", "--until-crash", "--yes-crash-it", "--log", $"{log}.{fault}");
            await guest.MustAsync(Calls);
            GuardEvent incident = await guard.WaitForAsync("incident", mark);
            Assert.True(incident.Text("outcome") == "recovered" && incident.Text("repair") == "retry" && incident.Json.GetProperty("lost").GetArrayLength() == 0, incident.Json.GetRawText() + File.ReadAllText(Path.Combine(incident.Text("record"), "incident.json")));
        }

        Assert.Equal(2, (await PanaceaCommand.RunAsync("inject", vm, "--fault", "heap-bit-flip", "--until-crash", "--yes-crash-it")).ExitCode);
        await guest.AssertLivesAsync();
    }

    /// <summary>QMP's cont, after a pause that a guard found when it came: what it is asked reaches the guest.</summary>
    [Fact]
    public async Task A_guard_that_came_to_a_paused_VM_can_stop_it_after_the_pause()
    {
        await using Guest guest = await Guest.StartAsync(new GuestSpec { Line = line, DiskMiB = 16 });
        await guest.Monitor.ExecuteAsync("stop", null);
        await using GuardProcess guard = await GuardProcess.StartArmedAsync(guest);
        await guest.Monitor.ExecuteAsync("cont", null);
        await guest.MustAsync(Calls);
        string vm = $"qmp:{guest.QmpPath}", log = Path.Combine(guest.RunDirectory, "fault.json");
        await PanaceaCommand.MustAsync("inject", vm, "--fault", "bug", "--at", Function, "--seed", "1", "--yes-crash-it", "--log", log);
        int mark = guard.Mark();
        await guest.RunAsync(Calls, TimeSpan.FromSeconds(40));
        GuardEvent incident = await guard.WaitForAsync("incident", mark);

        // This guard knows the code as it was.
        Assert.True(incident.Text("outcome") == "recovered" && incident.Text("repair") == "heal", incident.Json.GetRawText());
        await guest.AssertLivesAsync();
    }

    /// <summary>Bytes of the kernel's memory as QEMU's monitor shows them, in hex.</summary>
    private static async Task<string> BytesAsync(Guest guest, string address, int count)
    {
        string dump = await guest.Monitor.HumanAsync($"x/{count}xb {address}");
        return string.Concat(dump.Split('\n').Where(l => l.Contains(':', StringComparison.Ordinal))
            .SelectMany(l => l[(l.IndexOf(':', StringComparison.Ordinal) + 1)..].Split(' ', StringSplitOptions.RemoveEmptyEntries)).Select(b => b.Trim().Replace("0x", "", StringComparison.Ordinal)));
    }

    private static async Task<string> InjectAsync(Guest guest, string type, string at, int seed)
    {
        string vm = $"qmp:{guest.QmpPath}", log = Path.Combine(guest.RunDirectory, $"{Guid.NewGuid():n}.json");
        JsonElement record = JsonDocument.Parse(await PanaceaCommand.MustAsync("inject", vm, "--fault", type, "--at", at, "--seed", $"{seed}", "--yes-crash-it", "--log", log, "--json")).RootElement;
        await PanaceaCommand.MustAsync("inject", vm, "--revert", log);
        return record.GetProperty("fault").GetRawText();
    }
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class InjectionTests61() : InjectionTests("6.1");

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class InjectionTests612() : InjectionTests("6.12");
