using Panacea.Formats.Vmcore;

namespace Panacea.Formats.Tests.Vmcore;

/// <summary>One entry per dump format, for a fuzzer and for the smoke test: whatever the bytes, a target returns, and what it was given stays within the limits.</summary>
public static class DumpFuzzTargets
{
    private static readonly FormatLimits Small = FormatLimits.Default with
    {
        MaxDumpSegments = 1000,
        MaxDumpNotes = 100,
        MaxDumpNoteBytes = 1 << 16,
        MaxFlattenedRecords = 1000,
        MaxDumpPages = 1 << 20,
        MaxMemoryRanges = 100,
    };

    /// <summary>An ELF core.</summary>
    public static void Elf(ReadOnlySpan<byte> data) => Elf(new MemoryDumpBytes(data.ToArray()));

    /// <summary>One file of a kdump-compressed dump.</summary>
    public static void Kdump(ReadOnlySpan<byte> data) => Kdump(new MemoryDumpBytes(data.ToArray()));

    /// <summary>A flattened dump, and what is in it.</summary>
    public static void Flattened(ReadOnlySpan<byte> data)
    {
        if (!FlattenedDump.TryOpen(new MemoryDumpBytes(data.ToArray()), Small, out FlattenedDump dump, out string whyNot))
        {
            Require(whyNot.Length > 0);
            return;
        }

        Require(dump.Length >= 0);
        byte[] into = new byte[100];
        for (int i = 0; i < 50; i++)
            Require(dump.Read(dump.Length / 50 * i, into) is >= 0 and <= 100);
        Elf(dump);
        Kdump(dump);
    }

    /// <summary>What a file is.</summary>
    public static void Kind(ReadOnlySpan<byte> data)
    {
        bool isDump = DumpDetector.TryDetect(new MemoryDumpBytes(data.ToArray()), out DumpKind kind, out string whyNot);
        Require(isDump == (whyNot.Length == 0) && (isDump || kind == DumpKind.Raw));
        Require(DumpDetector.IsMarked(data[..Math.Min(data.Length, DumpDetector.LookBytes)]) == (kind != DumpKind.Raw || (!isDump && whyNot != "an empty file" && !whyNot.Contains("too short", StringComparison.Ordinal))));
    }

    /// <summary>A block of LZO1X.</summary>
    public static void Lzo(ReadOnlySpan<byte> data)
    {
        byte[] page = new byte[4096];
        if (Lzo1x.TryDecompress(data, page, out int written))
            Require(written <= page.Length);
    }

    private static void Elf(IDumpBytes file)
    {
        if (!ElfCore.TryRead(file, Small, out ElfCore core, out string whyNot))
        {
            Require(whyNot.Length > 0);
            return;
        }

        Require(core.Ranges.Count is > 0 and <= 100 && core.Notes.Status.Count <= 100 && core.Extents.Count <= 1000);
        for (int i = 1; i < core.Extents.Count; i++)
            Require(core.Extents[i - 1].End <= core.Extents[i].Physical);
        for (int i = 1; i < core.Ranges.Count; i++)
            Require(core.Ranges[i - 1].End < core.Ranges[i].Start);
        foreach (DumpExtent e in core.Extents)
            Require(e.Length > 0 && e.Offset <= long.MaxValue - e.Length && e.End <= 1UL << 52);
    }

    private static void Kdump(IDumpBytes file)
    {
        if (!KdumpFile.TryOpen([file], Small, out KdumpFile dump, out string whyNot))
        {
            Require(whyNot.Length > 0);
            return;
        }

        byte[] page = new byte[4096];
        foreach (DumpRange range in dump.Ranges)
            Require(range.Length > 0 && range.End <= (ulong)dump.Header.Pages * 4096);
        for (ulong i = 0; i < 12; i++)
            _ = dump.ReadPage(i, page);
        _ = dump.ReadPage((ulong)dump.Header.Pages - 1, page);
        Require(dump.Missing.Count < 1000);
    }

    private static void Require(bool holds)
    {
        if (!holds)
            throw new InvalidOperationException("a promise is broken");
    }
}
