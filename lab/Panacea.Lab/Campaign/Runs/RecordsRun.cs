using Panacea.Lab.Guests;
using Panacea.Lab.Workloads;

namespace Panacea.Lab.Campaign.Runs;

/// <summary>The recorder has to go on, and every record that it promised has to be there.</summary>
/// <param name="guest">The guest.</param>
/// <param name="load">The recorder.</param>
internal sealed class RecordsRun(Guest guest, RecordLoad load) : IWorkloadRun
{
    private const int Steps = 5;

    /// <inheritdoc/>
    public async Task<(IReadOnlyList<string> Failures, IReadOnlyList<string> Lost)> FinishAsync(TimeSpan limit, CancellationToken cancel)
    {
        try
        {
            await load.WaitForRecordsAsync(Steps, limit, cancel);

            // What had been promised before is read, as far as the page cache and the disk have it.
            long promised = load.Promised;
            string file = (await guest.RunAsync($"base64 /data/{load.FileName}", limit, cancel)).Output;
            return (load.Messages, RecordLoad.Check(Convert.FromBase64String(file.ReplaceLineEndings("")), promised));
        }
        catch (Exception e) when (e is IOException or TimeoutException or LabException or FormatException)
        {
            return ([$"records: {e.Message}"], []);
        }
    }

    /// <inheritdoc/>
    public Task<IReadOnlyList<string>> CheckDiskAsync(string disk, CancellationToken cancel) => load.VerifyAsync(disk, cancel);

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => load.DisposeAsync();
}
