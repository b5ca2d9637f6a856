namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>KFENCE: <c>BUG: KFENCE: use-after-free read in name+0x1/0x20</c> (mm/kfence/report.c). Facts: type, access, at, address, "object", "cache", size.</summary>
internal sealed class KfenceDetector : ReportDetector
{
    public override LogReportKind Kind => LogReportKind.Kfence;

    public override ReportEnd End => ReportEnd.Rule;

    public override bool HasManyStacks => true;

    public override bool Starts(string text, List<LogFact> facts)
    {
        if (!Is(text, "BUG: KFENCE: "))
            return false;
        string type = Between(text, "BUG: KFENCE: ", " in ").ToString();
        if (type.EndsWith(" read", StringComparison.Ordinal) || type.EndsWith(" write", StringComparison.Ordinal))
        {
            int space = type.LastIndexOf(' ');
            Add(facts, Access, type.AsSpan(space));
            type = type[..space];
        }

        Add(facts, Type, type);
        AddPlace(facts, At, Between(text, " in ", "\n"));
        return true;
    }

    public override bool Owns(string text, List<LogFact> facts)
    {
        if (Is(text, "kfence-#"))
        {
            AddNumber(facts, Size, Between(text, "size=", ","));
            Add(facts, "cache", Between(text, "cache=", ","));
            return true;
        }

        if (!(Has(text, " at 0x") && (Has(text, "kfence-#") || Has(text, "access at"))) && !Is(text, "Corrupted memory at ") && !Is(text, "Invalid free of "))
            return false;
        Add(facts, Address, Between(text, " 0x", " "));
        Add(facts, "object", text.AsSpan().TrimEnd(':'));
        return true;
    }
}
