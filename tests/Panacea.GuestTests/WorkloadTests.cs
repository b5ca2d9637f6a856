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
    public async Task What_was_acknowledged_is_on_the_disk_after_shutdown()
    {
        await using Guest guest = await Guest.StartAsync(shared.Spec);
        await using RedisLoad redis = await RedisLoad.StartAsync(guest.RedisPort);
        await using RecordLoad records = await RecordLoad.StartAsync(guest);
        await redis.WaitForAnswersAsync(50, Limit);
        await records.WaitForRecordsAsync(50, Limit);
        await redis.StopAsync();
        Assert.Empty(await redis.VerifyAsync());
        Assert.True(redis.Status.LongestGap > TimeSpan.Zero);

        FsckResult? fsck = await guest.ShutDownAsync();
        Assert.True(fsck?.IsClean, fsck?.Output);
        Assert.True(records.Promised >= 50);
        Assert.Empty(records.Messages);
        Assert.Empty(await records.VerifyAsync(guest.DiskPath!));
        Assert.Contains("panacea-lab: shut down", guest.Console.TextFrom(), StringComparison.Ordinal);
    }
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class WorkloadTests61(Guest61 guest) : WorkloadTests(guest);

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class WorkloadTests612(Guest612 guest) : WorkloadTests(guest);
