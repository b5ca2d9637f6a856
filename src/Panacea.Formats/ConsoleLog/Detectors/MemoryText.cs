namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>The table that show_mem() writes (mm/show_mem.c, mm/page_alloc.c before 6.5).</summary>
internal static class MemoryText
{
    private static readonly string[] Starts =
    [
        "Mem-Info:", "active_anon:", " active_file:", " unevictable:", " slab_reclaimable:", " mapped:", " kernel_misc_reclaimable:", " free:", " inactive", " isolated", " sec_pagetables:", "Node ", "lowmem_reserve[]:", "DMA",
        "Normal", "HighMem", "Free swap", "Total swap", "Swap cache stats:", "HugeTLB", "Percpu:", " swap", " workingset", " writeback", " anon", "hugetlb",
    ];

    public static bool IsMemoryLine(string text)
    {
        foreach (string start in Starts)
        {
            if (text.StartsWith(start, StringComparison.Ordinal))
                return true;
        }

        return text.Length > 6 && char.IsAsciiDigit(text[0])
            && (text.EndsWith(" pages RAM", StringComparison.Ordinal) || text.EndsWith(" pages reserved", StringComparison.Ordinal) || text.EndsWith(" pages HighMem/MovableOnly", StringComparison.Ordinal)
                || text.EndsWith(" pages in swap cache", StringComparison.Ordinal) || text.EndsWith(" total pagecache pages", StringComparison.Ordinal) || text.EndsWith(" pages hwpoisoned", StringComparison.Ordinal)
                || text.EndsWith(" pages cma reserved", StringComparison.Ordinal));
    }
}
