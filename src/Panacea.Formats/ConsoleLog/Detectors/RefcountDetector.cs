namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary><c>refcount_t: underflow; use-after-free.</c> (lib/refcount.c: refcount_warn_saturate), before a WARN(). Facts: message, type (what stands before the semicolon).</summary>
internal sealed class RefcountDetector : ReportDetector
{
    public override LogReportKind Kind => LogReportKind.Refcount;

    public override ReportEnd End => ReportEnd.Mark;

    public override bool IsCompletedBy(LogReportKind kind) => kind is LogReportKind.KernelBug or LogReportKind.Warning or LogReportKind.InvalidOpcode;

    public override bool Starts(string text, List<LogFact> facts)
    {
        if (!Is(text, "refcount_t: "))
            return false;
        Add(facts, Message, text);
        Add(facts, Type, Between(text, "refcount_t: ", ";"));
        return true;
    }
}
