using Panacea.Lab.Guests;
using Panacea.Lab.Workloads;

namespace Panacea.Lab.Campaign.Runs;

/// <summary>nginx has to go on answering, and no answer may have been wrong, neither to the client that waits for each nor to wrk.</summary>
internal sealed class NginxRun : IWorkloadRun
{
    private const int Steps = 10;

    private readonly HttpLoad _client;
    private readonly WrkLoad _wrk;
    private WrkResult? _counted;
    private bool _isOver;

    private NginxRun(HttpLoad client, WrkLoad wrk) => (_client, _wrk) = (client, wrk);

    /// <summary>Begins, and waits for the first right answer.</summary>
    /// <param name="guest">A guest that started nginx.</param>
    /// <param name="limit">For that.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="TimeoutException">There was none.</exception>
    /// <exception cref="LabException">wrk can't be started.</exception>
    public static async Task<IWorkloadRun> StartAsync(Guest guest, TimeSpan limit, CancellationToken cancel)
    {
        int port = guest.PortOf("nginx");
        HttpLoad client = await HttpLoad.StartAsync(port, limit, cancel);
        try
        {
            return new NginxRun(client, await WrkLoad.StartAsync(port, cancel));
        }
        catch
        {
            await client.DisposeAsync();
            throw;
        }
    }

    /// <inheritdoc/>
    public async Task<(IReadOnlyList<string> Failures, IReadOnlyList<string> Lost)> FinishAsync(TimeSpan limit, CancellationToken cancel)
    {
        var failures = new List<string>();
        try
        {
            if (!_isOver)
                await _client.WaitForAnswersAsync(Steps, limit, cancel);
            await _client.StopAsync();
            _isOver = true;
        }
        catch (TimeoutException e)
        {
            failures.Add($"nginx: {e.Message}");
        }

        // It tells at its end alone; whether nginx goes on, the other client says.
        _counted ??= await _wrk.StopAsync(cancel);
        List<string> wrong = [.. _client.Status.Wrong.Select(w => $"nginx: {w}")];
        if (_counted is { Wrong: > 0 } counted)
            wrong.Add($"nginx: {counted.Wrong} of wrk's {counted.Answers + counted.Wrong} answers were wrong: {counted.FirstWrong}");
        return (failures, wrong);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _client.DisposeAsync();
        await _wrk.DisposeAsync();
    }
}
