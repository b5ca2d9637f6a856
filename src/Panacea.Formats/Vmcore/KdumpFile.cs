using System.Buffers.Binary;

namespace Panacea.Formats.Vmcore;

/// <summary>What became of a page that was asked for.</summary>
public enum DumpPage
{
    /// <summary>It was read.</summary>
    Read,

    /// <summary>There was no RAM.</summary>
    NotRam,

    /// <summary>It was left out when the dump was written (filtered).</summary>
    LeftOut,

    /// <summary>The file ends before it, or the file that holds it is not given.</summary>
    Missing,

    /// <summary>What the file holds of it does not unpack.</summary>
    Damaged,
}

/// <summary>
/// A kdump-compressed dump in one file or several: page bitmaps, one descriptor for each page that is held, packed pages. Nothing is read before it is asked for, but headers, notes and the
/// bitmap of held pages.
/// </summary>
/// <remarks>Not safe for concurrent use. Zero pages need no care: their writers give them all one descriptor's worth of zeros (makedumpfile's and QEMU's pd_zero).</remarks>
public sealed class KdumpFile
{
    private const int DescriptorSize = 24;

    /// <summary>A page that does not shrink is stored as it is, so no writer stores more; twice as much is let pass.</summary>
    private const int MaxPackedSize = 2 * KdumpHeader.PageSize;

    private readonly IReadOnlyList<Part> _parts;
    private readonly PageBitmap _ram;
    private readonly FormatLimits _limits;
    private readonly byte[] _packed = new byte[MaxPackedSize];
    private readonly List<string> _missing;
    private List<DumpRange>? _ranges;

    private KdumpFile(IReadOnlyList<Part> parts, VmcoreNotes notes, List<string> missing, FormatLimits limits)
    {
        _parts = parts;
        _ram = new PageBitmap(parts[0].File, parts[0].Header.RamBitmap, Header.Pages);
        _limits = limits;
        _missing = missing;
        Notes = notes;
    }

    private sealed record Part(IDumpBytes File, KdumpHeader Header, PageBitmap Held, long RankBefore);

    /// <summary>The header of the first file.</summary>
    public KdumpHeader Header => _parts[0].Header;

    /// <summary>The notes.</summary>
    public VmcoreNotes Notes { get; }

    /// <summary>What the files lack, in sentences.</summary>
    public IReadOnlyList<string> Missing => _missing;

    /// <summary>Runs of RAM, ascending; reads the whole bitmap of RAM the first time.</summary>
    public IReadOnlyList<DumpRange> Ranges
    {
        get
        {
            if (_ranges is null && !_ram.TryRanges(_limits.MaxMemoryRanges, out _ranges))
                _missing.Add("the bitmap of RAM is not whole or has too many separate ranges: the list of RAM ends early");
            return _ranges!;
        }
    }

    /// <summary>Opens a dump.</summary>
    /// <param name="files">Its file, or all files of a split dump that there are, in any order.</param>
    /// <param name="limits">Ceilings.</param>
    /// <param name="dump">The result.</param>
    /// <param name="whyNot">Why it can't be used, where the result is false.</param>
    public static bool TryOpen(IReadOnlyList<IDumpBytes> files, FormatLimits limits, out KdumpFile dump, out string whyNot)
    {
        dump = null!;
        List<string> missing = [];
        var parts = new List<Part>();
        foreach (IDumpBytes file in files)
        {
            if (!KdumpHeader.TryRead(file, limits, out KdumpHeader header, out whyNot))
                return false;
            var held = new PageBitmap(file, header.HeldBitmap, header.Pages);

            // Each file of a split dump has all bitmaps, but descriptors of its own pages only.
            if (!held.TryRank(header.FirstPage, out long before) || !held.TryRank(header.EndPage, out long count))
                missing.Add("a file ends in its page bitmaps: no page of it, or not every one, can be found");
            else
                NameTruncation(file, header, count - before, missing);
            parts.Add(new Part(file, header, held, before));
        }

        if (!TryJoin(parts, limits, missing, out whyNot))
            return false;
        VmcoreNotes notes = ReadNotes(parts[0], limits, missing);
        dump = new KdumpFile(parts, notes, [.. missing, .. notes.Missing], limits);
        return true;
    }

