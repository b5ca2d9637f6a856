namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>KASAN: <c>BUG: KASAN: slab-use-after-free in name+0x1/0x20 [module]</c> (mm/kasan/report.c, report_generic.c). Facts: type, at, access, size, address, comm, pid, "cache", "object".</summary>
internal sealed class KasanDetector : ReportDetector
{
    public override LogReportKind Kind => LogReportKind.Kasan;

    public override ReportEnd End => ReportEnd.Rule;

    public override bool HasManyStacks => true;

    public override bool Starts(string text, List<LogFact> facts)
    {
        if (!Is(text, "BUG: KASAN: "))
            return false;
        Add(facts, Type, Between(text, "BUG: KASAN: ", " in "));
        AddPlace(facts, At, Between(text, " in ", "\n"));
        return true;
    }

    public override bool Owns(string text, List<LogFact> facts)
    {
        if (Is(text, "Read of size ") || Is(text, "Write of size "))
        {
            Add(facts, Access, Is(text, "Read") ? "read" : "write");
            AddNumber(facts, Size, Between(text, "of size ", " "));
            Add(facts, Address, Between(text, "at addr ", " "));
            int slash = text.LastIndexOf('/'), task = text.IndexOf("by task ", StringComparison.Ordinal);
            if (task > 0 && slash > task)
            {
                Add(facts, Comm, text.AsSpan(task + 8, slash - task - 8));
                AddNumber(facts, Pid, text.AsSpan(slash + 1));
            }

            return true;
        }

        if (Has(text, "which belongs to the cache "))
        {
            Add(facts, "cache", Between(text, "the cache ", " of size"));
            return true;
        }

        if (Is(text, "The buggy address is located "))
        {
            Add(facts, "object", text);
            return true;
        }

        return Is(text, "The buggy address ") || Is(text, "Memory state around ") || Is(text, " ffff") || Is(text, ">ffff") || Is(text, "page:") || Is(text, "flags:") || Is(text, "raw:")
            || Is(text, "page_type:") || Is(text, "page dumped because") || Is(text, "head:") || Has(text, " region [") || text.AsSpan().Trim() is "^" || text.AsSpan().Trim().StartsWith("^");
    }
}
