using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.IO.Hashing;
using ZstdSharp;

namespace Panacea.Kernel.Image;

/// <summary>What a section of a repair image holds. Numbers are part of the file format and never reused.</summary>
public enum ImageSection : uint
{
    /// <summary>Identity, modules, death points: UTF-8 JSON, see <see cref="ImageMeta"/>.</summary>
    Meta = 1,

    /// <summary>Pristine text, from the owner's first text address.</summary>
    Text = 2,

    /// <summary>Trap table (IDT) as it was, 16 bytes a gate.</summary>
    TrapTable = 3,

    /// <summary>BTF blob.</summary>
    Btf = 4,

    /// <summary>BTF indexes, in the order the types room gives them.</summary>
    BtfTypeIndex = 5,

    /// <summary>BTF name index.</summary>
    BtfNameIndex = 6,

    /// <summary>.orc_unwind_ip.</summary>
    OrcIps = 7,

    /// <summary>.orc_unwind.</summary>
    OrcRows = 8,

    /// <summary>Jump labels, exception fixups, WARNs, see <see cref="Code.ControlFlowTable"/>.</summary>
    ControlFlow = 9,

    /// <summary>Microseconds that building took, u64: no part of the content that the id stands for.</summary>
    BuildTime = 10,

    /// <summary>Symbol table, first part.</summary>
    Symbols0 = 16,

    /// <summary>Symbol table, second part.</summary>
    Symbols1 = 17,

    /// <summary>Symbol table, third part.</summary>
    Symbols2 = 18,

    /// <summary>Symbol table, fourth part.</summary>
    Symbols3 = 19,

    /// <summary>Symbol table, fifth part.</summary>
    Symbols4 = 20,

    /// <summary>Symbol table, sixth part.</summary>
    Symbols5 = 21,
}

/// <summary>A repair image that can't be used: damaged, foreign, or of another version.</summary>
public sealed class RepairImageException(string message) : IOException(message);

/// <summary>
/// The file format of repair images (.rimg): a header, a section table, sections. Sections are either Zstandard frames (on disk) or stored
/// page-aligned (unpacked, to be mapped and searched in place); the same container serves both.
/// </summary>
/// <remarks>
/// Header, little-endian: magic 8 bytes, u32 version, u32 section count, u64 file length, u64 XXH3 of the section table. Section table entry,
/// 48 bytes: u32 kind, u32 owner (0 the kernel, n the n-th module), u64 offset, u64 packed length, u64 raw length, u64 XXH3 of the raw bytes, u32 flags (1: Zstandard; 2: left out, made again from the others; bits 15:8 the
/// <see cref="SectionFilter"/>), u32 0.
/// The hash finds damage; it is no signature: an image is as trusted as the file system that it lies on.
/// </remarks>
internal static class ImageContainer
{
    public const uint Version = 2;
    private const uint FlagDerived = 2;
    private const int FilterShift = 8;
    private const int HeaderSize = 32;
    private const int EntrySize = 48;
    private const int Alignment = 4096;
    private const int MaxSections = 65536;
    private const uint FlagZstd = 1;

    /// <summary>"PANACEA" and 0x1a: a text tool stops there.</summary>
    private static ReadOnlySpan<byte> Magic => "PANACEA\x1a"u8;

    internal readonly record struct Entry(ImageSection Kind, uint Owner, long Offset, long PackedLength, long RawLength, ulong Hash, bool IsZstd, bool IsDerived, SectionFilter Filter);

    internal readonly record struct Section(ImageSection Kind, uint Owner, ReadOnlyMemory<byte> Bytes)
    {
        /// <summary>XXH3 of the bytes, where a section table has told it.</summary>
        public ulong? Hash { get; init; }

        /// <summary>The mapping that holds the bytes; null where they lie in memory of our own.</summary>
        public MappedRegion? Region { get; init; }
    }

