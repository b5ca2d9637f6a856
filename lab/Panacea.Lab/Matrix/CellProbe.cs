using Panacea.Lab.Guests;
using Panacea.Lab.Workloads;

namespace Panacea.Lab.Matrix;

/// <summary>Does a guest live after a cell?</summary>
public static class CellProbe
{
    /// <summary>The guest does what servers do, and none of the driver's locks is left behind.</summary>
    /// <param name="guest">The guest.</param>
    /// <param name="mayFreeze">One task was frozen, and is to be in D state.</param>
    /// <param name="limit">Given to each of the things that it is to do.</param>
    /// <param name="cancel">Gives up.</param>
    /// <returns>What it could not do, at most some; empty where it lives.</returns>
    public static async Task<IReadOnlyList<string>> RunAsync(Guest guest, bool mayFreeze, TimeSpan limit, CancellationToken cancel)
    {
        var failures = new List<string>();
        foreach (LifeSign sign in await LivingGuest.ProbeAsync(guest, limit, cancel))
        {
            if (sign.Failure is not null)
                failures.Add($"{sign.Name}: {sign.Failure}");
            if (failures.Count > 1)
                return failures;
        }

        try
        {
            string held = (await guest.RunAsync("grep ^held: /dev/crashtest-matrix", limit, cancel)).Output.Trim();
            if (held != "held:")
                failures.Add($"left locked:{held["held:".Length..]}");

            // Who waits for the disk is in that state for a moment: stuck is who has not been switched to in between.
            HashSet<string> before = await SleepersAsync(guest, limit, cancel);
            for (int look = 0; look < 3 && before.Count > 0; look++)
            {
                await Task.Delay(300, cancel);
                before.IntersectWith(await SleepersAsync(guest, limit, cancel));
            }

            if (!mayFreeze || before.Count != 1)
                failures.AddRange(before.Select(b => $"left in D state: {b}"));
        }
        catch (Exception e) when (e is TimeoutException or IOException)
        {
            failures.Add($"the driver's locks: {e.Message}");
        }

        return failures;
    }

    /// <summary>Tasks in D state, each with how often it was switched away from.</summary>
    private static async Task<HashSet<string>> SleepersAsync(Guest guest, TimeSpan limit, CancellationToken cancel)
    {
        const string Command = "for t in /proc/[0-9]*/status; do awk '/^Name:/{n=$2} /^State:/{s=$2} /^Pid:/{p=$2} /ctxt_switches/{c=c\" \"$2} END{if(s==\"D\")print n, p, c}' $t; done 2> /dev/null";
        return [.. (await guest.RunAsync(Command, limit, cancel)).Output.Split('\n', StringSplitOptions.RemoveEmptyEntries)];
    }
}
