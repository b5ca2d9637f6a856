using System.Globalization;
using Panacea.Lab.Guests;
using Panacea.Lab.Workloads;

namespace Panacea.Lab.Campaign;

/// <summary>The work of a guest during a run, and what it was promised meanwhile.</summary>
public interface IWorkloadRun : IAsyncDisposable
{
    /// <summary>Ends it and looks at what became of it.</summary>
    /// <param name="limit">For each of the things that the guest is asked.</param>
    /// <param name="cancel">Gives up.</param>
    /// <returns>What does not go on, and what was lost: both empty where all is well.</returns>
    Task<(IReadOnlyList<string> Failures, IReadOnlyList<string> Lost)> FinishAsync(TimeSpan limit, CancellationToken cancel);

    /// <summary>Checks what was promised against the disk of a guest that was shut down.</summary>
    /// <param name="disk">The disk.</param>
    /// <param name="cancel">Gives up.</param>
    /// <returns>What was lost.</returns>
    Task<IReadOnlyList<string>> CheckDiskAsync(string disk, CancellationToken cancel) => Task.FromResult<IReadOnlyList<string>>([]);
}

/// <summary>What guests of a campaign do.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Summary">What it is, in a clause.</param>
/// <param name="Services">Services that start with the guest.</param>
/// <param name="Prepare">A command that is run before the guest is frozen; null for none. What it leaves running is part of the work.</param>
/// <param name="BeginAsync">Begins a run of it, in a guest that has just gone on.</param>
public sealed record CampaignWorkload(string Name, string Summary, IReadOnlyList<string> Services, string? Prepare, Func<Guest, CancellationToken, Task<IWorkloadRun>> BeginAsync)
{
    private static readonly TimeSpan BeginLimit = TimeSpan.FromSeconds(8);

    /// <summary>All of them.</summary>
    public static IReadOnlyList<CampaignWorkload> All { get; } =
    [
        new("idle", "nothing but the guest's own daemons", ["counter"], null, (_, _) => Task.FromResult<IWorkloadRun>(new Idle())),
        new("redis", "redis, every write on the disk before it is acknowledged, under a client on the host", ["redis", "counter"], null,
            async (guest, cancel) => new Redis(await RedisLoad.StartAsync(guest.RedisPort, timeout: BeginLimit, cancel: cancel))),
        new("records", "a process that writes and fsyncs numbered records to ext4", ["counter"], null, async (guest, cancel) => new Records(guest, await RecordLoad.StartAsync(guest, timeout: BeginLimit, cancel: cancel))),
        new("bank", "SQLite with fsync: transfers between accounts, whose sum never changes", ["counter", "bank"], "for i in $(seq 200); do [ -s /run/bank ] && exit 0; sleep 0.1; done; exit 1",
            async (guest, cancel) => await Bank.StartAsync(guest, BeginLimit, cancel)),
        new("forks", "a storm of fork, exec and exit on every vCPU", ["counter"],
            "for cpu in $(grep ^processor /proc/cpuinfo | cut -d: -f2); do (trap '' HUP; while :; do taskset -c $cpu /bin/true; echo x > /run/forks.$cpu; done) > /dev/null 2>&1 < /dev/null & done",
            (guest, _) => Task.FromResult<IWorkloadRun>(new Forks(guest))),
    ];

    /// <summary>The one of a name, or null.</summary>
    public static CampaignWorkload? Find(string name) => All.FirstOrDefault(w => w.Name == name);

    private sealed class Idle : IWorkloadRun
    {
        public Task<(IReadOnlyList<string> Failures, IReadOnlyList<string> Lost)> FinishAsync(TimeSpan limit, CancellationToken cancel) =>
            Task.FromResult<(IReadOnlyList<string>, IReadOnlyList<string>)>(([], []));

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }

    private sealed class Redis(RedisLoad load) : IWorkloadRun
    {
        private const int Steps = 10;

        public async Task<(IReadOnlyList<string> Failures, IReadOnlyList<string> Lost)> FinishAsync(TimeSpan limit, CancellationToken cancel)
        {
            try
            {
                await load.WaitForAnswersAsync(Steps, limit, cancel);
                await load.StopAsync();
                return ([], await load.VerifyAsync(cancel).WaitAsync(limit, cancel));
            }
            catch (Exception e) when (e is IOException or TimeoutException or LabException)
            {
                // What it said before it fell silent is not to be contradicted by anything that comes.
                return ([$"redis: {e.Message}"], load.Status.Anomalies);
            }
        }

