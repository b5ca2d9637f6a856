using Panacea.Diagnosis.ConsoleLog;
using Panacea.Diagnosis.Rendering;
using Panacea.Formats;

namespace Panacea.Diagnosis.Tests.ConsoleLog;

/// <summary>Entries for a fuzzer and for the smoke test. Any bytes are a log: a target returns, whatever they are.</summary>
public static class FuzzTargets
{
    /// <summary>Reads, diagnoses and renders a log.</summary>
    public static void ConsoleLog(ReadOnlySpan<byte> data)
    {
        LogDiagnosis diagnosis = ConsoleLogDiagnosis.Diagnose(new MemoryStream(data.ToArray()), FormatLimits.Default);
        Assert.True(diagnosis.First is null == (diagnosis.Reports.Count == 0));
        for (int i = 0; i < diagnosis.Reports.Count; i++)
        {
            LogCrash crash = diagnosis.Reports[i];
            Assert.True(crash.Title.Length is > 0 and < 2000 && crash.Cause.Length > 0 && crash.Bucket.Length == 16);
            Assert.True(crash.FollowsFrom is not { } from || (from != i && from >= 0 && from < diagnosis.Reports.Count));
        }

        string text = LogMarkdown.Render(diagnosis);
        Assert.True(text.All(c => c == '\n' || (!char.IsControl(c) && c is not ('\u202e' or '\u2066' or '\u2028' or '\u200f'))), "a control character of the log reached the document");
    }
}
