using Panacea.GuestTests.Harness;
using Panacea.Lab.Guests;

namespace Panacea.GuestTests.Protection;

/// <summary>A guest that has loaded a crash kernel: Panacea acts before it, and where Panacea does not repair, the crash kernel runs as if Panacea were not there.</summary>
public abstract class KdumpArmedTests(string line)
{
    [Fact]
    public async Task It_is_repaired_and_where_it_is_not_it_dumps_itself()
    {
        await using Guest guest = await Guest.StartAsync(new GuestSpec { Line = line, MemoryMiB = 384, CrashKernelMiB = 128, DiskMiB = 16 });
        Assert.DoesNotContain("no crash kernel", guest.Console.TextFrom(), StringComparison.Ordinal);
        await using (GuardProcess guard = await GuardProcess.StartArmedAsync(guest))
        {
            GuestCommandResult result = await guest.CrashAsync("null-write");
            GuardEvent incident = await guard.WaitForAsync("incident", 0);
            Assert.Equal(("recovered", "error-return"), (incident.Text("outcome"), incident.Text("repair")));
            Assert.Equal(1, result.Status);
            Assert.Equal(0, await guard.InterruptAsync());
        }

        await using GuardProcess observer = await GuardProcess.StartArmedAsync(guest, "--mode", "observe");
        long mark = guest.Console.Mark();
        Task<GuestCommandResult> dying = guest.RunAsync("echo null-write > /dev/crashtest", 2 * Limits.Guest);
        string vmcore = await guest.WaitForVmcoreAsync(mark, 2 * Limits.Guest);
        await Assert.ThrowsAnyAsync<Exception>(() => dying);
        GuardEvent declined = await observer.WaitForAsync("incident", 0);
        Assert.Equal("declined", declined.Text("outcome"));
        Assert.True(new FileInfo(vmcore).Length > 1 << 20);

        // The memory of the kernel that died is no hang, however long it stands still.
        Assert.Single(observer.EventsFrom(0), e => e.Name == "incident");
    }
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class KdumpArmedTests61() : KdumpArmedTests("6.1");

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class KdumpArmedTests612() : KdumpArmedTests("6.12");
