namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>CONFIG_DEBUG_LIST: <c>list_add corruption. next->prev should be …</c> (lib/list_debug.c), before a BUG() or a WARN(). Fact: message.</summary>
internal sealed class ListCorruptionDetector : ReportDetector
{
    public override LogReportKind Kind => LogReportKind.ListCorruption;

    public override ReportEnd End => ReportEnd.Mark;

    public override bool IsCompletedBy(LogReportKind kind) => kind is LogReportKind.KernelBug or LogReportKind.Warning or LogReportKind.InvalidOpcode;

    public override bool Starts(string text, List<LogFact> facts)
    {
        if (!(Is(text, "list_add corruption") || Is(text, "list_del corruption") || Is(text, "list_add double add") || Is(text, "hlist_add corruption") || Is(text, "klist")))
            return false;
        if (Is(text, "klist") && !Has(text, "corruption"))
            return false;
        Add(facts, Message, text);
        return true;
    }
}
