using System.Globalization;
using Panacea.Lab.Guests;
using Panacea.Lab.Setup;

namespace Panacea.Lab.Campaign.Runs;

/// <summary>Transfers have to go on, those that were acknowledged have to be there, and no money may have come or gone.</summary>
/// <param name="guest">The guest.</param>
internal sealed class BankRun(Guest guest) : IWorkloadRun
{
    private const string Questions = "PRAGMA integrity_check; SELECT sum(balance) FROM accounts; SELECT count(*) FROM transfers;";

    private readonly GuestCount _transfers = new(guest, "bank", "transfer was acknowledged");
    private long _acknowledged;

    /// <inheritdoc/>
    public async Task<(IReadOnlyList<string> Failures, IReadOnlyList<string> Lost)> FinishAsync(TimeSpan limit, CancellationToken cancel)
    {
        try
        {
            long acknowledged = await _transfers.WaitForMoreAsync(limit, cancel);
            GuestCommandResult told = await guest.RunAsync($"sqlite3 -cmd '.timeout 5000' /data/bank.db '{Questions}'", limit, cancel);
            _acknowledged = acknowledged;
            return Read(told.Status, told.Output, acknowledged);
        }
        catch (Exception e) when (e is IOException or TimeoutException or LabException)
        {
            return ([$"bank: {e.Message}"], []);
        }
    }

    /// <inheritdoc/>
    public async Task<IReadOnlyList<string>> CheckDiskAsync(string disk, CancellationToken cancel)
    {
        string directory = LabPaths.NewRunDirectory(), file = Path.Combine(directory, "bank.db");
        try
        {
            await File.WriteAllBytesAsync(file, await DiskImage.ReadFileAsync(disk, "/bank.db", cancel), cancel);

            // What was committed last may be in the log alone; it is there as long as somebody has the database open.
            if (await DiskImage.TryReadFileAsync(disk, "/bank.db-wal", cancel) is { } log)
                await File.WriteAllBytesAsync(file + "-wal", log, cancel);
            HostCommandResult told = await HostCommand.RunAsync("sqlite3", [file, Questions], directory, cancel);
            (IReadOnlyList<string> failures, IReadOnlyList<string> lost) = Read(told.ExitCode, told.Output + told.Error, _acknowledged);
            return [.. failures.Concat(lost).Select(text => $"{text} (on the disk)")];
        }
        finally
        {
            Directory.Delete(directory, true);
        }
    }

    /// <summary>What sqlite3 said: the words of the integrity check, and behind them two numbers.</summary>
    /// <param name="status">Its exit status.</param>
    /// <param name="output">What it wrote.</param>
    /// <param name="acknowledged">Transfers that were acknowledged before it was asked.</param>
    internal static (IReadOnlyList<string> Failures, IReadOnlyList<string> Lost) Read(int status, string output, long acknowledged)
    {
        string[] lines = output.Trim().Split('\n');
        if (output.Contains("malformed", StringComparison.Ordinal) || output.Contains("not a database", StringComparison.Ordinal))
            return ([], [$"bank: {lines[^1]}"]);
        if (status != 0 || lines.Length < 3)
            return ([$"bank: status {status}, {output.Trim()}"], []);
        var lost = new List<string>();
        if (lines is not ["ok", _, _])
            lost.Add($"bank: integrity check: {lines[0]}");
        if (lines[^2] != "10000")
            lost.Add($"bank: the accounts hold {lines[^2]}, not 10000");
        if (!long.TryParse(lines[^1], NumberStyles.None, CultureInfo.InvariantCulture, out long there) || there < acknowledged)
            lost.Add($"bank: {acknowledged} transfers were acknowledged, {lines[^1]} are there");
        return ([], lost);
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
