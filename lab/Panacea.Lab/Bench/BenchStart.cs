using Panacea.Lab.Guests;
using Panacea.Lab.Setup;
using Panacea.Lab.Tour;

namespace Panacea.Lab.Bench;

/// <summary>How every benchmark begins: what it needs is there, its guests are built, its machine is on record.</summary>
internal static class BenchStart
{
    /// <summary>Makes sure of all that.</summary>
    /// <param name="options">What to measure.</param>
    /// <param name="progress">Where it shows that it goes on.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="LabException">Something is missing and could not be installed or built.</exception>
    public static async Task<BenchHost> PrepareAsync(BenchOptions options, ProgressLine progress, CancellationToken cancel)
    {
        bool yes = options.AssumeYes;
        IReadOnlyList<Prerequisite> missing = Prerequisites.Missing(PrerequisiteUse.Guests);
        if (!yes && missing.Count > 0)
            yes = options.Ask?.Invoke(missing) == true;

        // Before anything of ours makes the machine busy.
        double load = HostFacts.Load();
        await progress.DuringAsync("looking for what the benchmark needs", async report =>
        {
            await Prerequisites.EnsureAsync(PrerequisiteUse.Guests, yes, null, report, cancel);
            foreach (string line in options.Lines)
                await GuestBuilder.GetAsync(line, report, cancel);
            return true;
        });
        return (await HostFacts.ReadAsync((await options.Panacea.StartColdAsync(cancel)).Version, cancel)) with { Load = load };
    }
}
