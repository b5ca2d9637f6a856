using Panacea.Lab.Workloads;

namespace Panacea.Lab.Campaign.Runs;

/// <summary>Messages have to go on coming back, and each as it was sent, in its turn.</summary>
/// <param name="load">The clients.</param>
internal sealed class NetworkRun(EchoLoad load) : IWorkloadRun
{
    private const int Steps = 10;

    /// <inheritdoc/>
    public async Task<(IReadOnlyList<string> Failures, IReadOnlyList<string> Lost)> FinishAsync(TimeSpan limit, CancellationToken cancel)
    {
        var failures = new List<string>();
        try
        {
            await load.WaitForAnswersAsync(Steps, limit, cancel);
        }
        catch (TimeoutException e)
        {
            failures.Add($"network: {e.Message}");
        }

        await load.StopAsync();
        return (failures, [.. load.Status.Wrong.Select(w => $"network: {w}")]);
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => load.DisposeAsync();
}
