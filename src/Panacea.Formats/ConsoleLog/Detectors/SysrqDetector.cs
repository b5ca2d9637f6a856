namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>The magic SysRq key: <c>sysrq: Trigger a crash</c> (drivers/tty/sysrq.c). Fact: message (what was asked for).</summary>
internal sealed class SysrqDetector : ReportDetector
{
    public override LogReportKind Kind => LogReportKind.Sysrq;

    public override ReportEnd End => ReportEnd.Line;

    public override bool Starts(string text, List<LogFact> facts)
    {
        string? rest = Is(text, "sysrq: ") ? text[7..] : Is(text, "sysrq : ") ? text[8..] : Is(text, "SysRq : ") ? text[8..] : null;
        if (rest is null)
            return false;
        Add(facts, Message, rest);
        return true;
    }
}