    /// <summary>Reads one page.</summary>
    /// <param name="page">Page frame number.</param>
    /// <param name="destination"><see cref="KdumpHeader.PageSize"/> bytes; unspecified where the page was not read.</param>
    public DumpPage ReadPage(ulong page, Span<byte> destination)
    {
        if (page >= (ulong)Header.Pages)
            return DumpPage.NotRam;
        long frame = (long)page;
        if (PartOf(frame) is not { } part)
            return _ram.Contains(frame) == false ? DumpPage.NotRam : DumpPage.Missing;
        switch (part.Held.Contains(frame))
        {
            case null:
                return DumpPage.Missing;
            case false:
                return _ram.Contains(frame) == false ? DumpPage.NotRam : DumpPage.LeftOut;
        }

        Span<byte> descriptor = stackalloc byte[DescriptorSize];
        if (!part.Held.TryRank(frame, out long rank) || !part.File.TryReadExactly(part.Header.Descriptors + ((ulong)(rank - part.RankBefore) * DescriptorSize), descriptor))
            return DumpPage.Missing;
        ulong offset = BinaryPrimitives.ReadUInt64LittleEndian(descriptor);
        uint size = BinaryPrimitives.ReadUInt32LittleEndian(descriptor[8..]);
        var compression = (PageCompression)BinaryPrimitives.ReadUInt32LittleEndian(descriptor[12..]);

        // In an incomplete dump a descriptor that was not written any more is a hole: no page has offset 0 (IMPLEMENTATION, "The incomplete DUMPFILE").
        if (offset == 0)
            return DumpPage.Missing;
        if (size is 0 or > MaxPackedSize)
            return DumpPage.Damaged;
        if (!part.File.TryReadExactly(offset, _packed.AsSpan(0, (int)size)))
            return DumpPage.Missing;
        return PageUnpacker.TryUnpack(compression, _packed.AsMemory(0, (int)size), destination[..KdumpHeader.PageSize]) ? DumpPage.Read : DumpPage.Damaged;
    }

    private static bool TryJoin(List<Part> parts, FormatLimits limits, List<string> missing, out string whyNot)
    {
        whyNot = "";
        if (parts.Count == 0 || parts.Count > limits.MaxDumpFiles)
        {
            whyNot = $"{parts.Count} files are not 1 to {limits.MaxDumpFiles}";
            return false;
        }

        KdumpHeader first = parts[0].Header;
        if (parts.Count > 1 && !parts.TrueForAll(p => p.Header.IsSplit && p.Header.IsOfSameDump(first)))
        {
            whyNot = parts.TrueForAll(p => p.Header.IsSplit) ? "the files are not of one dump" : "one of the files is a whole dump by itself";
            return false;
        }

        parts.Sort((a, b) => a.Header.FirstPage.CompareTo(b.Header.FirstPage));
        long at = 0;
        foreach (KdumpHeader header in parts.Select(p => p.Header))
        {
            if (header.FirstPage < at)
            {
                whyNot = "two of the files hold the same pages: one is given twice, or they are not of one dump";
                return false;
            }

            Gap(at, header.FirstPage);
            at = header.EndPage;
        }

        Gap(at, first.Pages);
        return true;

        void Gap(long from, long to)
        {
            if (from < to)
                missing.Add($"a file of this split dump is not given: the one with the physical memory from 0x{from * KdumpHeader.PageSize:x} to 0x{to * KdumpHeader.PageSize:x}");
        }
    }

    /// <summary>Pages are written in order, so the last descriptors tell where the file should end.</summary>
    private static void NameTruncation(IDumpBytes file, KdumpHeader header, long count, List<string> missing)
    {
        const int last = 64;
        if (header.IsIncomplete)
            missing.Add("the writer marked the dump incomplete (its disk was full): memory at the end is missing");
        if (count <= 0)
            return;
        int take = (int)Math.Min(count, last);
        byte[] raw = new byte[take * DescriptorSize];
        bool cut = !file.TryReadExactly(header.Descriptors + ((ulong)(count - take) * DescriptorSize), raw);
        for (int i = 0; i < take && !cut; i++)
        {
            ulong offset = BinaryPrimitives.ReadUInt64LittleEndian(raw.AsSpan(i * DescriptorSize));
            cut = offset > (ulong)file.Length || BinaryPrimitives.ReadUInt32LittleEndian(raw.AsSpan((i * DescriptorSize) + 8)) > (ulong)file.Length - offset;
        }

        if (cut)
            missing.Add($"the file is truncated at {Sizes.Of((ulong)file.Length)}: pages of memory at its end are missing");
    }

    private static VmcoreNotes ReadNotes(Part part, FormatLimits limits, List<string> missing)
    {
        KdumpHeader header = part.Header;
        byte[] notes = ReadRange(part.File, header.Notes, limits, "notes", missing), text = ReadRange(part.File, header.VmcoreInfo, limits, "VMCOREINFO", missing);
        return VmcoreNotes.Parse(notes, limits).Or(text);
    }

    private static byte[] ReadRange(IDumpBytes file, FileRange range, FormatLimits limits, string what, List<string> missing)
    {
        if (range.Length == 0)
            return [];
        if (range.Length > (ulong)limits.MaxDumpNoteBytes || range.Offset > long.MaxValue)
        {
            missing.Add($"the header says that there are {range.Length} bytes of {what} at 0x{range.Offset:x}: they are left out");
            return [];
        }

        // Not more is set aside than the file can hold.
        byte[] bytes = new byte[(int)Math.Min(range.Length, (ulong)Math.Max(0, file.Length - (long)range.Offset))];
        int got = file.Read((long)range.Offset, bytes);
        if ((ulong)got < range.Length)
            missing.Add($"the file ends in its {what}: {got} of {range.Length} bytes are there");
        return bytes[..got];
    }

    private Part? PartOf(long frame)
    {
        foreach (Part part in _parts)
        {
            if (frame >= part.Header.FirstPage && frame < part.Header.EndPage)
                return part;
        }

        return null;
    }
}
