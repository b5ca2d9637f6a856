namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary><c>BUG: Bad page state in process sh  pfn:1fcc5</c> (mm/page_alloc.c: bad_page). Facts: comm, "pfn", message (why it was dumped).</summary>
internal sealed class BadPageDetector : ReportDetector
{
    private const string Head = "BUG: Bad page state in process ";

    public override LogReportKind Kind => LogReportKind.BadPage;

    public override bool Starts(string text, List<LogFact> facts)
    {
        if (!Is(text, Head))
            return false;
        int pfn = text.LastIndexOf(" pfn:", StringComparison.Ordinal);
        Add(facts, Comm, pfn > Head.Length ? text.AsSpan(Head.Length, pfn - Head.Length) : text.AsSpan(Head.Length));
        Add(facts, "pfn", Between(text, " pfn:", " "));
        return true;
    }

    public override bool Owns(string text, List<LogFact> facts)
    {
        if (Is(text, "page dumped because: "))
        {
            Add(facts, Message, text.AsSpan("page dumped because: ".Length));
            return true;
        }

        return Is(text, "page:") || Is(text, "page: ") || Is(text, "flags: ") || Is(text, "raw: ") || Is(text, "page_type: ") || Is(text, "page_owner ") || Is(text, "invalid mapping:") || Is(text, "bad because of flags")
            || Is(text, "head:") || Is(text, "anon flags:") || Is(text, "aops:") || Is(text, "memcg:") || Is(text, "page ") || Is(text, "mapping");
    }
}
