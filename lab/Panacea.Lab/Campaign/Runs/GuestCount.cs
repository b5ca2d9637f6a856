using System.Globalization;
using Panacea.Lab.Guests;

namespace Panacea.Lab.Campaign.Runs;

/// <summary>What a workload inside a guest tells of itself: /run/NAME has how far it is, /run/NAME.wrong what it found wrong.</summary>
/// <param name="guest">The guest.</param>
/// <param name="name">The workload.</param>
/// <param name="unit">What it counts.</param>
internal sealed class GuestCount(Guest guest, string name, string unit)
{
    private const int MaxWrong = 10;
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(100);

    /// <summary>How far it is.</summary>
    /// <param name="limit">For the guest's answer.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="LabException">It does not tell.</exception>
    /// <exception cref="IOException">The guest does not answer.</exception>
    /// <exception cref="TimeoutException">The guest does not answer in time.</exception>
    public async Task<long> ReadAsync(TimeSpan limit, CancellationToken cancel) =>
        long.TryParse((await guest.RunAsync($"cat /run/{name}", limit, cancel)).Output.Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out long number) ? number : throw new LabException("it does not tell how far it is");

    /// <summary>Waits until it is further than it is now: it goes on.</summary>
    /// <inheritdoc cref="ReadAsync"/>
    /// <returns>How far it is then.</returns>
    public async Task<long> WaitForMoreAsync(TimeSpan limit, CancellationToken cancel)
    {
        long before = await ReadAsync(limit, cancel), deadline = Environment.TickCount64 + (long)limit.TotalMilliseconds;
        while (true)
        {
            long now = await ReadAsync(limit, cancel);
            if (now > before)
                return now;
            if (Environment.TickCount64 > deadline)
                throw new TimeoutException($"no {unit} within {limit.TotalSeconds:0.#} s");
            await Task.Delay(Poll, cancel);
        }
    }

    /// <summary>What it found wrong, at most ten lines; empty where all was right.</summary>
    /// <inheritdoc cref="ReadAsync"/>
    public async Task<IReadOnlyList<string>> WrongAsync(TimeSpan limit, CancellationToken cancel)
    {
        string text = (await guest.RunAsync($"[ ! -e /run/{name}.wrong ] || head -n {MaxWrong} /run/{name}.wrong", limit, cancel)).Output;
        return [.. text.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Select(line => $"{name}: {line}")];
    }
}
