namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary><c>Uhhuh. NMI received for unknown reason 30 on CPU 0.</c> and the NMIs for a parity or I/O check error (arch/x86/kernel/nmi.c). Facts: cpu, "reason", message.</summary>
internal sealed class UnknownNmiDetector : ReportDetector
{
    public override LogReportKind Kind => LogReportKind.UnknownNmi;

    public override ReportEnd End => ReportEnd.Line;

    public override bool Starts(string text, List<LogFact> facts)
    {
        if (!Has(text, "NMI received for unknown reason ") && !Is(text, "NMI: PCI system error (SERR)") && !Is(text, "NMI: IOCK error"))
            return false;
        Add(facts, "reason", Between(text, "reason ", " on CPU"));
        AddNumber(facts, Cpu, Between(text, "on CPU ", "."));
        Add(facts, Message, text);
        return true;
    }

    public override bool Owns(string text, List<LogFact> facts) =>
        Is(text, "Dazed and confused") || Is(text, "Do you have a strange power saving mode enabled");
}
