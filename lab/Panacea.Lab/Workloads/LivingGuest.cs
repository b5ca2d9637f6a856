using Panacea.Lab.Guests;

namespace Panacea.Lab.Workloads;

/// <summary>One thing that a living guest can do.</summary>
/// <param name="Name">What was tried.</param>
/// <param name="Failure">Null where it worked, else what came instead.</param>
public sealed record LifeSign(string Name, string? Failure);

/// <summary>The test of success is the living guest: does it still do what servers do?</summary>
public static class LivingGuest
{
    // Each prints nothing of interest and exits 0 when it worked.
    private static readonly (string Name, string Command)[] Tries =
    [
        ("fork and exec on every vCPU", "for cpu in $(grep ^processor /proc/cpuinfo | cut -d: -f2); do taskset -c $cpu /bin/true || exit 1; done"),
        ("write and fsync a file", "f=/data/life.$$; dd if=/dev/urandom of=$f bs=4k count=16 conv=fsync 2>/dev/null && [ $(wc -c < $f) = 65536 ] && rm $f"),
        ("connect by TCP on loopback", "nc -w 5 127.0.0.1 7000 < /dev/null"),
        ("load and unload a module", "insmod /modules/crashtest_extra.ko && rmmod crashtest_extra"),
        ("allocate and free memory", "dd if=/dev/zero of=/tmp/life.$$ bs=1M count=32 2>/dev/null && rm /tmp/life.$$"),
        ("sleep by timer", "sleep 0.01"),
        ("signal a process", "sleep 100 & kill $! && wait $!; [ $? = 143 ]"),
    ];

    /// <summary>Tries everything, each with its own time limit.</summary>
    /// <param name="guest">The guest.</param>
    /// <param name="limit">For each try; 15 s by default.</param>
    /// <param name="cancel">Gives up.</param>
    /// <param name="untilFailure">What comes after the first that fails is not tried: a guest that hangs would use up the time of each.</param>
    public static async Task<IReadOnlyList<LifeSign>> ProbeAsync(Guest guest, TimeSpan? limit = null, CancellationToken cancel = default, bool untilFailure = false)
    {
        var signs = new List<LifeSign>();
        foreach ((string name, string command) in Tries)
        {
            try
            {
                GuestCommandResult result = await guest.RunAsync(command, limit ?? TimeSpan.FromSeconds(15), cancel);
                signs.Add(new LifeSign(name, result.Succeeded ? null : $"status {result.Status}: {result.Output.Trim()}"));
            }
            catch (Exception e) when (e is IOException or TimeoutException)
            {
                signs.Add(new LifeSign(name, e.Message));
            }

            if (untilFailure && signs[^1].Failure is not null)
                break;
        }

        return signs;
    }
}
