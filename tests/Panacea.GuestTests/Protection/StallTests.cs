using Panacea.GuestTests.Harness;
using Panacea.Lab.Guests;

namespace Panacea.GuestTests.Protection;

/// <summary>What stands still, and no function of a stack is to blame for it any more: it is pushed, and nothing is lost.</summary>
public abstract class StallTests(string line, string tick)
{
    /// <summary>The interrupt of the disk comes and nobody looks; the fault is taken out when the guard sees what came of it.</summary>
    [Fact]
    public async Task An_interrupt_of_a_disk_that_was_lost_is_made_up_for()
    {
        await using Guest guest = await Guest.StartAsync(new GuestSpec { Line = line, DiskMiB = 64 });
        await using GuardProcess guard = await GuardProcess.StartArmedAsync(guest);
        int mark = guard.Mark();
        await InjectAsync(guest, "virtblk_done");
        Task<GuestCommandResult> writes = guest.RunAsync("dd if=/dev/urandom of=/data/stall bs=64k count=16 conv=fsync && sha1sum /data/stall", TimeSpan.FromMinutes(1));
        await IncidentAsync(guard, mark, "stalled I/O in virtblk_done [virtio_blk]", "heal");
        GuestCommandResult written = await writes;
        Assert.True(written.Succeeded, written.Output);

        // What was written is what is on the disk.
        await guest.MustAsync("echo 3 > /proc/sys/vm/drop_caches");
        Assert.Contains((await guest.MustAsync("sha1sum /data/stall")).Split(' ')[0], written.Output, StringComparison.Ordinal);
        await guest.AssertLivesAsync();
    }

    [Fact]
    public async Task A_tick_that_was_lost_is_started_again()
    {
        await using Guest guest = await Guest.StartAsync(new GuestSpec { Line = line, DiskMiB = 16 });
        await using GuardProcess guard = await GuardProcess.StartArmedAsync(guest);
        await guest.MustAsync("for cpu in 0 1; do taskset -c $cpu sh -c 'while :; do :; done' > /dev/null 2>&1 < /dev/null & echo $! >> /tmp/busy; done");

        // The guard has to have seen that the CPU ticks by this timer.
        await Task.Delay(TimeSpan.FromSeconds(1), TestContext.Current.CancellationToken);
        int mark = guard.Mark();
        await InjectAsync(guest, tick);
        await IncidentAsync(guard, mark, $"lost timer tick in {tick}", "heal");
        await guest.MustAsync("kill $(cat /tmp/busy)");
        await guest.AssertLivesAsync();
        Assert.True(await TicksAsync(guest, 0) && await TicksAsync(guest, 1), "a CPU does not tick");
    }

    [Theory]
    [InlineData("wait-completion")]
    [InlineData("wait-bit")]
    [InlineData("wait-page")]
    public async Task A_task_that_nobody_has_woken_goes_on(string wait)
    {
        await using Guest guest = await Guest.StartAsync(new GuestSpec { Line = line, DiskMiB = 16 });
        await guest.MustAsync("insmod /modules/crashtest_locks.ko");
        await using GuardProcess guard = await GuardProcess.StartArmedAsync(guest);
        int mark = guard.Mark();
        await guest.MustAsync($"echo {wait} > /dev/crashtest_locks");

        // As long as it has not come it is waited for.
        await Task.Delay(TimeSpan.FromSeconds(5), TestContext.Current.CancellationToken);
        Assert.DoesNotContain(guard.EventsFrom(mark), e => e.Name == "death");
        await guest.MustAsync("echo end-silently > /dev/crashtest_locks");
        GuardEvent incident = await guard.WaitForAsync("incident", mark);
        Assert.True(incident.Text("outcome") == "recovered" && incident.Text("repair") == "heal" && incident.Text("title").StartsWith("hung task", StringComparison.Ordinal), incident.Json.GetRawText());
        Assert.Equal("0", (await guest.MustAsync("grep -l '^State:.*D' /proc/[0-9]*/status 2> /dev/null | xargs -r grep -h lk_ | wc -l")).Trim());
        await guest.MustAsync("echo release > /dev/crashtest_locks");
        await guest.AssertLivesAsync();
    }

    private static Task InjectAsync(Guest guest, string function) =>
        PanaceaCommand.MustAsync("inject", $"qmp:{guest.QmpPath}", "--fault", "return", "--at", function, "--seed", "1", "--until-crash", "--yes-crash-it", "--log", Path.Combine(guest.RunDirectory, "fault.json"));

    private static async Task IncidentAsync(GuardProcess guard, int mark, string title, string repair)
    {
        GuardEvent incident = await guard.WaitForAsync("incident", mark);
        Assert.True(incident.Text("outcome") == "recovered" && incident.Text("repair") == repair && incident.Text("title") == title && incident.Json.GetProperty("lost").GetArrayLength() == 0, incident.Json.GetRawText());
    }

    private static async Task<bool> TicksAsync(Guest guest, int cpu)
    {
        string before = await guest.MustAsync($"taskset -c {cpu} sh -c 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; grep LOC: /proc/interrupts' | awk '{{ print ${cpu + 2} }}'");
        string after = await guest.MustAsync($"taskset -c {cpu} sh -c 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; grep LOC: /proc/interrupts' | awk '{{ print ${cpu + 2} }}'");
        return long.Parse(after, System.Globalization.CultureInfo.InvariantCulture) > long.Parse(before, System.Globalization.CultureInfo.InvariantCulture) + 5;
    }
}

public sealed class StallTests61() : StallTests("6.1", "tick_sched_timer");

public sealed class StallTests612() : StallTests("6.12", "tick_nohz_handler");
