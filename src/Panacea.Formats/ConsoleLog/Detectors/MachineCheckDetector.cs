namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>A hardware error: machine checks (arch/x86/kernel/cpu/mce/core.c: __print_mce), and what firmware reports through GHES (drivers/acpi/apei). Facts: cpu, "bank", "status", address, message.</summary>
internal sealed class MachineCheckDetector : ReportDetector
{
    private const string Mark = "[Hardware Error]: ";

    public override LogReportKind Kind => LogReportKind.MachineCheck;

    public override ReportEnd End => ReportEnd.Line;

    public override bool Starts(string text, List<LogFact> facts)
    {
        int at = text.IndexOf(Mark, StringComparison.Ordinal);
        if (at is < 0 or > 40)
            return false;
        Read(text, at, facts);
        return true;
    }

    public override bool Owns(string text, List<LogFact> facts)
    {
        int at = text.IndexOf(Mark, StringComparison.Ordinal);
        if (at is < 0 or > 40)
            return false;
        Read(text, at, facts);
        return true;
    }

    public override bool Continues(IReadOnlyList<LogFact> had, IReadOnlyList<LogFact> has) => !has.Any(f => f.Name == "bank") || !had.Any(f => f.Name == "bank");

    private static void Read(string text, int mark, List<LogFact> facts)
    {
        string rest = text[(mark + Mark.Length)..];
        if (Is(rest, "CPU ") && Has(rest, "Machine Check"))
        {
            AddNumber(facts, Cpu, rest.AsSpan(4));
            AddNumber(facts, "bank", Between(rest, "Bank ", ":"));
            int colon = rest.LastIndexOf(": ", StringComparison.Ordinal);
            if (colon > 0)
                Add(facts, "status", rest.AsSpan(colon + 2));
            Add(facts, Message, rest);
        }
        else if (Is(rest, "TSC ") || Is(rest, "RIP ") || Is(rest, "PROCESSOR ") || Is(rest, "Run the above "))
        {
            Add(facts, Address, Between(rest, "ADDR ", " "));
        }
        else
        {
            Add(facts, Message, rest);
        }
    }
}
