using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using Panacea.Lab.Guests;
using Panacea.Lab.Workloads;

namespace Panacea.Lab.Tour;

/// <summary>By what a guest is known to be the same one, with the same processes, as before.</summary>
/// <param name="BootId">The kernel's random id of this boot.</param>
/// <param name="RedisPid">redis' pid.</param>
/// <param name="CounterPid">The counter's pid.</param>
public sealed record ServerIdentity(string BootId, int RedisPid, int CounterPid);

/// <summary>What a guarded crash came to.</summary>
/// <param name="Incident">The guard's last word on it.</param>
/// <param name="Command">What the crashing command answered.</param>
/// <param name="ClientGap">The client's longest gap around it.</param>
public sealed record GuardedCrash(GuardEvent Incident, GuestCommandResult Command, TimeSpan ClientGap);

/// <summary>What a crash without Panacea came to.</summary>
/// <param name="Panic">The kernel's own last words; null where it had none.</param>
/// <param name="Away">From the crash until redis answered again.</param>
/// <param name="ClientGap">The client's longest gap.</param>
public sealed record UnguardedCrash(string? Panic, TimeSpan Away, TimeSpan ClientGap);

/// <summary>A guest at work under its three loads, with the client on the host. Disposing it ends the client's side; the guest stays.</summary>
public sealed partial class WorkingServer : IAsyncDisposable
{
    private static readonly TimeSpan CrashLimit = TimeSpan.FromSeconds(90), RebootLimit = TimeSpan.FromMinutes(5);

    private readonly List<string> _lostRecords = [];

    private WorkingServer(Guest guest, RedisLoad redis, RecordLoad records)
    {
        Guest = guest;
        Redis = redis;
        Records = records;
    }

    /// <summary>The guest.</summary>
    public Guest Guest { get; }

    /// <summary>The client of its redis.</summary>
    public RedisLoad Redis { get; }

    /// <summary>What its recorder promised.</summary>
    public RecordLoad Records { get; private set; }

    /// <summary>The guest as <c>panacea guard</c> takes it.</summary>
    public string Target => $"qmp:{Guest.QmpPath}";

    /// <summary>Puts a booted guest to work. The guest stays the caller's to dispose.</summary>
    public static async Task<WorkingServer> StartAsync(Guest guest, CancellationToken cancel = default)
    {
        RedisLoad redis = await RedisLoad.StartAsync(guest.RedisPort, timeout: TimeSpan.FromMinutes(1), cancel: cancel);
        try
        {
            return new WorkingServer(guest, redis, await RecordLoad.StartAsync(guest, timeout: TimeSpan.FromMinutes(1), cancel: cancel));
        }
        catch
        {
            await redis.DisposeAsync();
            throw;
        }
    }

    /// <summary>Who it is.</summary>
    /// <exception cref="LabException">A workload does not run.</exception>
    public async Task<ServerIdentity> IdentifyAsync(CancellationToken cancel = default)
    {
        GuestCommandResult result = await Guest.RunAsync("cat /proc/sys/kernel/random/boot_id; pidof redis-server; pidof counter", null, cancel);
        string[] lines = result.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        return lines.Length == 3
            && int.TryParse(lines[1], NumberStyles.None, CultureInfo.InvariantCulture, out int redis)
            && int.TryParse(lines[2], NumberStyles.None, CultureInfo.InvariantCulture, out int counter)
            ? new ServerIdentity(lines[0], redis, counter)
            : throw new LabException($"a workload does not run in the guest (boot id, redis, counter): {string.Join(' ', lines)}");
    }

    /// <summary>Runs a command that crashes the guarded guest and waits for what the guard makes of it.</summary>
    /// <exception cref="LabException">The guard ended.</exception>
    /// <exception cref="TimeoutException">It did not come to an end in time.</exception>
    public async Task<GuardedCrash> CrashAsync(string command, GuardProcess guard, CancellationToken cancel = default)
    {
        guard.DropEvents();
        Redis.TakeLongestGap();
        using var done = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        Task<GuestCommandResult> crash = Guest.RunAsync(command, CrashLimit, done.Token);
        try
        {
            GuardEvent incident = await guard.NextAsync("incident", CrashLimit, cancel);
            if (incident.Outcome != "recovered")
                return new GuardedCrash(incident, new GuestCommandResult(-1, ""), Redis.TakeLongestGap());
            GuestCommandResult answer = await crash;
            await Redis.WaitForAnswersAsync(1, CrashLimit, cancel);
            return new GuardedCrash(incident, answer, Redis.TakeLongestGap());
        }
        finally
        {
            await EndAsync(crash, done);
        }
    }

