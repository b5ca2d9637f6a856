using System.Globalization;

namespace Panacea.Lab.Bench.Scale;

/// <summary>What the host has room for.</summary>
internal static class HostMemory
{
    /// <summary>Bytes that can be had without swapping (MemAvailable of /proc/meminfo).</summary>
    public static long Available() => Parse(File.ReadAllText("/proc/meminfo"));

    /// <summary>Reads that line.</summary>
    /// <exception cref="LabException">There is none.</exception>
    internal static long Parse(string text)
    {
        string line = text.Split('\n').FirstOrDefault(l => l.StartsWith("MemAvailable:", StringComparison.Ordinal)) ?? throw new LabException("/proc/meminfo has no MemAvailable");
        return long.Parse(line["MemAvailable:".Length..].Replace("kB", "", StringComparison.Ordinal).Trim(), CultureInfo.InvariantCulture) * 1024;
    }
}
