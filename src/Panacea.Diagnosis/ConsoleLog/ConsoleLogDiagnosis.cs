using System.Text;
using Panacea.Formats;
using Panacea.Formats.ConsoleLog;

namespace Panacea.Diagnosis.ConsoleLog;

/// <summary>Diagnoses a console log: text alone, no guest, no symbols. Any bytes are a log; what is no report of the kernel is passed over.</summary>
public static class ConsoleLogDiagnosis
{
    /// <summary>Diagnoses a log of bytes: UTF-8, or UTF-16 with a byte order mark. Bytes that are neither are kept as replacement characters.</summary>
    /// <param name="log">The log; read to its end in one pass, not closed.</param>
    /// <param name="limits">Ceilings.</param>
    /// <exception cref="IOException">The log can't be read.</exception>
    public static LogDiagnosis Diagnose(Stream log, FormatLimits limits)
    {
        using var reader = new StreamReader(log, Encoding.UTF8, detectEncodingFromByteOrderMarks: true, bufferSize: 64 << 10, leaveOpen: true);
        return Diagnose(reader, limits);
    }

    /// <summary>Diagnoses a log of text.</summary>
    /// <param name="log">The log; read to its end in one pass, not closed.</param>
    /// <param name="limits">Ceilings.</param>
    public static LogDiagnosis Diagnose(TextReader log, FormatLimits limits)
    {
        var reader = new ConsoleLogReader(limits);
        IReadOnlyList<LogReport> reports = reader.Read(log, out LogStatistics statistics);
        List<LogCrash> crashes = LogRanking.Rank([.. reports.Select(LogCrashes.Diagnose)], reader.Boots, out int? first);
        crashes = CrashKernels.Explain(crashes, reports, reader.Boots);
        List<string> unavailable = [.. CrashKernels.Silent(crashes, reader.Boots)];
        if (reports.Count > 0 && reader.Boots[0].Banner is null)
            unavailable.Add("the log does not begin at boot: what came before its first line is not known");
        if (reports.Count > 0 && !statistics.HasTimestamps)
            unavailable.Add("time since boot: the lines have no time stamps of the kernel's");
        if (statistics.TruncatedLines > 0)
            unavailable.Add($"the ends of {statistics.TruncatedLines} lines: they are longer than {limits.MaxLogLineChars} characters");
        if (statistics.DroppedReports > 0)
            unavailable.Add($"{statistics.DroppedReports} later reports: a log of more than {limits.MaxLogReports} is diagnosed up to there");
        return new LogDiagnosis { Reports = crashes, First = first, Boots = reader.Boots, Log = statistics, Unavailable = unavailable };
    }
}
