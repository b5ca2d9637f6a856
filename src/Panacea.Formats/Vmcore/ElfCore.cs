using System.Buffers.Binary;

namespace Panacea.Formats.Vmcore;

/// <summary>Guest-physical memory that lies in the file: [<paramref name="Physical"/>, Physical + Length) at <paramref name="Offset"/>.</summary>
/// <param name="Physical">First guest-physical address.</param>
/// <param name="Length">Bytes; never zero.</param>
/// <param name="Offset">Where the first of them is in the file.</param>
public readonly record struct DumpExtent(ulong Physical, ulong Length, ulong Offset)
{
    /// <summary>First address past it.</summary>
    public ulong End => Physical + Length;
}

/// <summary>A run of guest-physical addresses that were RAM.</summary>
/// <param name="Start">First address.</param>
/// <param name="Length">Bytes; never zero.</param>
public readonly record struct DumpRange(ulong Start, ulong Length)
{
    /// <summary>First address past it.</summary>
    public ulong End => Start + Length;
}

/// <summary>
/// An ELF core of a whole x86-64 system: what its headers and notes say. Immutable; memory is not read. Written by QEMU (dump/dump.c), by the crash kernel (fs/proc/vmcore.c) and by
/// makedumpfile.
/// </summary>
public sealed class ElfCore
{
    private const int HeaderSize = 64, ProgramHeaderSize = 56, SectionHeaderSize = 64, PnXnum = 0xffff;
    private const uint PtLoad = 1, PtNote = 4;

    /// <summary>x86-64 has at most 52 physical address bits; kcore marks what is no RAM with −1.</summary>
    private const ulong PhysicalEnd = 1UL << 52;

    private ElfCore(IReadOnlyList<DumpExtent> extents, IReadOnlyList<DumpRange> ranges, VmcoreNotes notes, IReadOnlyList<string> missing) =>
        (Extents, Ranges, Notes, Missing) = (extents, ranges, notes, missing);

    private readonly record struct Segment(uint Type, ulong Offset, ulong Physical, ulong FileSize, ulong MemorySize);

    /// <summary>Memory that the file claims to hold, ascending and disjoint; a truncated file ends before the last of it.</summary>
    public IReadOnlyList<DumpExtent> Extents { get; }

    /// <summary>What was RAM, ascending and disjoint: memory that the file holds, and memory that its headers name without holding it.</summary>
    public IReadOnlyList<DumpRange> Ranges { get; }

    /// <summary>The notes.</summary>
    public VmcoreNotes Notes { get; }

    /// <summary>What the file lacks, in sentences.</summary>
    public IReadOnlyList<string> Missing { get; }

    /// <summary>Reads headers and notes.</summary>
    /// <param name="file">The file.</param>
    /// <param name="limits">Ceilings.</param>
    /// <param name="core">The result.</param>
    /// <param name="whyNot">Why it can't be used, where the result is false.</param>
    public static bool TryRead(IDumpBytes file, FormatLimits limits, out ElfCore core, out string whyNot)
    {
        core = null!;
        List<string> missing = [];
        if (!TryReadSegments(file, limits, missing, out List<Segment> segments, out whyNot))
            return false;
        VmcoreNotes notes = ReadNotes(file, segments, limits, missing);
        if (notes.IsOfProcess)
        {
            whyNot = "it is the core of a process (of QEMU itself, perhaps), not of a machine; make a dump with 'virsh dump --memory-only' (QEMU: dump-guest-memory)";
            return false;
        }

        List<DumpExtent> extents = Extent(segments);
        List<DumpRange> ranges = Range(segments, limits, missing);
        if (ranges.Count == 0)
        {
            whyNot = "it has no memory in it";
            return false;
        }

        NameMissing(file, extents, ranges, missing);
        core = new ElfCore(extents, ranges, notes, [.. missing, .. notes.Missing]);
        return true;
    }

    private static bool TryReadSegments(IDumpBytes file, FormatLimits limits, List<string> missing, out List<Segment> segments, out string whyNot)
    {
        segments = [];
        Span<byte> header = stackalloc byte[HeaderSize];
        whyNot = "its ELF header is cut off";
        if (!file.TryReadExactly(0, header))
            return false;
        ushort type = BinaryPrimitives.ReadUInt16LittleEndian(header[16..]), machine = BinaryPrimitives.ReadUInt16LittleEndian(header[18..]);
        if (header[4] != 2 || header[5] != 1 || machine != 62)
        {
            whyNot = header[4] == 1 ? "it is of a 32-bit system, or of a guest that was not in 64-bit mode (firmware, boot loader)" : "it is not of an x86-64 system";
            return false;
        }

        if (type != 4)
        {
            whyNot = "it is a program or a kernel, not a core";
            return false;
        }

        ulong at = BinaryPrimitives.ReadUInt64LittleEndian(header[32..]), sections = BinaryPrimitives.ReadUInt64LittleEndian(header[40..]);
        ushort size = BinaryPrimitives.ReadUInt16LittleEndian(header[54..]);
        uint count = BinaryPrimitives.ReadUInt16LittleEndian(header[56..]);
        if (size != ProgramHeaderSize)
        {
            whyNot = $"its program headers are {size} bytes long, not {ProgramHeaderSize}";
            return false;
        }

        // More segments than 16 bits hold are counted in the first section header (gABI, "Extended numbering").
        Span<byte> section = stackalloc byte[SectionHeaderSize];
        if (count == PnXnum)
        {
            if (sections == 0 || !file.TryReadExactly(sections, section))
            {
                whyNot = "the section header that counts its segments is missing";
                return false;
            }

            count = BinaryPrimitives.ReadUInt32LittleEndian(section[44..]);
        }

        if (count > (uint)limits.MaxDumpSegments)
        {
            whyNot = $"it says that it has {count} segments, more than {limits.MaxDumpSegments}";
            return false;
        }

        if ((BinaryPrimitives.ReadUInt32LittleEndian(header[48..]) & 1) != 0)
            missing.Add("makedumpfile marked the dump incomplete (its disk was full): memory at the end is missing");
        var raw = new byte[ProgramHeaderSize];
        for (uint i = 0; i < count; i++)
        {
            if (at > long.MaxValue - ((ulong)count * ProgramHeaderSize) || !file.TryReadExactly(at + ((ulong)i * ProgramHeaderSize), raw))
            {
                missing.Add($"the file ends in its headers: {count - i} of {count} segments are unknown");
                break;
            }

            segments.Add(new Segment(
                BinaryPrimitives.ReadUInt32LittleEndian(raw), BinaryPrimitives.ReadUInt64LittleEndian(raw.AsSpan(8)), BinaryPrimitives.ReadUInt64LittleEndian(raw.AsSpan(24)),
                BinaryPrimitives.ReadUInt64LittleEndian(raw.AsSpan(32)), BinaryPrimitives.ReadUInt64LittleEndian(raw.AsSpan(40))));
        }

        return true;
    }

