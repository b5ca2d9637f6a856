using Panacea.Lab.Workloads;

namespace Panacea.Lab.Campaign.Runs;

/// <summary>Messages have to go on coming back, and each as it was sent, in its turn.</summary>
/// <param name="load">The clients.</param>
internal sealed class NetworkRun(EchoLoad load) : IWorkloadRun
{
    private const int Steps = 10;

    private bool _isOver;

    /// <inheritdoc/>
    public async Task<(IReadOnlyList<string> Failures, IReadOnlyList<string> Lost)> FinishAsync(TimeSpan limit, CancellationToken cancel)
    {
        if (_isOver)
            return ([], Wrong());
        try
        {
            await load.WaitForAnswersAsync(Steps, limit, cancel);
        }
        catch (TimeoutException e)
        {
            return ([$"network: {e.Message}"], Wrong());
        }

        await load.StopAsync();
        _isOver = true;
        return ([], Wrong());
    }

    private IReadOnlyList<string> Wrong() => [.. load.Status.Wrong.Select(w => $"network: {w}")];

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => load.DisposeAsync();
}
