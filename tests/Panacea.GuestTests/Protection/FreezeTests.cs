using System.Text.Json;
using Panacea.GuestTests.Harness;
using Panacea.Lab.Guests;

namespace Panacea.GuestTests.Protection;

/// <summary>Quarantine without an end: the thread sleeps for ever where it crashed, and the guest itself says so.</summary>
public abstract class FreezeTests(string line)
{
    [Fact]
    public Task A_frozen_thread_keeps_its_stack_and_the_guest_goes_on() => FreezeAsync("null-write", "crashtest_null_write");

    /// <summary>Past a handler that signals, and without a trap.</summary>
    [Theory(Skip = Suites.NeedsMatrix, SkipUnless = nameof(Suites.Matrix), SkipType = typeof(Suites))]
    [InlineData("bug", "crashtest_bug")]
    [InlineData("panic", "crashtest_panic")]
    public Task So_it_does_from_other_crashes(string crash, string function) => FreezeAsync(crash, function);

    private async Task FreezeAsync(string crash, string function)
    {
        await using Guest guest = await Guest.StartAsync(new GuestSpec { Line = line, DiskMiB = 16 });
        await using GuardProcess guard = await GuardProcess.StartArmedAsync(guest, "--mode", "quarantine", "--quarantine", "freeze");
        string pid = (await guest.MustAsync($"sh -c 'echo {crash} > /dev/crashtest' > /dev/null 2>&1 & echo $!")).Trim();
        GuardEvent incident = await guard.WaitForAsync("incident", 0);
        Assert.True(incident.Text("outcome") == "recovered" && incident.Text("repair") == "freeze", incident.Json.GetRawText());
        string[] stack = [.. (await guest.MustLinesAsync($"cat /proc/{pid}/stack")).Select(l => l.Split(' ')[1].Split('+')[0])];
        Assert.True(stack.Length > 3, string.Join(' ', stack));
        Assert.Equal("msleep", stack[0]);
        Assert.Equal(function, stack[1]);
        Assert.Contains("vfs_write", stack);
        Assert.StartsWith("State:\tD", await guest.MustAsync($"grep ^State: /proc/{pid}/status"), StringComparison.Ordinal);
        await guest.AssertLivesAsync();

        // Nobody can end it, and it stays asleep.
        await guest.MustAsync($"kill -9 {pid}; sleep 1");
        Assert.StartsWith("State:\tD", await guest.MustAsync($"grep ^State: /proc/{pid}/status"), StringComparison.Ordinal);

        // But the quarantine can, through the guard that holds the VM.
        string vm = $"qmp:{guest.QmpPath}";
        Assert.Equal([pid], JsonDocument.Parse(await PanaceaCommand.MustAsync("quarantine", "list", "--json", vm)).RootElement.GetProperty("frozen").EnumerateArray().Select(f => $"{f.GetProperty("pid")}"));
        JsonElement frozen = JsonDocument.Parse(await PanaceaCommand.MustAsync("quarantine", "inspect", "--json", vm, pid)).RootElement;
        Assert.Equal(stack, frozen.GetProperty("stack").EnumerateArray().Select(f => f.GetString()!.Split('+')[0]).SkipWhile(f => f != "msleep").Take(stack.Length));
        string[] held = await guest.MustLinesAsync($"ls /proc/{pid}/fd | wc -l");
        Assert.NotEqual("0", held[0].Trim());
        Assert.StartsWith("done; the guest was stopped for ", await PanaceaCommand.MustAsync("quarantine", "kill", vm, pid), StringComparison.Ordinal);
        await guest.MustAsync($"for i in $(seq 50); do [ -e /proc/{pid} ] || exit 0; sleep 0.1; done; cat /proc/{pid}/status; exit 1");
        Assert.Empty(JsonDocument.Parse(await PanaceaCommand.MustAsync("quarantine", "list", "--json", vm)).RootElement.GetProperty("frozen").EnumerateArray());
        await guest.AssertLivesAsync();
        Assert.DoesNotContain(guard.EventsFrom(0), e => e.Name is "error" or "warning");
    }
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class FreezeTests61() : FreezeTests("6.1");

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class FreezeTests612() : FreezeTests("6.12");
