using System.Globalization;

namespace Panacea.Lab.Tour;

/// <summary>Reads the kernel's own figures of a process (proc(5)).</summary>
internal static class ProcStat
{
    /// <summary>USER_HZ: the unit of CPU time in /proc, 100 on every x86-64 Linux.</summary>
    private const double TicksPerSecond = 100;

    public static ProcessUsage Parse(string stat, string status)
    {
        // The name in parentheses may hold spaces and parentheses itself; after its last one comes field 3.
        string[] fields = stat[(stat.LastIndexOf(')') + 1)..].Split(' ', StringSplitOptions.RemoveEmptyEntries);
        if (fields.Length < 13)
            throw new LabException("/proc/PID/stat has too few fields");
        long ticks = long.Parse(fields[11], CultureInfo.InvariantCulture) + long.Parse(fields[12], CultureInfo.InvariantCulture);
        return new ProcessUsage(KiB(status, "VmRSS:"), KiB(status, "VmHWM:"), ticks / TicksPerSecond);
    }

    private static long KiB(string status, string name)
    {
        string line = status.Split('\n').FirstOrDefault(l => l.StartsWith(name, StringComparison.Ordinal))
            ?? throw new LabException($"/proc/PID/status has no {name}");
        return long.Parse(line[name.Length..].Replace("kB", "", StringComparison.Ordinal).Trim(), CultureInfo.InvariantCulture) * 1024;
    }
}
