namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>KCSAN: <c>BUG: KCSAN: data-race in a / b</c> (kernel/kcsan/report.c). Facts: type, "first", "second" (the functions, sorted as the kernel sorts them), message (value changed).</summary>
internal sealed class KcsanDetector : ReportDetector
{
    public override LogReportKind Kind => LogReportKind.Kcsan;

    public override ReportEnd End => ReportEnd.Rule;

    public override bool HasManyStacks => true;

    public override bool Starts(string text, List<LogFact> facts)
    {
        if (!Is(text, "BUG: KCSAN: "))
            return false;
        Add(facts, Type, Between(text, "BUG: KCSAN: ", " in "));
        ReadOnlySpan<char> functions = Between(text, " in ", "\n");
        int slash = functions.IndexOf(" / ", StringComparison.Ordinal);
        Add(facts, "first", slash < 0 ? functions : functions[..slash]);
        if (slash > 0)
            Add(facts, "second", functions[(slash + 3)..]);
        return true;
    }

    public override bool Owns(string text, List<LogFact> facts)
    {
        if (!Is(text, "value changed: "))
            return Is(text, "Reported by Kernel Concurrency Sanitizer");
        Add(facts, Message, text);
        return true;
    }
}
