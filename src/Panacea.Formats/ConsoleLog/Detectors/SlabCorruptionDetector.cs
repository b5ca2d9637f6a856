namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>SLUB's own checks: <c>BUG kmalloc-64 (Tainted: G …): Right Redzone overwritten</c> (mm/slub.c: slab_bug), <c>cache_from_obj: Wrong slab cache. …</c> (mm/slab.h). Facts: "cache", type, message, "object".</summary>
internal sealed class SlabCorruptionDetector : ReportDetector
{
    public override LogReportKind Kind => LogReportKind.SlabCorruption;

    public override bool HasManyStacks => true;

    public override bool IsCompletedBy(LogReportKind kind) => kind is LogReportKind.KernelBug or LogReportKind.Warning or LogReportKind.InvalidOpcode;

    public override bool Starts(string text, List<LogFact> facts)
    {
        if (Is(text, "cache_from_obj: ") || Is(text, "kmem_cache_free: Wrong slab cache") || Is(text, "virt_to_cache: Object is not a Slab page!"))
        {
            Add(facts, Type, "wrong slab cache");
            Add(facts, Message, text);
            return true;
        }

        // 6.12 tells the damage before the header, 6.1 behind it.
        if (text[0] == '[' && Has(text, " First byte 0x"))
        {
            Add(facts, Type, Between(text, "[", "]"));
            Add(facts, Message, text);
            return true;
        }

        int end = text.IndexOf("): ", StringComparison.Ordinal), open = text.IndexOf(" (", StringComparison.Ordinal);
        if (!Is(text, "BUG ") || end < 0 || open < 4 || open > end || !(Has(text, "(Tainted: ") || Has(text, "(Not tainted)")))
            return false;
        Add(facts, "cache", text.AsSpan(4, open - 4));
        Add(facts, Type, text.AsSpan(end + 3));
        return true;
    }

    public override bool Owns(string text, List<LogFact> facts)
    {
        if (Is(text, "INFO: 0x") || Is(text, "0x") && Has(text, " First byte 0x"))
        {
            Add(facts, Message, text);
            return true;
        }

        if (Is(text, "Object 0x") || Is(text, "INFO: Object "))
        {
            Add(facts, "object", text);
            return true;
        }

        return Is(text, "FIX ") || Is(text, "INFO: ") || Is(text, "Slab 0x") || Is(text, "Redzone ") || Is(text, "Object  ") || Is(text, "Padding ") || Is(text, "Bytes b4 ") || Is(text, "Disabling lock debugging")
            || Is(text, "-----") || Is(text, "Allocated in ") || Is(text, "Freed in ") || Is(text, "Allocated by ");
    }

    public override bool Continues(IReadOnlyList<LogFact> had, IReadOnlyList<LogFact> has) =>
        !had.Any(f => f.Name == "cache") && has.Any(f => f.Name == "cache");
}