        public ValueTask DisposeAsync() => load.DisposeAsync();
    }

    private sealed class Records(Guest guest, RecordLoad load) : IWorkloadRun
    {
        private const int Steps = 5;

        public async Task<(IReadOnlyList<string> Failures, IReadOnlyList<string> Lost)> FinishAsync(TimeSpan limit, CancellationToken cancel)
        {
            try
            {
                await load.WaitForRecordsAsync(Steps, limit, cancel);

                // What had been promised before is read, as far as the page cache and the disk have it.
                long promised = load.Promised;
                string file = (await guest.RunAsync($"base64 /data/{load.FileName}", limit, cancel)).Output;
                return (load.Messages, RecordLoad.Check(Convert.FromBase64String(file.ReplaceLineEndings("")), promised));
            }
            catch (Exception e) when (e is IOException or TimeoutException or LabException or FormatException)
            {
                return ([$"records: {e.Message}"], []);
            }
        }

        public Task<IReadOnlyList<string>> CheckDiskAsync(string disk, CancellationToken cancel) => load.VerifyAsync(disk, cancel);

        public ValueTask DisposeAsync() => load.DisposeAsync();
    }

    private sealed class Bank(Guest guest, long before) : IWorkloadRun
    {
        private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(100);

        public static async Task<IWorkloadRun> StartAsync(Guest guest, TimeSpan limit, CancellationToken cancel) => new Bank(guest, await AcknowledgedAsync(guest, limit, cancel));

        public async Task<(IReadOnlyList<string> Failures, IReadOnlyList<string> Lost)> FinishAsync(TimeSpan limit, CancellationToken cancel)
        {
            try
            {
                long deadline = Environment.TickCount64 + (long)limit.TotalMilliseconds;
                while (await AcknowledgedAsync(guest, limit, cancel) <= before)
                {
                    if (Environment.TickCount64 > deadline)
                        throw new TimeoutException("no transfer was acknowledged");
                    await Task.Delay(Poll, cancel);
                }

                long acknowledged = await AcknowledgedAsync(guest, limit, cancel);
                GuestCommandResult told = await guest.RunAsync("sqlite3 -cmd '.timeout 5000' /data/bank.db 'PRAGMA integrity_check; SELECT sum(balance) FROM accounts; SELECT count(*) FROM transfers;'", limit, cancel);
                string[] lines = told.Output.Trim().Split('\n');
                var lost = new List<string>();
                if (!told.Succeeded || lines.Length != 3)
                    return ([$"bank: {told.Output.Trim()}"], []);
                if (lines[0] != "ok")
                    lost.Add($"bank: integrity check: {lines[0]}");
                if (lines[1] != "10000")
                    lost.Add($"bank: the accounts hold {lines[1]}, not 10000");
                if (!long.TryParse(lines[2], NumberStyles.None, CultureInfo.InvariantCulture, out long there) || there < acknowledged)
                    lost.Add($"bank: {acknowledged} transfers were acknowledged, {lines[2]} are there");
                return ([], lost);
            }
            catch (Exception e) when (e is IOException or TimeoutException or LabException)
            {
                return ([$"bank: {e.Message}"], []);
            }
        }

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;

        private static async Task<long> AcknowledgedAsync(Guest guest, TimeSpan limit, CancellationToken cancel) =>
            long.TryParse((await guest.RunAsync("cat /run/bank", limit, cancel)).Output.Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out long number) ? number : throw new LabException("the bank does not tell how far it is");
    }

    private sealed class Forks(Guest guest) : IWorkloadRun
    {
        public async Task<(IReadOnlyList<string> Failures, IReadOnlyList<string> Lost)> FinishAsync(TimeSpan limit, CancellationToken cancel)
        {
            try
            {
                // Each loop writes its file anew; a loop that was killed does not.
                GuestCommandResult told = await guest.RunAsync("rm -f /run/forks.*; for i in $(seq 50); do sleep 0.1; [ $(ls /run/forks.* 2> /dev/null | wc -l) = $(grep -c ^processor /proc/cpuinfo) ] && exit 0; done; exit 1", limit, cancel);
                return (told.Succeeded ? [] : ["forks: not every vCPU forks any more"], []);
            }
            catch (Exception e) when (e is IOException or TimeoutException)
            {
                return ([$"forks: {e.Message}"], []);
            }
        }

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }
}
