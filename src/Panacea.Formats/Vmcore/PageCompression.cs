using System.IO.Compression;
using System.Runtime.InteropServices;
using Snappier;
using ZstdSharp;

namespace Panacea.Formats.Vmcore;

/// <summary>How a page of a kdump-compressed dump is packed: the flags of its descriptor (makedumpfile, diskdump_mod.h, DUMP_DH_COMPRESSED_…).</summary>
[Flags]
public enum PageCompression : uint
{
    /// <summary>As it is.</summary>
    None = 0,

    /// <summary>zlib.</summary>
    Zlib = 1,

    /// <summary>LZO1X.</summary>
    Lzo = 2,

    /// <summary>Snappy, raw format.</summary>
    Snappy = 4,

    /// <summary>Zstandard.</summary>
    Zstd = 0x20,
}

/// <summary>Unpacks pages.</summary>
internal static class PageUnpacker
{
    /// <summary>Unpacks one page.</summary>
    /// <param name="compression">How it is packed.</param>
    /// <param name="packed">The bytes in the file.</param>
    /// <param name="page">Receives the page; the packed bytes have to make exactly this much.</param>
    /// <returns>False where they don't, or where the packing is not known.</returns>
    public static bool TryUnpack(PageCompression compression, ReadOnlyMemory<byte> packed, Span<byte> page)
    {
        switch (compression)
        {
            case PageCompression.None:
                if (packed.Length != page.Length)
                    return false;
                packed.Span.CopyTo(page);
                return true;
            case PageCompression.Zlib:
                return TryZlib(packed, page);
            case PageCompression.Lzo:
                return Lzo1x.TryDecompress(packed.Span, page, out int lzo) && lzo == page.Length;
            case PageCompression.Snappy:
                return TrySnappy(packed.Span, page);
            case PageCompression.Zstd:
                return TryZstd(packed.Span, page);
            default:
                return false;
        }
    }

    /// <remarks>zlib has more ways to say no than "invalid data", such as asking for a dictionary; they come as the runtime's ZLibException, an IOException.</remarks>
    private static bool TryZlib(ReadOnlyMemory<byte> packed, Span<byte> page)
    {
        if (!MemoryMarshal.TryGetArray(packed, out ArraySegment<byte> array))
            array = packed.ToArray();
        try
        {
            using var stream = new ZLibStream(new MemoryStream(array.Array!, array.Offset, array.Count, writable: false), CompressionMode.Decompress);
            return stream.ReadAtLeast(page, page.Length, throwOnEndOfStream: false) == page.Length && stream.ReadByte() < 0;
        }
        catch (Exception e) when (e is InvalidDataException or IOException)
        {
            return false;
        }
    }

    private static bool TrySnappy(ReadOnlySpan<byte> packed, Span<byte> page)
    {
        try
        {
            return Snappy.GetUncompressedLength(packed) == page.Length && Snappy.TryDecompress(packed, page, out int written) && written == page.Length;
        }
        catch (InvalidDataException)
        {
            return false;
        }
    }

    private static bool TryZstd(ReadOnlySpan<byte> packed, Span<byte> page)
    {
        // One frame into a buffer of known size: whatever the frame says of its window, nothing but the page is written.
        using var decompressor = new Decompressor();
        try
        {
            return decompressor.TryUnwrap(packed, page, out int written) && written == page.Length;
        }
        catch (ZstdException)
        {
            return false;
        }
    }
}
