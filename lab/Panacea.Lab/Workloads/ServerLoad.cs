using Panacea.Lab.Guests;

namespace Panacea.Lab.Workloads;

/// <summary>The work of a lab guest as a whole: a client that INCRs its redis, its recorder, its counter; and at the end the check that nothing of it was lost.</summary>
public sealed class ServerLoad : IAsyncDisposable
{
    private readonly Guest _guest;
    private readonly CounterStatus _counter;

    private ServerLoad(Guest guest, RedisLoad redis, RecordLoad records, CounterStatus counter)
    {
        _guest = guest;
        Redis = redis;
        Records = records;
        _counter = counter;
    }

    /// <summary>The client of redis.</summary>
    public RedisLoad Redis { get; }

    /// <summary>The recorder.</summary>
    public RecordLoad Records { get; }

    /// <summary>Starts everything and waits until all of it works.</summary>
    /// <param name="guest">A guest started with <see cref="GuestSpec.Start"/> = redis, counter.</param>
    /// <param name="timeout">For each of them; 30 s by default.</param>
    /// <param name="cancel">Gives up.</param>
    public static async Task<ServerLoad> StartAsync(Guest guest, TimeSpan? timeout = null, CancellationToken cancel = default)
    {
        RedisLoad redis = await RedisLoad.StartAsync(guest.RedisPort, timeout: timeout, cancel: cancel);
        try
        {
            RecordLoad records = await RecordLoad.StartAsync(guest, timeout: timeout, cancel: cancel);
            return new ServerLoad(guest, redis, records, await CounterStatus.ReadAsync(guest, cancel));
        }
        catch
        {
            await redis.DisposeAsync();
            throw;
        }
    }

    /// <summary>Waits until redis has acknowledged and the recorder has promised so much more: the work goes on.</summary>
    /// <exception cref="TimeoutException">It does not.</exception>
    public async Task WaitForProgressAsync(int steps, TimeSpan timeout, CancellationToken cancel = default)
    {
        await Redis.WaitForAnswersAsync(steps, timeout, cancel);
        await Records.WaitForRecordsAsync(steps, timeout, cancel);
    }

    /// <summary>Ends the load, shuts the guest down and checks everything that was promised: acknowledged INCRs, fsynced records, the file system, and, unless the guest was
    /// rebooted on the way, the state that lived in memory alone.</summary>
    /// <returns>What is wrong; empty when nothing was lost.</returns>
    public async Task<IReadOnlyList<string>> FinishAsync(bool rebooted = false, CancellationToken cancel = default)
    {
        var wrong = new List<string>();
        await Redis.StopAsync();
        wrong.AddRange((await Redis.VerifyAsync(cancel)).Select(w => $"redis: {w}"));
        if (!rebooted)
        {
            CounterStatus now = await CounterStatus.ReadAsync(_guest, cancel);
            if (now.Pid != _counter.Pid || now.Count <= _counter.Count)
                wrong.Add($"counter: process {_counter.Pid} at {_counter.Count} became process {now.Pid} at {now.Count}");
            if (now.Damaged > 0)
                wrong.Add($"counter: {now.Damaged} words of its memory were damaged");
        }

        wrong.AddRange(Records.Messages.Select(m => $"records: {m}"));
        FsckResult? fsck = await _guest.ShutDownAsync(cancel: cancel);
        if (fsck is { IsClean: false })
            wrong.Add($"disk: {fsck.Output}");
        if (_guest.DiskPath is string disk)
            wrong.AddRange((await Records.VerifyAsync(disk, cancel)).Select(w => $"records: {w}"));
        return wrong;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await Redis.DisposeAsync();
        await Records.DisposeAsync();
    }
}
