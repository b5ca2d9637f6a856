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
        foreach (LifeSign sign in await LivingGuest.ProbeAsync(guest, limit, cancel, untilFailure: true))
        {
            if (sign.Failure is not null)
                return [$"{sign.Name}: {sign.Failure}"];
        }

        try
        {
            string[] told = (await guest.RunAsync("grep -E '^(held|wrong):' /dev/crashtest-matrix", limit, cancel)).Output.Trim().Split('\n');
            if (told is not [{ } held, { } wrong] || !held.StartsWith("held:", StringComparison.Ordinal) || !wrong.StartsWith("wrong:", StringComparison.Ordinal))
                return [.. failures, $"the driver says: {string.Join(' ', told)}"];
            if (held["held:".Length..].Trim() is { Length: > 0 } locks)
                failures.Add($"left locked: {locks}");
            if (wrong["wrong:".Length..].Trim() is { Length: > 0 } what)
                failures.Add($"healed, and not what it was: {what}");

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
        // One awk for all: a process for each task would take longer than all else of a cell.
        const string Command = """
            cat /proc/[0-9]*/status 2> /dev/null | awk 'function tell() { if (s == "D") print n, p, c; c = "" } /^Name:/ { tell(); n = $2 } /^State:/ { s = $2 } /^Pid:/ { p = $2 } /ctxt_switches/ { c = c " " $2 } END { tell() }'
            """;
        return [.. (await guest.RunAsync(Command, limit, cancel)).Output.Split('\n', StringSplitOptions.RemoveEmptyEntries)];
    }
}
