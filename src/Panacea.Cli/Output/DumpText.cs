using System.Globalization;
using Panacea.Diagnosis.Rendering;
using Panacea.Sessions.Dumping;

namespace Panacea.Cli.Output;

/// <summary>Dumps in words.</summary>
internal static class DumpText
{
    /// <summary><c>42 %, 120 of 285 MB, 310 MB/s</c>.</summary>
    public static string Progress(DumpProgress progress) => string.Create(
        CultureInfo.InvariantCulture, $"{progress.Percent} %, {progress.DoneBytes / 1e6:0} of {progress.TotalBytes / 1e6:0} MB, {progress.MegabytesPerSecond:0} MB/s");

    /// <summary><c>61.2 MB (58.0 MB on the disk) of 536.9 MB of memory</c>.</summary>
    public static string Size(DumpRecord dump) => dump.WrittenBytes < dump.FileBytes
        ? $"{Megabytes(dump.FileBytes)} ({Megabytes(dump.WrittenBytes)} on the disk) of {Megabytes(dump.MemoryBytes)} of memory"
        : $"{Megabytes(dump.FileBytes)} of {Megabytes(dump.MemoryBytes)} of memory";

    /// <summary>What was left out, or why nothing was.</summary>
    public static string LeftOut(DumpRecord dump)
    {
        if (dump.WhyWhole is { } why)
            return $"nothing was left out: {Safe.Text(why, 512)}";
        List<string> parts = [];
        Add(dump.LeftOut.Free, "free memory");
        Add(checked(dump.LeftOut.Cache + dump.LeftOut.PrivateCache), "page cache");
        Add(dump.LeftOut.User, "memory of processes");
        Add(dump.LeftOut.Poisoned, "memory with hardware errors");
        return parts.Count == 0 ? "nothing was left out" : $"left out: {string.Join(", ", parts)}";

        void Add(long bytes, string what)
        {
            if (bytes > 0)
                parts.Add($"{Megabytes(bytes)} of {what}");
        }
    }

    private static string Megabytes(long bytes) => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e6:0.0} MB");
}
