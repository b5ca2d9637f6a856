using System.Globalization;
using System.Text;
using Panacea.Diagnosis.Rendering;

namespace Panacea.Lab.Bench;

/// <summary>What the generated parts of documents have in common.</summary>
internal static class BenchMarkdown
{
    /// <summary>From this load on, the machine had other work when the benchmark began.</summary>
    private const double SharedLoad = 0.5;

    /// <summary>When, where and how it was measured.</summary>
    /// <param name="text">Where to.</param>
    /// <param name="at">When.</param>
    /// <param name="host">Where.</param>
    /// <param name="command">The command that repeats it.</param>
    /// <param name="programs">Programs and their versions; null for QEMU and Panacea.</param>
    public static void Heading(StringBuilder text, DateTimeOffset at, BenchHost host, string command, IReadOnlyList<string>? programs = null)
    {
        string used = string.Join(", ", programs ?? [$"QEMU {host.Qemu}", $"Panacea {host.Panacea}"]);
        text.Append(CultureInfo.InvariantCulture, $"\nMeasured {at:yyyy-MM-dd} on {Safe.Markdown(host.Cpu)}, {host.Cpus} logical CPUs, {Safe.Markdown($"host kernel {host.Kernel}")}, {Safe.Markdown(used, leadsLine: false)}, ");
        text.Append(CultureInfo.InvariantCulture, $"load average {host.Load:0.0} at the start{(host.Load >= SharedLoad ? ": the host had other work too" : "")}, with\n\n    {command}\n\n");
    }

    /// <summary>A table's head: the first columns to the left, the rest, which are figures, to the right.</summary>
    public static void Head(StringBuilder text, IReadOnlyList<string> headers, int words)
    {
        Row(text, headers);
        Row(text, headers.Select((_, i) => i < words ? "---" : "---:"));
    }

    /// <summary>A row of a table.</summary>
    public static void Row(StringBuilder text, IEnumerable<string> cells) => text.Append("| ").AppendJoin(" | ", cells).Append(" |\n");

    /// <summary>What was not as it should be.</summary>
    public static void Failures(StringBuilder text, IEnumerable<string> failures)
    {
        foreach (string failure in failures)
            text.Append(CultureInfo.InvariantCulture, $"Not as it should be: {Safe.Markdown(failure, leadsLine: false)}\n\n");
    }
}
