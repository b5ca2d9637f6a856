namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary><c>BUG: Bad page map in process sh  pte:… pmd:…</c> (mm/memory.c: print_bad_pte), <c>BUG: Bad rss-counter state mm:… type:MM_ANONPAGES val:1</c>, <c>BUG: non-zero pgtables_bytes on freeing mm: 4096</c> (kernel/fork.c: check_mm). Facts: comm, message, type.</summary>
internal sealed class BadPageMapDetector : ReportDetector
{
    private const string Head = "BUG: Bad page map in process ";

    public override LogReportKind Kind => LogReportKind.BadPageMap;

    public override bool Starts(string text, List<LogFact> facts)
    {
        if (Is(text, Head))
        {
            int pte = text.IndexOf(" pte:", StringComparison.Ordinal);
            Add(facts, Comm, pte > Head.Length ? text.AsSpan(Head.Length, pte - Head.Length) : text.AsSpan(Head.Length));
            Add(facts, Type, "page table entry");
            Add(facts, Message, text.AsSpan(5));
            return true;
        }

        if (!Is(text, "BUG: Bad rss-counter state") && !Is(text, "BUG: non-zero pgtables_bytes on freeing mm"))
            return false;
        Add(facts, Type, "counter");
        Add(facts, Message, text.AsSpan(5));
        return true;
    }

    public override bool Owns(string text, List<LogFact> facts) =>
        Is(text, "page:") || Is(text, "flags: ") || Is(text, "raw: ") || Is(text, "addr:") || Is(text, "file:") || Is(text, "page dumped because") || Is(text, "page_type");
}
