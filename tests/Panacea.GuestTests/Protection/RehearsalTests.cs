using System.Diagnostics;
using System.Text.Json;
using Panacea.GuestTests.Harness;
using Panacea.Lab.Guests;

namespace Panacea.GuestTests.Protection;

/// <summary>Repairs are tried on copies of the crashed guest first, and nothing is left of the copies.</summary>
public abstract class RehearsalTests(string line)
{
    private GuestSpec Spec => new() { Line = line, Memory = GuestMemoryBacking.SharedMemfd, Start = ["redis", "counter"] };

    /// <summary>Returning an error would be the first repair, and would have its caller die of it.</summary>
    [Fact]
    public async Task A_repair_that_fails_on_a_copy_never_comes_to_the_guest()
    {
        await using Guest guest = await Guest.StartAsync(Spec, null, TestContext.Current.CancellationToken);
        await using GuardProcess guard = await GuardProcess.StartArmedAsync(guest, "--rehearse=always");
        JsonElement incident = await CrashAsync(guest, guard, "stubborn");
        JsonElement[] plans = Plans(incident);
        Assert.Equal(["dies", "lives"], plans.Select(p => p.GetProperty("verdict").GetString()));
        Assert.Equal(("error-return", "unwind"), (plans[0].GetProperty("repair").GetString(), plans[1].GetProperty("repair").GetString()));
        Assert.Contains("dies again, in crashtest_stubborn", plans[0].GetProperty("seen")[0].GetString(), StringComparison.Ordinal);
        Assert.Equal("unwind", incident.GetProperty("repair").GetString());

        // The third place is the one: an error there is an error to write(2).
        JsonElement twice = await CrashAsync(guest, guard, "stubborn-twice");
        Assert.Equal([("error-return", "dies"), ("unwind", "dies"), ("unwind", "lives")], Plans(twice).Select(p => (p.GetProperty("repair").GetString(), p.GetProperty("verdict").GetString())));
        Assert.StartsWith("crashtest_stubborn_twice returns -EIO", Plans(twice)[2].GetProperty("explanation").GetString(), StringComparison.Ordinal);
        TestContext.Current.TestOutputHelper?.WriteLine($"{incident.GetProperty("stopped_us")} us with two plans, {twice.GetProperty("stopped_us")} us with three");

        // The guest itself has died once of each.
        Assert.Equal(2, guard.EventsFrom(0).Count(e => e.Name == "death"));
        Assert.DoesNotContain("kernel BUG at", await guest.MustAsync("dmesg"), StringComparison.Ordinal);
        await guest.AssertLivesAsync();
        Assert.DoesNotContain(guard.EventsFrom(0), e => e.Name is "error" or "warning");
        AssertNothingIsLeft();
    }

    /// <summary>In a process, in an interrupt, with a panic() that no trap comes before, and of a CPU that hangs.</summary>
    [Fact]
    public async Task Crashes_of_every_kind_are_rehearsed()
    {
        await using Guest guest = await Guest.StartAsync(Spec, null, TestContext.Current.CancellationToken);
        await guest.MustAsync("insmod /modules/crashtest_matrix.ko");
        await using GuardProcess guard = await GuardProcess.StartArmedAsync(guest, "--rehearse=always");
        foreach (string cell in (string[])["null-write@mutex", "bug@timer", "panic@work", "divide-by-zero@irqs-off", "loop@preempt-off"])
        {
            int mark = guard.Mark();
            await guest.RunAsync($"echo {cell} > /dev/crashtest-matrix", Limits.Guest, TestContext.Current.CancellationToken);
            JsonElement plan = Assert.Single(Plans(await RecordAsync(guard, mark)));
            TestContext.Current.TestOutputHelper?.WriteLine($"{cell}: {plan.GetRawText()}");
            Assert.Equal("lives", plan.GetProperty("verdict").GetString());
            await guest.AssertLivesAsync();
        }

        AssertNothingIsLeft();
    }

    /// <summary>What the copy writes stays in it: memory, disk, sockets.</summary>
    [Fact]
    public async Task A_copy_to_look_at_lives_and_the_guest_learns_nothing_of_it()
    {
        await using Guest guest = await Guest.StartAsync(Spec, null, TestContext.Current.CancellationToken);
        await guest.MustAsync("echo before > /data/marker; sync");
        using Process clone = PanaceaCommand.Start("clone", "--json", $"qmp:{guest.QmpPath}");
        try
        {
            await LookAsync(guest, clone);
        }
        finally
        {
            if (!clone.HasExited)
                clone.Kill();
        }

        await guest.AssertLivesAsync();
    }

