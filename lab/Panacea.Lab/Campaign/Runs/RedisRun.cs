using Panacea.Lab.Guests;
using Panacea.Lab.Workloads;

namespace Panacea.Lab.Campaign.Runs;

/// <summary>redis has to go on answering, and to have what it acknowledged.</summary>
/// <param name="load">Its client.</param>
internal sealed class RedisRun(RedisLoad load) : IWorkloadRun
{
    private const int Steps = 10;

    private bool _isOver;

    /// <inheritdoc/>
    public async Task<(IReadOnlyList<string> Failures, IReadOnlyList<string> Lost)> FinishAsync(TimeSpan limit, CancellationToken cancel)
    {
        try
        {
            if (!_isOver)
            {
                await load.WaitForAnswersAsync(Steps, limit, cancel);
                await load.StopAsync();
                _isOver = true;
            }

            return ([], await load.VerifyAsync(cancel).WaitAsync(limit, cancel));
        }
        catch (Exception e) when (e is IOException or TimeoutException or LabException)
        {
            // What it said before it fell silent is not to be contradicted by anything that comes.
            return ([$"redis: {e.Message}"], load.Status.Anomalies);
        }
    }

    /// <inheritdoc/>
    public async Task<IReadOnlyList<string>> CheckDiskAsync(string disk, CancellationToken cancel) => load.VerifyLog(await DiskImage.ReadFileAsync(disk, "/redis/appendonlydir/appendonly.aof.1.incr.aof", cancel));

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => load.DisposeAsync();
}
