using System.Globalization;
using Panacea.Lab.Guests;

namespace Panacea.Lab.Workloads;

/// <summary>What the counter process in a guest publishes (lab/guest/counter.c): state that lives in memory alone.</summary>
/// <param name="Pid">Its pid.</param>
/// <param name="Count">Counts since it started, about a hundred a second.</param>
/// <param name="LongestGap">The longest time between two counts, by the guest's clock.</param>
/// <param name="Damaged">Words of its memory that were not what it wrote there.</param>
public sealed record CounterStatus(int Pid, long Count, TimeSpan LongestGap, long Damaged)
{
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(50);

    /// <summary>Reads it.</summary>
    /// <exception cref="LabException">The counter does not run.</exception>
    public static Task<CounterStatus> ReadAsync(Guest guest, CancellationToken cancel = default) => ReadAsync(guest, null, cancel);

    /// <inheritdoc cref="ReadAsync(Guest, CancellationToken)"/>
    /// <param name="guest">The guest.</param>
    /// <param name="limit">For its answer; null for the usual one.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="IOException">The guest does not answer.</exception>
    /// <exception cref="TimeoutException">The guest does not answer in time.</exception>
    public static async Task<CounterStatus> ReadAsync(Guest guest, TimeSpan? limit, CancellationToken cancel)
    {
        GuestCommandResult result = await guest.RunAsync("cat /run/counter", limit, cancel);
        string[] fields = result.Output.Split('\n')[0].Split(' ');
        if (!result.Succeeded || fields.Length != 4)
            throw new LabException($"the counter does not run in the guest: {result.Output.Trim()}");
        long Field(int i) => long.Parse(fields[i], CultureInfo.InvariantCulture);
        return new CounterStatus((int)Field(0), Field(1), TimeSpan.FromMicroseconds(Field(2)), Field(3));
    }

    /// <summary>The same process has counted on since: it lives. What one that is gone has told stays.</summary>
    /// <inheritdoc cref="ReadAsync(Guest, TimeSpan?, CancellationToken)"/>
    public async Task<bool> GoesOnAsync(Guest guest, TimeSpan limit, CancellationToken cancel)
    {
        for (long deadline = Environment.TickCount64 + (long)limit.TotalMilliseconds; Environment.TickCount64 < deadline;)
        {
            await Task.Delay(Poll, cancel);
            if (await ReadAsync(guest, limit, cancel) is var now && now.Pid == Pid && now.Count > Count)
                return true;
        }

        return false;
    }
}
