namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>Hardened usercopy: <c>usercopy: Kernel memory exposure attempt detected from SLUB object 'kmalloc-64' (offset 0, size 1024)!</c> (mm/usercopy.c: usercopy_abort), before a BUG().
/// Facts: message, access (read: exposed to user space; write: overwritten by it), "object", size.</summary>
internal sealed class UsercopyDetector : ReportDetector
{
    public override LogReportKind Kind => LogReportKind.Usercopy;

    public override ReportEnd End => ReportEnd.Mark;

    public override bool IsCompletedBy(LogReportKind kind) => kind is LogReportKind.KernelBug or LogReportKind.Warning or LogReportKind.InvalidOpcode;

    public override bool Starts(string text, List<LogFact> facts)
    {
        if (!Is(text, "usercopy: Kernel memory "))
            return false;
        Add(facts, Message, text);
        Add(facts, Access, Has(text, "exposure attempt") ? "read" : "write");
        Add(facts, "object", Between(text, "'", "'"));
        AddNumber(facts, Size, Between(text, "size ", ")"));
        return true;
    }
}
