using Panacea.Lab.Campaign.Runs;
using Panacea.Lab.Guests;
using Panacea.Lab.Workloads;

namespace Panacea.Lab.Campaign;

/// <summary>The work of a guest during a run, and what it was promised meanwhile.</summary>
public interface IWorkloadRun : IAsyncDisposable
{
    /// <summary>Ends it and looks at what became of it. Where it does not go on, it may be asked again: it may have been in the way of a crash.</summary>
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

    /// <summary>A command that is run before the guest is frozen, when it has been looked at what the work uses: ends what was begun for that and would go on in every copy, beside what begins there; null for none.</summary>
    public string? Clear { get; init; }

    /// <summary>The Debian package of the program on the host that keeps the guest busy; null where Panacea does it itself.</summary>
    public string? Client { get; init; }

    /// <summary>Debian packages that it takes besides what every guest has; they are downloaded and unpacked, not installed.</summary>
    public IReadOnlyList<string> Packages => [.. Services.Select(name => GuestService.Of(name).Package).Append(Client).OfType<string>()];

    /// <summary>All of them.</summary>
    public static IReadOnlyList<CampaignWorkload> All { get; } =
    [
        new("idle", "nothing but the guest's own daemons", ["counter"], null, (_, _) => Task.FromResult<IWorkloadRun>(new IdleRun())),
        new("redis", "redis, every write on the disk before it is acknowledged, under a client on the host", ["redis", "counter"], null,
            async (guest, cancel) => new RedisRun(await RedisLoad.StartAsync(guest.RedisPort, timeout: BeginLimit, cancel: cancel))),
        new("records", "a process that writes and fsyncs numbered records to ext4", ["counter"], null, async (guest, cancel) => new RecordsRun(guest, await RecordLoad.StartAsync(guest, timeout: BeginLimit, cancel: cancel))) { Clear = "killall recorder; while pidof recorder; do usleep 10000; done; true" },
        new("bank", "SQLite with fsync: transfers between accounts, whose sum never changes", ["counter", "bank"], Until("-s /run/bank"), (guest, _) => Task.FromResult<IWorkloadRun>(new BankRun(guest))),
        new("forks", "a storm of fork, exec and exit on every vCPU", ["counter"],
            "for cpu in $(grep ^processor /proc/cpuinfo | cut -d: -f2); do (trap '' HUP; while :; do taskset -c $cpu /bin/true; echo x > /run/forks.$cpu; done) > /dev/null 2>&1 < /dev/null & done",
            (guest, _) => Task.FromResult<IWorkloadRun>(new ForksRun(guest))),
        new("nginx", "nginx with files of known content, under wrk and a client that compares every byte", ["counter", "nginx"], Until("-s /run/nginx.pid"), async (guest, cancel) => await NginxRun.StartAsync(guest, BeginLimit, cancel)) { Client = WrkLoad.Package },
        new("fio", "fio on ext4: random writes with fsyncs, read back from the disk and verified", ["counter", "fio"], Until("-s /run/fio"), (guest, _) => Task.FromResult<IWorkloadRun>(new FioRun(guest))),
        new("stress", "stress-ng: computations and patterns in memory, which it verifies itself", ["counter", "stress"], Until("-s /run/stress"), (guest, _) => Task.FromResult<IWorkloadRun>(new StressRun(guest))),
        new("network", "a TCP echo under clients on the host, whose numbered messages come back intact and in order", ["counter", "echo"], null,
            async (guest, cancel) => new NetworkRun(await EchoLoad.StartAsync(guest.PortOf("echo"), BeginLimit, cancel))),
    ];

    /// <summary>The one of a name, or null.</summary>
    public static CampaignWorkload? Find(string name) => All.FirstOrDefault(w => w.Name == name);

    /// <summary>Waits for a condition, as <c>test</c> takes it, for 20 s.</summary>
    private static string Until(string condition) => $"for i in $(seq 200); do [ {condition} ] && exit 0; sleep 0.1; done; exit 1";
}
