using Panacea.GuestTests.Harness;
using Panacea.Lab.Guests;
using Panacea.Lab.Workloads;

namespace Panacea.GuestTests;

/// <summary>Guests that go on from a snapshot of another.</summary>
[Collection(nameof(Guest612))]
public sealed class SnapshotTests(Guest612 shared)
{
    [Fact]
    public async Task Guests_of_a_snapshot_go_on_where_it_was_and_know_nothing_of_each_other()
    {
        CancellationToken cancel = TestContext.Current.CancellationToken;
        Guest booted = await Guest.StartAsync(new() { Line = "6.12", Memory = GuestMemoryBacking.SharedFile }, null, cancel);
        await booted.MustAsync("echo before > /tmp/memory; echo before > /data/disk; sync");
        using GuestSnapshot snapshot = await GuestSnapshot.TakeAsync(booted, cancel);
        Assert.False(booted.IsRunning);
        await using Guest first = await snapshot.StartAsync(cancel);
        await using Guest second = await snapshot.StartAsync(cancel);
        Assert.NotEqual(first.RunDirectory, second.RunDirectory);
        await Task.WhenAll(ChangeAsync(first, "first"), ChangeAsync(second, "second"));
        Assert.Equal("first first", await SayAsync(first));
        Assert.Equal("second second", await SayAsync(second));

        // What they wrote reached neither the snapshot's memory nor its disk.
        await using Guest third = await snapshot.StartAsync(cancel);
        Assert.Equal("before before", await SayAsync(third));
        Assert.All(await LivingGuest.ProbeAsync(third, cancel: cancel), sign => Assert.Null(sign.Failure));
        FsckResult? disk = await third.ShutDownAsync(cancel: cancel);
        Assert.True(disk!.IsClean, disk.Output);

        static async Task ChangeAsync(Guest guest, string word) => await guest.MustAsync($"echo {word} > /tmp/memory; echo {word} > /data/disk; sync");

        static async Task<string> SayAsync(Guest guest) => (await guest.MustAsync("echo $(cat /tmp/memory) $(cat /data/disk)")).Trim();
    }

    [Fact]
    public async Task A_snapshot_needs_memory_that_is_a_file()
    {
        CancellationToken cancel = TestContext.Current.CancellationToken;
        Guest guest = await shared.AliveAsync();
        Assert.Null(guest.MemoryFile);
        ArgumentException refused = await Assert.ThrowsAsync<ArgumentException>(() => GuestSnapshot.TakeAsync(guest, cancel));
        Assert.Equal("guest", refused.ParamName);
        await guest.MustAsync("true");
    }
}
