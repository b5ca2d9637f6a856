using System.Diagnostics;
using System.Globalization;
using Panacea.Lab.Setup;

namespace Panacea.Lab.Campaign;

/// <summary>A campaign as a whole: for each kernel and each workload one frozen guest, of which copies are tried.</summary>
/// <param name="options">What is tried.</param>
/// <param name="progress">Told what happens, with how far it is and how long it may take.</param>
public sealed class FaultCampaign(CampaignOptions options, Action<string> progress)
{
    /// <summary>Trials without a result, one after the other, after which the campaign ends; and trials from which the time that is left is estimated.</summary>
    private const int MaxFailed = 3, EnoughForEstimate = 3;

    /// <summary>Runs what has no result yet.</summary>
    /// <param name="cancel">Ends it: what has a result stays, and the next run goes on from there.</param>
    /// <returns>All results.</returns>
    /// <exception cref="LabException">A package of a workload can't be had, the guests can't be started, or the results are of another executable or seed.</exception>
    public async Task<IReadOnlyList<CampaignRecord>> RunAsync(CancellationToken cancel)
    {
        Directory.CreateDirectory(options.Directory);

        // What can't be had is said now, not when the campaign comes to it.
        foreach (string package in options.Workloads.SelectMany(w => w.Packages).Distinct())
            await UnpackedPackage.GetAsync(package, progress, cancel);
        var journal = CampaignJournal.Open(Path.Combine(options.Directory, CampaignResults.FileName), options.Panacea?.Path, options.Seed);
        int all = options.Lines.Sum(line => options.Workloads.Sum(w => options.TrialsOf(line, w).Count)), done = 0, ran = 0;
        long started = Stopwatch.GetTimestamp();
        foreach (string line in options.Lines)
        {
            string kernel = (await KernelPackages.GetAsync(line, false, progress, cancel)).Release;
            foreach (CampaignWorkload workload in options.Workloads)
            {
                IReadOnlyList<int> trials = options.TrialsOf(line, workload);
                int[] left = [.. trials.Where(trial => journal.Next(kernel, workload.Name, trial, options) is not null)];
                done += trials.Count - left.Length;
                if (left.Length == 0)
                    continue;
                using CampaignMachine machine = await CampaignMachine.StartAsync(line, workload, progress, cancel);
                var run = new CampaignRun(machine, line, workload, options, journal, text => progress($"{Far(done, all, ran, started)}  {text}"));
                int failed = 0;
                foreach (int trial in left)
                {
                    try
                    {
                        await run.RunAsync(trial, cancel);
                        failed = 0;
                    }
                    catch (Exception e) when (e is LabException or TimeoutException or IOException && ++failed < MaxFailed)
                    {
                        // A copy that did not come up says nothing of the fault: it has no result, and the next run of the campaign tries it again.
                        progress($"{line} {workload.Name} {trial}: no result: {e.Message}");
                    }

                    done++;
                    ran++;
                }
            }
        }

        return journal.Records;
    }

    private static string Far(int done, int all, int ran, long started)
    {
        string far = string.Create(CultureInfo.InvariantCulture, $"[{done}/{all}");
        if (ran < EnoughForEstimate)
            return far + "]";
        TimeSpan left = Stopwatch.GetElapsedTime(started) / ran * (all - done);
        return far + string.Create(CultureInfo.InvariantCulture, $", {(left.TotalHours >= 1 ? $"{left.TotalHours:0.0} h" : $"{left.TotalMinutes:0} min")} left]");
    }
}
