namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>BUG(): <c>kernel BUG at mm/slub.c:435!</c> (lib/bug.c: __report_bug). Facts: file, line.</summary>
internal sealed class KernelBugDetector : ReportDetector
{
    public override LogReportKind Kind => LogReportKind.KernelBug;

    public override ReportEnd End => ReportEnd.Mark;

    public override bool IsCompletedBy(LogReportKind kind) => kind == LogReportKind.InvalidOpcode;

    public override bool Starts(string text, List<LogFact> facts)
    {
        if (Is(text, "kernel BUG at "))
        {
            AddSource(facts, text.AsSpan("kernel BUG at ".Length));
            return true;
        }

        // Without CONFIG_DEBUG_BUGVERBOSE.
        return Is(text, "Kernel BUG at ");
    }
}
