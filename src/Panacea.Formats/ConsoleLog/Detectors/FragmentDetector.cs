namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>What is left of a report whose headline is not in the log. Begun by its lines, never by a headline.</summary>
internal sealed class FragmentDetector : ReportDetector
{
    public override LogReportKind Kind => LogReportKind.Fragment;

    public override bool Starts(string text, List<LogFact> facts) => false;
}
