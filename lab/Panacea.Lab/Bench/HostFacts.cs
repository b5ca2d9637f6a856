using System.Globalization;
using System.Text.RegularExpressions;
using Panacea.Lab.Setup;

namespace Panacea.Lab.Bench;

/// <summary>Reads what a benchmark has to say of its machine.</summary>
public static partial class HostFacts
{
    /// <summary>Reads them now.</summary>
    /// <param name="panacea">What <c>panacea --version</c> says.</param>
    /// <param name="cancel">Gives up.</param>
    public static async Task<BenchHost> ReadAsync(string panacea, CancellationToken cancel)
    {
        string qemu = await HostCommand.MustAsync("qemu-system-x86_64", ["--version"], null, cancel);
        string cpuinfo = await File.ReadAllTextAsync("/proc/cpuinfo", cancel);
        string kernel = (await File.ReadAllTextAsync("/proc/sys/kernel/osrelease", cancel)).Trim();
        return new BenchHost(
            Cpu(cpuinfo), Environment.ProcessorCount, kernel, QemuVersion(qemu), panacea.Replace("panacea ", "", StringComparison.Ordinal), Load());
    }

    /// <summary>The load average of the last minute.</summary>
    public static double Load() => double.TryParse(File.ReadAllText("/proc/loadavg").Split(' ')[0], NumberStyles.Float, CultureInfo.InvariantCulture, out double value) ? value : 0;

    internal static string Cpu(string cpuinfo) => ModelName().Match(cpuinfo) is { Success: true } match ? match.Groups[1].Value.Trim() : "unknown";

    internal static string QemuVersion(string text) => Version().Match(text) is { Success: true } match ? match.Groups[1].Value : text.Split('\n')[0].Trim();

    [GeneratedRegex(@"^model name\s*:\s*(.+)$", RegexOptions.Multiline)]
    private static partial Regex ModelName();

    // "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)"
    [GeneratedRegex(@"version (\d+(\.\d+)+)")]
    private static partial Regex Version();
}
