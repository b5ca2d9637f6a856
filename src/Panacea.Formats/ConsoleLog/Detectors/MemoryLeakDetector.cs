namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>kmemleak: <c>kmemleak: 3 new suspected memory leaks</c> and the objects (mm/kmemleak.c). Facts: "count", size, comm, pid.</summary>
internal sealed class MemoryLeakDetector : ReportDetector
{
    public override LogReportKind Kind => LogReportKind.MemoryLeak;

    public override bool Starts(string text, List<LogFact> facts)
    {
        if (Is(text, "unreferenced object 0x"))
        {
            AddNumber(facts, Size, Between(text, "(size ", ")"));
            return true;
        }

        if (!Is(text, "kmemleak: ") || !Has(text, "suspected memory leaks"))
            return false;
        AddNumber(facts, "count", text.AsSpan("kmemleak: ".Length));
        return true;
    }

    public override bool Owns(string text, List<LogFact> facts)
    {
        if (Is(text, "  comm \""))
        {
            int close = text.LastIndexOf("\", pid ", StringComparison.Ordinal);
            if (close > 8)
            {
                Add(facts, Comm, text.AsSpan(8, close - 8));
                AddNumber(facts, Pid, text.AsSpan(close + 7));
            }

            return true;
        }

        return Is(text, "  hex dump") || Is(text, "    ") || Is(text, "  backtrace") || Is(text, "  jiffies");
    }

    public override bool Continues(IReadOnlyList<LogFact> had, IReadOnlyList<LogFact> has) => !had.Any(f => f.Name == Size);
}
