using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;
using Panacea.Formats.Vmcore;
using Panacea.Target;
using Snappier;
using ZstdSharp;

namespace Panacea.TestKit.Dumps;

/// <summary>What a kdump-compressed dump is like.</summary>
public sealed record KdumpWriterOptions
{
    /// <summary>Header version, 1 to 6.</summary>
    public int Version { get; init; } = 6;

    /// <summary>How pages are packed; a page that does not shrink is stored as it is, except with LZO, of which the encoder here is a poor one.</summary>
    public PageCompression Compression { get; init; } = PageCompression.Zlib;

    /// <summary>dump_level.</summary>
    public int Level { get; init; } = 1;

    /// <summary>Pages that are left out.</summary>
    public Func<ulong, bool> IsFiltered { get; init; } = _ => false;

    /// <summary>Number of files.</summary>
    public int Files { get; init; } = 1;

    /// <summary>utsname.machine.</summary>
    public string Machine { get; init; } = "x86_64";

    /// <summary>Timestamp.</summary>
    public long Timestamp { get; init; } = 1_700_000_000;

    /// <summary>Notes (from version 4).</summary>
    public byte[] Notes { get; init; } = [];

    /// <summary>VMCOREINFO text (from version 3).</summary>
    public string VmcoreInfo { get; init; } = "";
}

/// <summary>Writes kdump-compressed dumps: header, sub header with notes, two bitmaps, descriptors, pages; zero pages share one.</summary>
public static class KdumpWriter
{
    private const int PageSize = 4096;

    /// <summary>Writes a dump of all RAM, or the files of a split one.</summary>
    public static byte[][] Write(IGuestMemory memory, KdumpWriterOptions options)
    {
        ulong pages = memory.Ranges.Max(r => r.End.Value) / PageSize;
        byte[] ram = new byte[RoundUp((int)((pages + 7) / 8))], held = new byte[ram.Length];
        foreach (PhysicalRange range in memory.Ranges)
        {
            for (ulong page = range.Start.Value / PageSize; page < range.End.Value / PageSize; page++)
            {
                ram[page / 8] |= (byte)(1 << (int)(page % 8));
                if (!options.IsFiltered(page))
                    held[page / 8] |= (byte)(1 << (int)(page % 8));
            }
        }

        ulong part = (pages + (ulong)options.Files - 1) / (ulong)options.Files;
        return [.. Enumerable.Range(0, options.Files).Select(i => File(memory, options, pages, ram, held, (ulong)i * part, Math.Min((ulong)(i + 1) * part, pages)))];
    }

    private static byte[] File(IGuestMemory memory, KdumpWriterOptions options, ulong pages, byte[] ram, byte[] held, ulong first, ulong end)
    {
        byte[] info = Encoding.ASCII.GetBytes(options.VmcoreInfo);
        int subBlocks = RoundUp(104 + options.Notes.Length + info.Length) / PageSize;
        byte[] main = new byte[464], sub = new byte[subBlocks * PageSize];
        "KDUMP   "u8.CopyTo(main);
        Int32(main, 8, options.Version);
        Encoding.ASCII.GetBytes(options.Machine, main.AsSpan(12 + (4 * 65)));
        Int64(main, 408, options.Timestamp);
        Int32(main, 424, (int)options.Compression);
        Int32(main, 428, PageSize);
        Int32(main, 432, subBlocks);
        Int32(main, 436, (ram.Length + held.Length) / PageSize);
        Int32(main, 440, (int)pages);
        Int32(sub, 8, options.Level);
        if (options.Version >= 2 && options.Files > 1)
        {
            Int32(sub, 12, 1);
            Int64(sub, 16, (long)first);
            Int64(sub, 24, (long)end);
        }

        if (options.Version >= 3 && info.Length > 0)
        {
            Int64(sub, 32, PageSize + 104 + options.Notes.Length);
            Int64(sub, 40, info.Length);
            info.CopyTo(sub, 104 + options.Notes.Length);
        }

        if (options.Version >= 4 && options.Notes.Length > 0)
        {
            Int64(sub, 48, PageSize + 104);
            Int64(sub, 56, options.Notes.Length);
            options.Notes.CopyTo(sub, 104);
        }

        if (options.Version >= 6)
        {
            Int64(sub, 80, options.Files > 1 ? (long)first : 0);
            Int64(sub, 88, options.Files > 1 ? (long)end : 0);
            Int64(sub, 96, (long)pages);
        }

        using var file = new MemoryStream();
        file.Write(main);
        file.SetLength(PageSize);
        file.Position = PageSize;
        file.Write(sub);
        file.Write(ram);
        file.Write(held);
        ulong[] kept = [.. Pages(first, end).Where(p => (held[p / 8] >> (int)(p % 8) & 1) != 0)];
        long descriptors = file.Position, data = descriptors + (24 * kept.Length), zero = data;
        byte[] page = new byte[PageSize], descriptor = new byte[24];
        file.Position = zero;
        file.Write(page);
        data += PageSize;
        for (int i = 0; i < kept.Length; i++)
        {
            if (!memory.TryRead(new PhysicalAddress(kept[i] * PageSize), page, out MemoryFault fault))
                throw new GuestMemoryException(fault, "test memory");
            PageCompression compression = options.Compression;
            byte[] packed = page;
            bool isZero = !page.AsSpan().ContainsAnyExcept((byte)0);
            if (isZero)
                compression = PageCompression.None;
            else
                packed = Pack(page, ref compression);
            Int64(descriptor, 0, isZero ? zero : data);
            Int32(descriptor, 8, packed.Length);
            Int32(descriptor, 12, (int)compression);
            file.Position = descriptors + (24 * i);
            file.Write(descriptor);
            if (isZero)
                continue;
            file.Position = data;
            file.Write(packed);
            data += packed.Length;
        }

        return file.ToArray();
    }

    private static byte[] Pack(byte[] page, ref PageCompression compression)
    {
        byte[] packed = compression switch
        {
            PageCompression.Zlib => Zlib(page),
            PageCompression.Lzo => Lzo1xWriter.Write(page),
            PageCompression.Snappy => Snappy.CompressToArray(page),
            PageCompression.Zstd => Zstd(page),
            _ => page,
        };
        if (packed.Length < PageSize || compression == PageCompression.Lzo)
            return packed;
        compression = PageCompression.None;
        return page;
    }

    private static byte[] Zlib(byte[] page)
    {
        using var packed = new MemoryStream();
        using (var stream = new ZLibStream(packed, CompressionLevel.Fastest, leaveOpen: true))
            stream.Write(page);
        return packed.ToArray();
    }

    private static byte[] Zstd(byte[] page)
    {
        using var compressor = new Compressor(1);
        return compressor.Wrap(page).ToArray();
    }

    private static IEnumerable<ulong> Pages(ulong first, ulong end)
    {
        for (ulong page = first; page < end; page++)
            yield return page;
    }

    private static int RoundUp(int bytes) => (bytes + PageSize - 1) / PageSize * PageSize;

    private static void Int32(byte[] bytes, int at, int value) => BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(at), value);

    private static void Int64(byte[] bytes, int at, long value) => BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(at), value);
}