    /// <summary>Writes a container next to <paramref name="path"/> and moves it there: a reader never sees half of one.</summary>
    /// <returns>Bytes on disk.</returns>
    public static long Write(string path, IReadOnlyList<Section> sections, int? zstdLevel)
    {
        var packed = new ReadOnlyMemory<byte>[sections.Count];
        var hashes = new ulong[sections.Count];

        // Largest first keeps both halves of a small machine busy to the end.
        int[] order = [.. Enumerable.Range(0, sections.Count).OrderByDescending(i => sections[i].Bytes.Length)];
        Parallel.ForEach(
            Partitioner.Create(order, EnumerablePartitionerOptions.NoBuffering),
            i =>
            {
                hashes[i] = XxHash3.HashToUInt64(sections[i].Bytes.Span);
                packed[i] = zstdLevel is not { } level ? sections[i].Bytes
                    : IsDerived(sections[i].Kind) ? default
                    : Compress(SectionFilters.Apply(SectionFilters.For(sections[i].Kind), sections[i].Bytes.Span), level);
            });

        byte[] head = new byte[HeaderSize + (EntrySize * sections.Count)];
        long offset = head.Length;
        Span<byte> table = head.AsSpan(HeaderSize);
        for (int i = 0; i < sections.Count; i++)
        {
            if (zstdLevel is null)
                offset = (offset + Alignment - 1) / Alignment * Alignment;
            Span<byte> e = table.Slice(i * EntrySize, EntrySize);
            BinaryPrimitives.WriteUInt32LittleEndian(e, (uint)sections[i].Kind);
            BinaryPrimitives.WriteUInt32LittleEndian(e[4..], sections[i].Owner);
            BinaryPrimitives.WriteInt64LittleEndian(e[8..], offset);
            BinaryPrimitives.WriteInt64LittleEndian(e[16..], packed[i].Length);
            BinaryPrimitives.WriteInt64LittleEndian(e[24..], sections[i].Bytes.Length);
            BinaryPrimitives.WriteUInt64LittleEndian(e[32..], hashes[i]);
            BinaryPrimitives.WriteUInt32LittleEndian(e[40..], zstdLevel is null ? 0 : FlagsOf(sections[i].Kind));
            offset += packed[i].Length;
        }

        Magic.CopyTo(head);
        BinaryPrimitives.WriteUInt32LittleEndian(head.AsSpan(8), Version);
        BinaryPrimitives.WriteInt32LittleEndian(head.AsSpan(12), sections.Count);
        BinaryPrimitives.WriteInt64LittleEndian(head.AsSpan(16), offset);
        BinaryPrimitives.WriteUInt64LittleEndian(head.AsSpan(24), XxHash3.HashToUInt64(table));

        string temporary = $"{path}.{Environment.ProcessId}.{Environment.CurrentManagedThreadId}.tmp";
        try
        {
            using (var stream = new FileStream(temporary, FileMode.Create, FileAccess.Write, FileShare.None, 1 << 20))
            {
                stream.Write(head);
                for (int i = 0; i < sections.Count; i++)
                {
                    stream.Position = BinaryPrimitives.ReadInt64LittleEndian(table.Slice((i * EntrySize) + 8, 8));
                    stream.Write(packed[i].Span);
                }

                stream.SetLength(offset);
            }

            File.Move(temporary, path, overwrite: true);
        }
        catch
        {
            File.Delete(temporary);
            throw;
        }

        return offset;
    }

