using Panacea.Lab.Guests;

namespace Panacea.Lab.Campaign.Runs;

/// <summary>Rounds of stress-ng have to go on ending well, and none may have found a wrong result or a changed pattern.</summary>
/// <param name="guest">The guest.</param>
internal sealed class StressRun(Guest guest) : IWorkloadRun
{
    private readonly GuestCount _rounds = new(guest, "stress", "round of stress-ng ended well");

    /// <inheritdoc/>
    public async Task<(IReadOnlyList<string> Failures, IReadOnlyList<string> Lost)> FinishAsync(TimeSpan limit, CancellationToken cancel)
    {
        var failures = new List<string>();
        IReadOnlyList<string> wrong = [];
        try
        {
            wrong = await _rounds.WrongAsync(limit, cancel);
            await _rounds.WaitForMoreAsync(limit, cancel);
            wrong = await _rounds.WrongAsync(limit, cancel);
        }
        catch (Exception e) when (e is IOException or TimeoutException or LabException)
        {
            failures.Add($"stress: {e.Message}");
        }

        return (failures, wrong);
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
