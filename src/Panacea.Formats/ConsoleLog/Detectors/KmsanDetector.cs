namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>KMSAN: <c>BUG: KMSAN: uninit-value in name+0x1/0x20</c> (mm/kmsan/report.c). Facts: type, at, message.</summary>
internal sealed class KmsanDetector : ReportDetector
{
    public override LogReportKind Kind => LogReportKind.Kmsan;

    public override ReportEnd End => ReportEnd.Rule;

    public override bool HasManyStacks => true;

    public override bool Starts(string text, List<LogFact> facts)
    {
        if (!Is(text, "BUG: KMSAN: "))
            return false;
        Add(facts, Type, Between(text, "BUG: KMSAN: ", " in "));
        AddPlace(facts, At, Between(text, " in ", "\n"));
        return true;
    }

    public override bool Owns(string text, List<LogFact> facts)
    {
        if (!Is(text, "Bytes ") && !Is(text, "Byte "))
            return Is(text, "Memory access of size ") || Is(text, "Data copied to user address ") || Is(text, "Local variable ");
        Add(facts, Message, text);
        return true;
    }
}