    /// <summary>Reads and checks header and table.</summary>
    /// <exception cref="RepairImageException">The file is not a repair image of this version, or is damaged.</exception>
    public static IReadOnlyList<Entry> ReadTable(Stream stream, string name)
    {
        Span<byte> header = stackalloc byte[HeaderSize];
        stream.Position = 0;
        if (stream.ReadAtLeast(header, HeaderSize, throwOnEndOfStream: false) < HeaderSize || !header[..8].SequenceEqual(Magic))
            throw new RepairImageException($"{name} is not a repair image; make one with 'panacea image build TARGET -o FILE'");
        uint version = BinaryPrimitives.ReadUInt32LittleEndian(header[8..]);
        if (version != Version)
            throw new RepairImageException($"{name} is a repair image of format {version}, this panacea reads format {Version}; build it again");
        int count = BinaryPrimitives.ReadInt32LittleEndian(header[12..]);
        long length = BinaryPrimitives.ReadInt64LittleEndian(header[16..]);
        if (length != stream.Length)
            throw new RepairImageException($"{name} is damaged: it says it is {length} bytes long and is {stream.Length}; build it again");
        if (count is < 1 or > MaxSections || HeaderSize + ((long)count * EntrySize) > length)
            throw new RepairImageException($"{name} is damaged: {count} sections; build it again");
        byte[] table = new byte[count * EntrySize];
        stream.ReadExactly(table);
        if (XxHash3.HashToUInt64(table) != BinaryPrimitives.ReadUInt64LittleEndian(header[24..]))
            throw new RepairImageException($"{name} is damaged: the section table does not match its checksum; build it again");

        var entries = new List<Entry>(count);
        for (int i = 0; i < count; i++)
        {
            ReadOnlySpan<byte> e = table.AsSpan(i * EntrySize, EntrySize);
            uint flags = BinaryPrimitives.ReadUInt32LittleEndian(e[40..]);
            var entry = new Entry(
                (ImageSection)BinaryPrimitives.ReadUInt32LittleEndian(e), BinaryPrimitives.ReadUInt32LittleEndian(e[4..]),
                BinaryPrimitives.ReadInt64LittleEndian(e[8..]), BinaryPrimitives.ReadInt64LittleEndian(e[16..]),
                BinaryPrimitives.ReadInt64LittleEndian(e[24..]), BinaryPrimitives.ReadUInt64LittleEndian(e[32..]),
                (flags & FlagZstd) != 0, (flags & FlagDerived) != 0, (SectionFilter)(flags >> FilterShift & 0xff));
            bool sane = entry.Offset >= HeaderSize && entry.PackedLength >= 0 && entry.Offset <= length && entry.PackedLength <= length - entry.Offset
                && entry.PackedLength <= Array.MaxLength && entry.RawLength >= 0 && entry.RawLength <= Array.MaxLength
                && entry.Filter <= (entry.IsZstd ? SectionFilter.Code : SectionFilter.None)
                && (entry.IsDerived ? entry is { PackedLength: 0, IsZstd: false } && IsDerived(entry.Kind) : entry.IsZstd || entry.RawLength == entry.PackedLength);
            if (!sane)
                throw new RepairImageException($"{name} is damaged: section {i} lies outside the file; build it again");
            entries.Add(entry);
        }

        return entries;
    }

    /// <summary>One section's raw bytes, unpacked and checked.</summary>
    public static byte[] ReadSection(Stream stream, Entry entry, string name)
    {
        byte[] packed = new byte[checked((int)entry.PackedLength)];
        stream.Position = entry.Offset;
        stream.ReadExactly(packed);
        byte[] raw = packed;
        if (entry.IsZstd)
        {
            try
            {
                // The frame says how long it unpacks to: nothing is set aside for a table that says otherwise.
                if (Decompressor.GetDecompressedSize(packed) != (ulong)entry.RawLength)
                    throw new RepairImageException($"{name} is damaged: section {entry.Kind} is not as long as it says; build it again");
                raw = new byte[checked((int)entry.RawLength)];
                using var decompressor = new Decompressor();
                if (decompressor.Unwrap(packed, raw) != raw.Length)
                    throw new RepairImageException($"{name} is damaged: section {entry.Kind} is shorter than it says; build it again");
            }
            catch (ZstdException)
            {
                throw new RepairImageException($"{name} is damaged: section {entry.Kind} does not unpack; build it again");
            }
        }

        raw = SectionFilters.Undo(entry.Filter, raw);
        if (XxHash3.HashToUInt64(raw) != entry.Hash)
            throw new RepairImageException($"{name} is damaged: section {entry.Kind} does not match its checksum; build it again");
        return raw;
    }

    /// <summary>Sections that are made from others: indexes. A packed file leaves them out.</summary>
    public static bool IsDerived(ImageSection kind) => kind is ImageSection.Symbols5 or ImageSection.BtfTypeIndex or ImageSection.BtfNameIndex;

    private static uint FlagsOf(ImageSection kind) => IsDerived(kind) ? FlagDerived : FlagZstd | ((uint)SectionFilters.For(kind) << FilterShift);

    /// <summary>The content address: equal for equal sections, packed or not, and however long it took to build them.</summary>
    public static string ContentId(IEnumerable<Section> sections)
    {
        var hash = new XxHash128();
        Span<byte> row = stackalloc byte[16];
        foreach (Section s in sections)
        {
            if (s.Kind == ImageSection.BuildTime)
                continue;
            BinaryPrimitives.WriteUInt32LittleEndian(row, (uint)s.Kind);
            BinaryPrimitives.WriteUInt32LittleEndian(row[4..], s.Owner);
            BinaryPrimitives.WriteUInt64LittleEndian(row[8..], s.Hash ?? XxHash3.HashToUInt64(s.Bytes.Span));
            hash.Append(row);
        }

        return Convert.ToHexStringLower(hash.GetCurrentHash());
    }

    private static byte[] Compress(ReadOnlySpan<byte> raw, int level)
    {
        using var compressor = new Compressor(level);
        return compressor.Wrap(raw).ToArray();
    }
}
