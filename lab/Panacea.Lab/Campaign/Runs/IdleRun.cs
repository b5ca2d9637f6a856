namespace Panacea.Lab.Campaign.Runs;

/// <summary>Nothing is promised.</summary>
internal sealed class IdleRun : IWorkloadRun
{
    /// <inheritdoc/>
    public Task<(IReadOnlyList<string> Failures, IReadOnlyList<string> Lost)> FinishAsync(TimeSpan limit, CancellationToken cancel) =>
        Task.FromResult<(IReadOnlyList<string>, IReadOnlyList<string>)>(([], []));

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
