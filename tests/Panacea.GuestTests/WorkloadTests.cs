using Panacea.GuestTests.Harness;
using Panacea.Lab.Guests;
using Panacea.Lab.Workloads;

namespace Panacea.GuestTests;

/// <summary>The work whose survival is measured, in a guest that nothing happens to: the checks have to be quiet here to mean something elsewhere.</summary>
public abstract class WorkloadTests(SharedGuest shared)
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    [Fact]
    public async Task The_guest_gives_every_sign_of_life() =>
        Assert.All(await LivingGuest.ProbeAsync(shared.Guest), s => Assert.Null(s.Failure is null ? null : $"{s.Name}: {s.Failure}"));

    [Fact]
    public async Task The_counter_keeps_its_memory()
    {
        CounterStatus before = await CounterStatus.ReadAsync(shared.Guest);
        await shared.Guest.MustAsync($"until [ $(cut -d' ' -f2 /run/counter) -gt {before.Count + 80} ]; do usleep 20000; done");
        CounterStatus after = await CounterStatus.ReadAsync(shared.Guest);
        Assert.Equal(before.Pid, after.Pid);
        Assert.Equal(0, after.Damaged);
    }

    [Fact]
    public async Task A_lost_increment_of_redis_is_seen()
    {
        await using RedisLoad load = await RedisLoad.StartAsync(shared.Guest.RedisPort, "lost");
        await load.WaitForAnswersAsync(20, Limit);
        await load.StopAsync();
        Assert.Empty(await load.VerifyAsync());
        using (RespClient other = await RespClient.ConnectAsync(shared.Guest.RedisPort))
            await other.CommandAsync(["SET", "lost", "3"]);
        Assert.Single(await load.VerifyAsync());
    }

    [Fact]
    public async Task What_was_promised_is_there_after_shutdown()
    {
        await using Guest guest = await Guest.StartAsync(shared.Spec);
        await using ServerLoad load = await ServerLoad.StartAsync(guest);
        await load.WaitForProgressAsync(50, Limit);
        Assert.Empty(await load.FinishAsync());
        Assert.True(load.Records.Promised >= 50);
        Assert.True(load.Redis.Status.LongestGap > TimeSpan.Zero);
        Assert.Contains("panacea-lab: shut down", guest.Console.TextFrom(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_crash_and_reboot_lose_what_was_in_memory_but_nothing_that_was_promised()
    {
        await using Guest guest = await Guest.StartAsync(shared.Spec with { PanicTimeout = -1 });
        await using ServerLoad load = await ServerLoad.StartAsync(guest);
        await load.WaitForProgressAsync(20, Limit);
        string before = await guest.MustAsync("cat /proc/sys/kernel/random/boot_id");
        long mark = guest.Console.Mark();
        Task reset = guest.Monitor.NextEventAsync("RESET");
        await Assert.ThrowsAnyAsync<Exception>(() => guest.RunAsync("echo null-write > /dev/crashtest", TimeSpan.FromSeconds(5)));
        await reset.WaitAsync(Limit);
        await load.Redis.WaitForAnswersAsync(20, guest.Spec.BootTimeout);
        await guest.WaitUntilRebootedAsync(mark, guest.Spec.BootTimeout);

        Assert.True(load.Redis.Status.Reconnects > 0);
        Assert.NotEqual(before, await guest.MustAsync("cat /proc/sys/kernel/random/boot_id"));
        Assert.Empty(await load.FinishAsync(rebooted: true));
    }
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class WorkloadTests61(Guest61 guest) : WorkloadTests(guest);

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class WorkloadTests612(Guest612 guest) : WorkloadTests(guest);
