using System.Globalization;
using Panacea.Lab.Guests;

namespace Panacea.Lab.Campaign.Runs;

/// <summary>Transfers have to go on, those that were acknowledged have to be there, and no money may have come or gone.</summary>
/// <param name="guest">The guest.</param>
internal sealed class BankRun(Guest guest) : IWorkloadRun
{
    private readonly GuestCount _transfers = new(guest, "bank", "transfer was acknowledged");

    /// <inheritdoc/>
    public async Task<(IReadOnlyList<string> Failures, IReadOnlyList<string> Lost)> FinishAsync(TimeSpan limit, CancellationToken cancel)
    {
        try
        {
            long acknowledged = await _transfers.WaitForMoreAsync(limit, cancel);
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

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
