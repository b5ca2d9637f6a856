namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>WARN(): <c>WARNING: CPU: 1 PID: 135 at file.c:12 name+0x1/0x20 [module]</c>, since 6.19 (commit 28ea295f941e) <c>WARNING: file.c:12 at name+0x1/0x20, CPU#1: sh/135</c> (kernel/panic.c: __warn). Facts: at, file, line, cpu, pid.</summary>
internal sealed class WarningDetector : ReportDetector
{
    public override LogReportKind Kind => LogReportKind.Warning;

    public override ReportEnd End => ReportEnd.Mark;

    public override bool Starts(string text, List<LogFact> facts)
    {
        if (Is(text, "WARNING: CPU: "))
        {
            AddNumber(facts, Cpu, text.AsSpan("WARNING: CPU: ".Length));
            AddNumber(facts, Pid, Between(text, " PID: ", " "));
            AddSource(facts, Between(text, " at ", " "));
            AddPlace(facts, At, text);
            return true;
        }

        if (!Is(text, "WARNING: ") || !Has(text, ", CPU#") || !Has(text, " at "))
            return false;
        AddSource(facts, Between(text, "WARNING: ", " at "));
        AddPlace(facts, At, Between(text, " at ", ", CPU#"));
        AddNumber(facts, Cpu, Between(text, ", CPU#", ":"));
        return true;
    }
}
