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
    /// <summary>Reads it.</summary>
    /// <exception cref="LabException">The counter does not run.</exception>
    public static async Task<CounterStatus> ReadAsync(Guest guest, CancellationToken cancel = default)
    {
        GuestCommandResult result = await guest.RunAsync("cat /run/counter", null, cancel);
        string[] fields = result.Output.Split('\n')[0].Split(' ');
        if (!result.Succeeded || fields.Length != 4)
            throw new LabException($"the counter does not run in the guest: {result.Output.Trim()}");
        long Field(int i) => long.Parse(fields[i], CultureInfo.InvariantCulture);
        return new CounterStatus((int)Field(0), Field(1), TimeSpan.FromMicroseconds(Field(2)), Field(3));
    }
}