    private static async Task LookAsync(Guest guest, Process clone)
    {
        string said = await clone.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken).AsTask().WaitAsync(Limits.Event) ?? await clone.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        JsonElement copy = JsonDocument.Parse(said).RootElement;
        TestContext.Current.TestOutputHelper?.WriteLine(said);
        string vm = $"qmp:{copy.GetProperty("qmp").GetString()}";

        // The guest goes on, and is another machine from now on.
        await guest.MustAsync("echo after > /data/marker; sync; sleep 1000 > /dev/null 2>&1 < /dev/null & sleep 1");
        string[] here = Names(await PanaceaCommand.MustAsync("inspect", $"qmp:{guest.QmpPath}", "ps", "--json")), there = Names(await PanaceaCommand.MustAsync("inspect", vm, "ps", "--json"));
        Assert.Contains("redis-server", there);
        Assert.Equal(1, here.Count(n => n == "sleep") - there.Count(n => n == "sleep"));
        await guest.AssertLivesAsync();

        // Killed as nothing can be caught: nothing is left.
        string directory = Path.GetDirectoryName(copy.GetProperty("qmp").GetString())!;
        Assert.True(Directory.Exists(directory));
        clone.Kill();
        await clone.WaitForExitAsync(TestContext.Current.CancellationToken).WaitAsync(Limits.Event);
        int pid = copy.GetProperty("pid").GetInt32();
        Assert.True(SpinWait.SpinUntil(() => !Directory.Exists(directory) && !Directory.Exists($"/proc/{pid}"), Limits.Event), $"{directory}, pid {pid}");
    }

    [Fact]
    public async Task Private_memory_is_said_before_the_first_crash()
    {
        await using Guest guest = await Guest.StartAsync(new GuestSpec { Line = line, DiskMiB = 16 }, null, TestContext.Current.CancellationToken);
        await using GuardProcess guard = await GuardProcess.StartArmedAsync(guest, "--rehearse=auto");
        Assert.Contains("memory-backend-memfd", Assert.Single(guard.EventsFrom(0), e => e.Name == "warning").Text("message"), StringComparison.Ordinal);
        GuestCommandResult result = await guest.CrashAsync("null-write");
        Assert.NotEqual(0, result.Status);
        Assert.Equal("recovered", (await guard.WaitForAsync("incident")).Text("outcome"));
    }

    private static async Task<JsonElement> CrashAsync(Guest guest, GuardProcess guard, string crash)
    {
        int mark = guard.Mark();
        await guest.CrashAsync(crash);
        return await RecordAsync(guard, mark);
    }

    private static async Task<JsonElement> RecordAsync(GuardProcess guard, int mark)
    {
        GuardEvent incident = await guard.WaitForAsync("incident", mark);
        using JsonDocument record = JsonDocument.Parse(await File.ReadAllTextAsync(Path.Combine(incident.Text("record"), "incident.json"), TestContext.Current.CancellationToken));
        Assert.True(incident.Text("outcome") == "recovered", record.RootElement.GetRawText());
        return record.RootElement.Clone();
    }

    private static JsonElement[] Plans(JsonElement incident) => incident.GetProperty("rehearsal").ValueKind == JsonValueKind.Object
        ? [.. incident.GetProperty("rehearsal").GetProperty("plans").EnumerateArray()] : throw new InvalidOperationException($"not rehearsed: {incident.GetRawText()}");

    private static string[] Names(string json) => [.. JsonDocument.Parse(json).RootElement.EnumerateArray().Select(t => t.GetProperty("comm").GetString()!)];

    /// <summary>Copies are ended beside the guest's going on.</summary>
    private static void AssertNothingIsLeft() => Assert.True(
        SpinWait.SpinUntil(() => Directory.GetDirectories("/tmp", "panacea-clone-*").Length == 0, Limits.Event), string.Join(' ', Directory.GetDirectories("/tmp", "panacea-clone-*")));
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class RehearsalTests61() : RehearsalTests("6.1");

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class RehearsalTests612() : RehearsalTests("6.12");