    /// <summary>Runs a command that crashes the guest while nobody guards it, and waits until its redis answers again after the reboot.</summary>
    /// <exception cref="TimeoutException">It did not come back.</exception>
    public async Task<UnguardedCrash> CrashUnguardedAsync(string command, CancellationToken cancel = default)
    {
        await Redis.WaitForAnswersAsync(2, CrashLimit, cancel);
        Task reset = Guest.Monitor.NextEventAsync("RESET");
        long mark = Guest.Console.Mark();
        Redis.TakeLongestGap();
        using var done = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        long started = Stopwatch.GetTimestamp();
        Task<GuestCommandResult> crash = Guest.RunAsync(command, RebootLimit, done.Token);
        TimeSpan away;
        try
        {
            await reset.WaitAsync(CrashLimit, cancel);
            await Redis.WaitForAnswersAsync(1, RebootLimit, cancel);
            away = Stopwatch.GetElapsedTime(started);
        }
        finally
        {
            await EndAsync(crash, done);
        }

        TimeSpan gap = Redis.TakeLongestGap();
        string? panic = PanicLine().Match(Guest.Console.TextFrom(mark)) is { Success: true } match ? match.Value.Trim() : null;
        await RestartRecorderAsync(cancel);
        return new UnguardedCrash(panic, away, gap);
    }

    /// <summary>Ends the loads and the guest, and compares what is there with what was promised.</summary>
    public async Task<IReadOnlyList<CheckStep>> FinishAsync(CancellationToken cancel = default)
    {
        var checks = new List<CheckStep>();
        await Redis.StopAsync();
        IReadOnlyList<string> wrong = await Redis.VerifyAsync(cancel).WaitAsync(TimeSpan.FromMinutes(1), cancel);
        checks.Add(Check("every acknowledged INCR is there", wrong, $"{Redis.Status.Acknowledged:N0} acknowledged"));
        FsckResult fsck = await Guest.ShutDownAsync(TimeSpan.FromMinutes(2), cancel) ?? throw new LabException("the guest had no disk");
        wrong = [.. _lostRecords, .. Records.Messages, .. await Records.VerifyAsync(Guest.DiskPath!, cancel)];
        checks.Add(Check("every fsynced record is there", wrong, $"{Records.Promised:N0} promised"));
        checks.Add(Check("the file system is clean", fsck.IsClean ? [] : [fsck.Output], "e2fsck found nothing to repair"));
        return checks;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await Redis.DisposeAsync();
        await Records.DisposeAsync();
    }

    internal static CheckStep Check(string what, IReadOnlyList<string> wrong, string detail) =>
        new(what, wrong.Count == 0, wrong.Count == 0 ? detail : string.Join("; ", wrong));

    /// <summary>After a reboot: what the recorder promised before has to be in its file before it writes on.</summary>
    private async Task RestartRecorderAsync(CancellationToken cancel)
    {
        long promised = Records.Promised;
        await Records.DisposeAsync();
        GuestCommandResult size = await AgainAsync($"stat -c %s /data/{Records.FileName}", cancel);
        if (!long.TryParse(size.Output.Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out long bytes) || bytes / RecordLoad.RecordSize < promised)
            _lostRecords.Add($"{promised} records were promised before the reboot, the file has {bytes / RecordLoad.RecordSize} after it");
        Records = await RecordLoad.StartAsync(Guest, Records.FileName, TimeSpan.FromMinutes(1), cancel);
    }

    /// <summary>Runs a command in a guest that is still coming up.</summary>
    private async Task<GuestCommandResult> AgainAsync(string command, CancellationToken cancel)
    {
        long deadline = Environment.TickCount64 + (long)RebootLimit.TotalMilliseconds;
        while (true)
        {
            try
            {
                return await Guest.RunAsync(command, TimeSpan.FromSeconds(5), cancel);
            }
            catch (Exception e) when (e is IOException or TimeoutException && Environment.TickCount64 < deadline)
            {
                await Task.Delay(100, cancel);
            }
        }
    }

    /// <summary>Lets go of a command that may never answer.</summary>
    private static async Task EndAsync(Task command, CancellationTokenSource done)
    {
        await done.CancelAsync();
        try
        {
            await command;
        }
        catch (Exception e) when (e is IOException or TimeoutException or OperationCanceledException)
        {
            // A guest that died does not answer: that is no news here.
        }
    }

    [GeneratedRegex(@"Kernel panic - not syncing[^\r\n]*")]
    private static partial Regex PanicLine();
}
