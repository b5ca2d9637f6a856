using System.Text;
using Panacea.Diagnosis.ConsoleLog;
using Panacea.Formats;

namespace Panacea.Diagnosis.Tests.ConsoleLog;

/// <summary>The samples of console logs: captured from guests (<c>panacea-lab capture-logs</c>), and made by hand in the format of the kernel's source where Debian's kernels can't write such a report.</summary>
internal static class LogSamples
{
    /// <summary>The folder.</summary>
    public static string Root { get; } = FindRoot();

    /// <summary>Names relative to <see cref="Root"/>, without <c>.log</c>.</summary>
    public static IReadOnlyList<string> Names { get; } =
        [.. Directory.EnumerateFiles(Root, "*.log", SearchOption.AllDirectories).Select(f => Path.GetRelativePath(Root, f)[..^4]).Order(StringComparer.Ordinal)];

    /// <summary>The sample's bytes.</summary>
    public static byte[] Read(string name) => File.ReadAllBytes(Path.Combine(Root, name + ".log"));

    /// <summary>Its diagnosis.</summary>
    public static LogDiagnosis Diagnose(string name) => Diagnose(Read(name));

    /// <summary>The diagnosis of some bytes.</summary>
    public static LogDiagnosis Diagnose(byte[] log) => ConsoleLogDiagnosis.Diagnose(new MemoryStream(log), FormatLimits.Default);

    /// <summary>The diagnosis of some text.</summary>
    public static LogDiagnosis Diagnose(string[] lines) => Diagnose(Encoding.UTF8.GetBytes(string.Join('\n', lines)));

    /// <summary>The expectation: what stands in <c>NAME.expect</c>.</summary>
    public static string Expected(string name) => File.ReadAllText(Path.Combine(Root, name + ".expect")).ReplaceLineEndings("\n");

    /// <summary>What a diagnosis says, as expectations are written: the report to begin with, and the others' titles and ranks.</summary>
    public static string Summary(LogDiagnosis diagnosis)
    {
        var text = new StringBuilder();
        if (diagnosis.First is { } first)
        {
            LogCrash crash = diagnosis.Reports[first];
            text.Append($"title: {crash.Title}\nkind: {crash.Kind}\nfunction: {crash.Location?.Function ?? "-"}\nmodule: {crash.Location?.Module ?? "-"}\ncontext: {crash.Context}\ncomm: {crash.Comm ?? "-"}\n");
            if (crash.Source is not null)
                text.Append($"source: {crash.Source}\n");
        }

        for (int i = 0; i < diagnosis.Reports.Count; i++)
        {
            if (i != diagnosis.First)
                text.Append($"also: {diagnosis.Reports[i].Title} ({diagnosis.Reports[i].Rank})\n");
        }

        return text.ToString();
    }

    private static string FindRoot()
    {
        for (string? at = AppContext.BaseDirectory; at is not null; at = Path.GetDirectoryName(at))
        {
            if (File.Exists(Path.Combine(at, "Panacea.slnx")))
                return Path.Combine(at, "tests/Panacea.Formats.Tests/ConsoleLog/Samples");
        }

        throw new DirectoryNotFoundException("Panacea.slnx is not above the tests: run them from the source tree");
    }
}
