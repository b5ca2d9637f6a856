namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>UBSAN: <c>UBSAN: array-index-out-of-bounds in drivers/x.c:123:45</c> (lib/ubsan.c). Facts: type, file, line, message.</summary>
internal sealed class UbsanDetector : ReportDetector
{
    public override LogReportKind Kind => LogReportKind.Ubsan;

    public override ReportEnd End => ReportEnd.Rule;

    public override bool Starts(string text, List<LogFact> facts)
    {
        if (!Is(text, "UBSAN: ") && !Is(text, "Internal error: UBSAN: "))
            return false;
        Add(facts, Type, Between(text, "UBSAN: ", " in "));
        ReadOnlySpan<char> source = Between(text, " in ", " ");
        int colon = source.LastIndexOf(':');
        if (colon > 0)
            AddSource(facts, source[..colon]);
        return true;
    }

    public override bool Owns(string text, List<LogFact> facts)
    {
        if (facts.Any(f => f.Name == Message)
            || !(Is(text, "index ") || Is(text, "shift exponent ") || Is(text, "signed integer overflow") || Is(text, "unsigned integer overflow") || Is(text, "load of ") || Is(text, "division by zero")
                || Is(text, "member access ") || Is(text, "left shift ") || Has(text, " cannot be represented in type ") || Is(text, "null pointer ") || Has(text, " address ")))
            return false;
        Add(facts, Message, text);
        return true;
    }
}
