using System.Globalization;
using Panacea.Daemon;

namespace Panacea.Lab.Bench;

/// <summary>One line of the table of figures.</summary>
/// <param name="What">What was measured.</param>
/// <param name="Values">One for each kernel.</param>
/// <param name="Goal">What it should be; empty where there is no goal.</param>
public sealed record BenchRow(string What, IReadOnlyList<string> Values, string Goal);

/// <summary>The table of figures, the same on the screen and in the document.</summary>
public static class BenchRows
{
    private const string None = "–";

    /// <summary>What is the same for all kernels is in the first row.</summary>
    public static IReadOnlyList<BenchRow> Of(BenchReport report)
    {
        BenchRow Row(string what, Func<KernelFigures, string> value, string goal = "") => new(what, [.. report.Kernels.Select(value)], goal);
        return
        [
            Row("crashes recovered from", k => $"{k.Recovered} of {k.Crashes}", "all"),
            Row("guest stopped per crash, median", k => Time(k.StoppedUs?.Median), "≤ 5 ms"),
            Row("guest stopped per crash, p99", k => Time(k.StoppedUs?.P99), "≤ 20 ms"),
            Row("guest stopped per crash, min / max", k => $"{Time(k.StoppedUs?.Min)} / {Time(k.StoppedUs?.Max)}"),
            Row("first crash / tenth crash", k => $"{Time(k.FirstUs)} / {Time(k.TenthUs)}", "first no slower"),
            Row("machine read for the report after, median / max", k => $"{Time(k.ReportUs?.Median)} / {Time(k.ReportUs?.Max)}", "≤ 150 ms"),
            Row("client's longest gap per crash, median / max", k => $"{Time(k.ClientGapUs?.Median)} / {Time(k.ClientGapUs?.Max)}"),
            Row("the same with no crash", k => $"{Time(k.QuietGapUs.Median)} / {Time(k.QuietGapUs.Max)}"),
            Row("reboot until redis answers, median", k => Time(k.RebootUs?.Median)),
            Row("reboot over standstill", k => k.Ratio is { } ratio ? Ratio(ratio) : None, "≥ 500×"),
            Row("repair image, size", k => Size(k.ImageBytes), "≤ 8 MiB"),
            Row("repair image, time to build", k => Time(k.ImageBuildUs), "< 1 s"),
            Row("guest held by arming", k => Time(k.ArmStoppedUs), "≤ 5 ms"),
            Row("armed, idle guard: resident memory", k => Size(k.IdleResidentBytes), "≤ 60 MiB"),
            Row("armed, idle guard: CPU", k => Cpu(k), "below measurement"),
            new("cold start of panacea --version, median", [Time(report.ColdStartUs.Median), .. report.Kernels.Skip(1).Select(_ => "")], "≤ 100 ms"),
        ];
    }

    /// <summary>A time in microseconds for a person.</summary>
    public static string Time(double? microseconds) => microseconds is { } us ? IncidentReport.Duration((long)Math.Round(us)) : None;

    internal static string Time(long? microseconds) => microseconds is { } us ? IncidentReport.Duration(us) : None;

    private static string Size(long bytes) => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1048576.0:0.0} MiB");

    private static string Ratio(double ratio) => string.Create(CultureInfo.InvariantCulture, $"{Math.Round(ratio):0}×");

    private static string Cpu(KernelFigures k) => string.Create(CultureInfo.InvariantCulture, $"{k.IdleCpuSeconds:0.00} s in {k.IdleSeconds:0} s");
}
