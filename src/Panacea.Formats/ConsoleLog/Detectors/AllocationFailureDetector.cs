namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary><c>sh: page allocation failure: order:10, mode:0x…(GFP_KERNEL), …</c> (mm/page_alloc.c: warn_alloc), or a vmalloc that failed. Facts: comm, "order", "gfp", message.</summary>
internal sealed class AllocationFailureDetector : ReportDetector
{
    public override LogReportKind Kind => LogReportKind.AllocationFailure;

    public override bool Starts(string text, List<LogFact> facts)
    {
        int at = text.IndexOf(": page allocation failure: ", StringComparison.Ordinal);
        if (at < 0)
            at = text.IndexOf(": vmalloc error: ", StringComparison.Ordinal);
        if (at < 0)
            at = text.IndexOf(": vmalloc: allocation failure: ", StringComparison.Ordinal);
        if (at < 1)
            return false;
        Add(facts, Comm, text.AsSpan(0, at));
        AddNumber(facts, "order", Between(text, "order:", ","));
        Add(facts, "gfp", Between(text, "mode:", ", nodemask"));
        Add(facts, Message, text.AsSpan(at + 2));
        return true;
    }

    public override bool Owns(string text, List<LogFact> facts) => MemoryText.IsMemoryLine(text) || Is(text, "SLUB: ") || Is(text, "  cache: ") || Is(text, "  node ");
}
