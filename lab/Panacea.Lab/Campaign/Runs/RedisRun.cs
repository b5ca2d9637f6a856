using Panacea.Lab.Workloads;

namespace Panacea.Lab.Campaign.Runs;

/// <summary>redis has to go on answering, and to have what it acknowledged.</summary>
/// <param name="load">Its client.</param>
internal sealed class RedisRun(RedisLoad load) : IWorkloadRun
{
    private const int Steps = 10;

    /// <inheritdoc/>
    public async Task<(IReadOnlyList<string> Failures, IReadOnlyList<string> Lost)> FinishAsync(TimeSpan limit, CancellationToken cancel)
    {
        try
        {
            await load.WaitForAnswersAsync(Steps, limit, cancel);
            await load.StopAsync();
            return ([], await load.VerifyAsync(cancel).WaitAsync(limit, cancel));
        }
        catch (Exception e) when (e is IOException or TimeoutException or LabException)
        {
            // What it said before it fell silent is not to be contradicted by anything that comes.
            return ([$"redis: {e.Message}"], load.Status.Anomalies);
        }
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => load.DisposeAsync();
}
