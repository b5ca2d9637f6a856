using System.Globalization;
using System.Runtime.CompilerServices;
using Panacea.Lab.Guests;

namespace Panacea.Lab.Workloads;

/// <summary>A service of a guest as a client on the host uses it: one operation after the other, each acknowledged by a number, without a pause.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Summary">What one operation is, in a clause.</param>
/// <param name="Starts">What starts with the guest for it.</param>
/// <param name="Keeps">The numbers say how much is durable: each is one more than the last, whatever happens to the guest in between. Else they count from the client's connection.</param>
public sealed record MeasuredService(string Name, string Summary, IReadOnlyList<string> Starts, bool Keeps)
{
    private const string Key = "panacea:lab:service";

    /// <summary>For each vCPU, as the shell has it.</summary>
    private const string Cpus = "$(grep ^processor /proc/cpuinfo | cut -d: -f2)";

    /// <summary>The command in the guest that serves, writing a number for each operation; null for redis, which has a protocol of its own.</summary>
    private string? Command { get; init; }

    /// <summary>Those whose clients notice that a guest stands still.</summary>
    public static IReadOnlyList<MeasuredService> All { get; } =
    [
        new("redis", "an INCR, on the disk before it is answered", ["redis"], true),
        new("records", "a record, written and fsynced to ext4", [], true) { Command = "exec recorder /data/service" },
        new("bank", "a transfer in SQLite, a process each, fsynced", ["accounts"], true) { Command = "exec start-accounts serve" },
        new("forks", "a fork, exec and exit on every vCPU at once", [], false)
        {
            Command = $"n=0; while :; do for cpu in {Cpus}; do taskset -c $cpu /bin/true & done; wait; n=$((n + 1)); echo $n; done",
        },
    ];

    /// <summary>Work for every vCPU that needs nothing of the kernel.</summary>
    public static MeasuredService Arithmetic { get; } = new("arithmetic", "3,000 multiplications in awk, on every vCPU", [], false)
    {
        Command = $"for cpu in {Cpus}; do taskset -c $cpu awk 'BEGIN {{ for (;;) {{ for (i = 0; i < 3000; i++) s += i * i; print ++n; fflush() }} }}' & done; wait",
    };

    /// <summary>The one of a name, or null.</summary>
    public static MeasuredService? Find(string name) => All.Append(Arithmetic).FirstOrDefault(s => s.Name == name);

    /// <summary>Ends what serves in a guest: it goes on without clients.</summary>
    /// <param name="guest">The guest.</param>
    /// <param name="cancel">Gives up.</param>
    public Task EndAsync(Guest guest, CancellationToken cancel = default) => Command is null ? Task.CompletedTask : guest.RunAsync($"{End}; rm -f {File}", null, cancel);

    /// <summary>Names the process group that serves.</summary>
    private string File => $"/run/service-{Name}";

    private string End => $"[ -s {File} ] && kill -9 -- -$(cat {File}) 2> /dev/null";

    /// <summary>Connects to a guest and is served until the connection breaks or it is cancelled.</summary>
    /// <param name="guest">The guest.</param>
    /// <param name="cancel">Ends it.</param>
    /// <returns>First null, when somebody in the guest answers; then the number of each operation, when it is acknowledged.</returns>
    /// <exception cref="IOException">The connection broke.</exception>
    internal IAsyncEnumerable<long?> ConnectAsync(Guest guest, CancellationToken cancel) => Command is { } command ? FollowAsync(guest, command, cancel) : IncrementAsync(guest, cancel);

    private async IAsyncEnumerable<long?> FollowAsync(Guest guest, string command, [EnumeratorCancellation] CancellationToken cancel)
    {
        // A request that is given up while the guest boots reaches it all the same, later: only one that does nothing is made again and again.
        await guest.Control.RunAsync("true", Timeout.InfiniteTimeSpan, cancel);
        yield return null;

        // Whom an earlier connection left behind serves nobody any more; a guest that was set back to a snapshot still has him.
        await foreach (string line in guest.Control.StreamLinesAsync($"{End}; echo $$ > {File}; {command}", cancel))
        {
            if (long.TryParse(line, NumberStyles.None, CultureInfo.InvariantCulture, out long number))
                yield return number;
        }
    }

    private static async IAsyncEnumerable<long?> IncrementAsync(Guest guest, [EnumeratorCancellation] CancellationToken cancel)
    {
        using RespClient redis = await RespClient.ConnectAsync(guest.RedisPort, cancel);
        await redis.CommandAsync(["PING"], cancel);
        yield return null;
        while (true)
        {
            string answer = await redis.CommandAsync(["INCR", Key], cancel);
            yield return long.TryParse(answer, NumberStyles.None, CultureInfo.InvariantCulture, out long number) ? number : throw new IOException($"redis answered: {answer}");
        }
    }
}
