using Panacea.Lab.Guests;
using Panacea.Lab.Workloads;

namespace Panacea.Lab.Campaign.Runs;

/// <summary>The recorder has to go on, and every record that it promised has to be there.</summary>
/// <param name="guest">The guest.</param>
/// <param name="load">The recorder.</param>
internal sealed class RecordsRun(Guest guest, RecordLoad load) : IWorkloadRun
{
    private const int Steps = 5, MaxShown = 160;

    /// <inheritdoc/>
    public async Task<(IReadOnlyList<string> Failures, IReadOnlyList<string> Lost)> FinishAsync(TimeSpan limit, CancellationToken cancel)
    {
        try
        {
            await load.WaitForRecordsAsync(Steps, limit, cancel);

            // What had been promised before is read, as far as the page cache and the disk have it.
            long promised = load.Promised;
            GuestCommandResult read = await guest.RunAsync(RecordLoad.ReadCommand($"/data/{load.FileName}"), limit, cancel);
            if (read.Status != 0)
                return ([.. load.Messages, $"records: they can't be read: status {read.Status}, {Last(read.Output)}"], []);
            byte[] file = new byte[read.Output.Length];
            return Convert.TryFromBase64String(read.Output.ReplaceLineEndings(""), file, out int length)
                ? (load.Messages, RecordLoad.Check(file.AsSpan(..length), promised))
                : ([.. load.Messages, $"records: what was read of them is no Base64: {FirstThatIsNone(read.Output)}"], []);
        }
        catch (Exception e) when (e is IOException or TimeoutException or LabException)
        {
            return ([$"records: {e.Message}"], []);
        }
    }

    private static string Last(string output) => Shortened(output.TrimEnd().Split('\n')[^1]);

    private static string FirstThatIsNone(string output) => Shortened(output.Split('\n').FirstOrDefault(line => !System.Buffers.Text.Base64.IsValid(line)) ?? output);

    private static string Shortened(string line) => line.Length > MaxShown ? $"{line[..MaxShown]} …" : line;

    /// <inheritdoc/>
    public Task<IReadOnlyList<string>> CheckDiskAsync(string disk, CancellationToken cancel) => load.VerifyAsync(disk, cancel);

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => load.DisposeAsync();
}