    private static VmcoreNotes ReadNotes(IDumpBytes file, List<Segment> segments, FormatLimits limits, List<string> missing)
    {
        var all = new List<byte>();
        foreach (Segment segment in segments.Where(s => s.Type == PtNote))
        {
            int room = limits.MaxDumpNoteBytes - all.Count;
            ulong there = segment.Offset < (ulong)file.Length ? Math.Min(segment.FileSize, (ulong)file.Length - segment.Offset) : 0;
            if (there > (ulong)room)
                missing.Add($"the dump says that it has {segment.FileSize} bytes of notes: those past {limits.MaxDumpNoteBytes} are left out");
            else if (there < segment.FileSize)
                missing.Add($"the file ends in its notes ({there} of {segment.FileSize} bytes are there): registers or VMCOREINFO may be lost");
            byte[] bytes = new byte[(int)Math.Min(there, (ulong)room)];
            all.AddRange(bytes.AsSpan(0, bytes.Length == 0 ? 0 : file.Read((long)segment.Offset, bytes)));
        }

        return VmcoreNotes.Parse(all.ToArray(), limits);
    }

    private static bool IsMemory(Segment s) => s.Type == PtLoad && s.MemorySize > 0 && s.Physical < PhysicalEnd && s.MemorySize <= PhysicalEnd - s.Physical;

    /// <summary>Segments may overlap: the crash kernel writes the kernel's text twice, QEMU's <c>paging</c> one segment a mapping. All say the same of one address, so the first is taken.</summary>
    private static List<DumpExtent> Extent(List<Segment> segments)
    {
        var extents = new List<DumpExtent>();
        ulong end = 0;
        foreach (Segment s in segments.Where(s => IsMemory(s) && s.FileSize > 0 && s.Offset < long.MaxValue).OrderBy(s => s.Physical))
        {
            ulong length = Math.Min(Math.Min(s.FileSize, s.MemorySize), (ulong)long.MaxValue - s.Offset);
            ulong skip = end > s.Physical ? Math.Min(end - s.Physical, length) : 0;
            if (length == skip)
                continue;
            extents.Add(new DumpExtent(s.Physical + skip, length - skip, s.Offset + skip));
            end = s.Physical + length;
        }

        return extents;
    }

    private static List<DumpRange> Range(List<Segment> segments, FormatLimits limits, List<string> missing)
    {
        var ranges = new List<DumpRange>();
        foreach (Segment s in segments.Where(IsMemory).OrderBy(s => s.Physical))
        {
            if (ranges.Count > 0 && s.Physical <= ranges[^1].End)
            {
                ranges[^1] = ranges[^1] with { Length = Math.Max(ranges[^1].End, s.Physical + s.MemorySize) - ranges[^1].Start };
                continue;
            }

            if (ranges.Count == limits.MaxMemoryRanges)
            {
                missing.Add($"the dump has more than {limits.MaxMemoryRanges} separate ranges of memory: those past 0x{s.Physical:x} are left out");
                break;
            }

            ranges.Add(new DumpRange(s.Physical, s.MemorySize));
        }

        return ranges;
    }

    private static void NameMissing(IDumpBytes file, List<DumpExtent> extents, List<DumpRange> ranges, List<string> missing)
    {
        ulong length = (ulong)file.Length, held = 0, cut = 0, named = 0;
        foreach (DumpExtent e in extents)
        {
            held += e.Length;
            cut += e.Offset >= length ? e.Length : e.Length - Math.Min(e.Length, length - e.Offset);
        }

        foreach (DumpRange r in ranges)
            named += r.Length;
        if (cut > 0)
            missing.Add($"the file is truncated: {Sizes.Of(cut)} of {Sizes.Of(held)} of memory are missing at its end");
        if (named > held)
            missing.Add($"{Sizes.Of(named - held)} of {Sizes.Of(named)} of memory were left out of the dump by whoever wrote it");
    }
}
