using Panacea.GuestTests.Harness;
using Panacea.Lab.Guests;
using Panacea.Lab.Workloads;

namespace Panacea.GuestTests.Protection;

/// <summary>The work of a server that crashes again and again under a guard: nothing that was acknowledged is lost.</summary>
public abstract class WorkTests(SharedGuest shared)
{
    private static readonly string[] Crashes = ["null-write", "null-call", "sysrq", "bug", "void-null-write", "panic", "divide-by-zero"];

    [Fact]
    public async Task Nothing_acknowledged_is_lost()
    {
        await using Guest guest = await Guest.StartAsync(shared.Spec, null, TestContext.Current.CancellationToken);
        await using RedisLoad redis = await RedisLoad.StartAsync(guest.RedisPort, "work", Limits.Guest);
        await using RecordLoad records = await RecordLoad.StartAsync(guest, "records", Limits.Guest);
        CounterStatus before = await CounterStatus.ReadAsync(guest);
        await using (GuardProcess guard = await GuardProcess.StartArmedAsync(guest))
        {
            foreach (string name in Crashes)
            {
                int mark = guard.Mark();
                await guest.CrashAsync(name);
                GuardEvent incident = await guard.WaitForAsync("incident", mark);
                Assert.True(incident.Text("outcome") == "recovered", incident.Json.GetRawText());
                await redis.WaitForAnswersAsync(5, Limits.Guest);
                await records.WaitForRecordsAsync(5, Limits.Guest);
            }

            Assert.Equal(0, await guard.InterruptAsync());
        }

        await guest.AssertLivesAsync();
        CounterStatus after = await CounterStatus.ReadAsync(guest);
        Assert.Equal(before.Pid, after.Pid);
        Assert.True(after.Count > before.Count);
        Assert.Equal(0, after.Damaged);
        await redis.StopAsync();
        Assert.Empty(await redis.VerifyAsync());
        Assert.Equal(0, redis.Status.Reconnects);
        FsckResult? fsck = await guest.ShutDownAsync(Limits.Guest);
        Assert.True(fsck?.IsClean, fsck?.Output);
        Assert.Empty(await records.VerifyAsync(guest.DiskPath!));
    }
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class WorkTests61(Guest61 guest) : WorkTests(guest);

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class WorkTests612(Guest612 guest) : WorkTests(guest);
