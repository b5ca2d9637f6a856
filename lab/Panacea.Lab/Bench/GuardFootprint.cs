using System.Diagnostics;
using System.Globalization;
using Panacea.Lab.Tour;

namespace Panacea.Lab.Bench;

/// <summary>What a guard costs the host while nothing happens.</summary>
/// <param name="CpuShare">Processor time for each second, in seconds.</param>
/// <param name="ResidentBytes">Resident memory.</param>
/// <param name="ProportionalBytes">The same, shared pages by halves, thirds … (PSS).</param>
public sealed record GuardFootprint(double CpuShare, long ResidentBytes, long ProportionalBytes)
{
    /// <summary>Watches a guard for a while.</summary>
    /// <exception cref="LabException">The guard has ended.</exception>
    internal static async Task<GuardFootprint> WatchAsync(GuardProcess guard, TimeSpan time, CancellationToken cancel)
    {
        long started = Stopwatch.GetTimestamp();
        TimeSpan before = CpuClock.Of(guard.Pid);
        await Task.Delay(time, cancel);
        double share = (CpuClock.Of(guard.Pid) - before).TotalSeconds / Stopwatch.GetElapsedTime(started).TotalSeconds;
        return new GuardFootprint(share, guard.Usage().ResidentBytes, Proportional(await File.ReadAllTextAsync($"/proc/{guard.Pid}/smaps_rollup", cancel)));
    }

    /// <summary>The line "Pss:" of /proc/PID/smaps_rollup.</summary>
    internal static long Proportional(string text)
    {
        string line = text.Split('\n').FirstOrDefault(l => l.StartsWith("Pss:", StringComparison.Ordinal)) ?? throw new LabException("/proc/PID/smaps_rollup has no Pss");
        return long.Parse(line["Pss:".Length..].Replace("kB", "", StringComparison.Ordinal).Trim(), CultureInfo.InvariantCulture) * 1024;
    }
}
