using Panacea.Lab.Guests;

namespace Panacea.Lab.Campaign.Runs;

/// <summary>Every vCPU has to go on forking.</summary>
/// <param name="guest">The guest.</param>
internal sealed class ForksRun(Guest guest) : IWorkloadRun
{
    /// <inheritdoc/>
    public async Task<(IReadOnlyList<string> Failures, IReadOnlyList<string> Lost)> FinishAsync(TimeSpan limit, CancellationToken cancel)
    {
        try
        {
            // Each loop writes its file anew; a loop that was killed does not.
            GuestCommandResult told = await guest.RunAsync("rm -f /run/forks.*; for i in $(seq 50); do sleep 0.1; [ $(ls /run/forks.* 2> /dev/null | wc -l) = $(grep -c ^processor /proc/cpuinfo) ] && exit 0; done; exit 1", limit, cancel);
            return (told.Succeeded ? [] : ["forks: not every vCPU forks any more"], []);
        }
        catch (Exception e) when (e is IOException or TimeoutException)
        {
            return ([$"forks: {e.Message}"], []);
        }
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
