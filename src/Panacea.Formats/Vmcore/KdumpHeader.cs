using System.Buffers.Binary;
using System.Text;

namespace Panacea.Formats.Vmcore;

/// <summary>
/// The headers of one file of a kdump-compressed dump: <c>struct disk_dump_header</c> at 0 and <c>struct kdump_sub_header</c> at block 1 (makedumpfile, diskdump_mod.h and IMPLEMENTATION;
/// QEMU, include/system/dump.h), for 64-bit systems. What a version does not have is 0.
/// </summary>
/// <param name="Version">Header version, 0 to 6; later ones would only append.</param>
/// <param name="Machine">utsname.machine.</param>
/// <param name="Release">utsname.release; empty where QEMU wrote it.</param>
/// <param name="Timestamp">When, in seconds; 0 where QEMU wrote it.</param>
/// <param name="Status">DUMP_DH_COMPRESSED_… of the file.</param>
/// <param name="Pages">One more than the last page frame number (max_mapnr).</param>
/// <param name="Cpus">nr_cpus.</param>
/// <param name="PhysBase">phys_base of the kernel.</param>
/// <param name="DumpLevel">makedumpfile's -d: 1 zero pages, 2 and 4 page cache, 8 user data, 16 free pages.</param>
/// <param name="IsSplit">It is one of several files.</param>
/// <param name="FirstPage">First page frame of this file, where split.</param>
/// <param name="EndPage">One past its last.</param>
/// <param name="VmcoreInfo">Where the text of VMCOREINFO is.</param>
/// <param name="Notes">Where the ELF notes are.</param>
/// <param name="RamBitmap">Where the bitmap of RAM is.</param>
/// <param name="HeldBitmap">Where the bitmap of pages that the dump holds is; the same where there is one only.</param>
/// <param name="Descriptors">Where the page descriptors begin.</param>
public sealed record KdumpHeader(
    int Version, string Machine, string Release, long Timestamp, uint Status, long Pages, int Cpus, ulong PhysBase, int DumpLevel, bool IsSplit, long FirstPage, long EndPage,
    FileRange VmcoreInfo, FileRange Notes, FileRange RamBitmap, FileRange HeldBitmap, ulong Descriptors)
{
    /// <summary>Bytes of a page and of a block; what x86-64 has.</summary>
    public const int PageSize = 4096;

    private const int HeaderSize = 464, SubHeaderSize = 104;

    /// <summary>The writer ran out of space and said so (DUMP_DH_COMPRESSED_INCOMPLETE).</summary>
    public bool IsIncomplete => (Status & 8) != 0;

    /// <summary>Reads the headers.</summary>
    public static bool TryRead(IDumpBytes file, FormatLimits limits, out KdumpHeader header, out string whyNot)
    {
        header = null!;
        Span<byte> main = stackalloc byte[HeaderSize], sub = stackalloc byte[SubHeaderSize];
        sub.Clear();
        whyNot = "its header is cut off";
        if (!file.TryReadExactly(0, main))
            return false;
        int version = Int32(main, 8), blockSize = Int32(main, 428), subBlocks = Int32(main, 432), cpus = Int32(main, 460);
        uint bitmapBlocks = (uint)Int32Wide(main, 436);
        string machine = Text(main.Slice(12 + (4 * 65), 65));
        if (machine is not ("x86_64" or ""))
        {
            whyNot = "it is not of an x86-64 system";
            return false;
        }

        if (blockSize != PageSize || subBlocks is < 0 or > 1 << 20 || version is < 0 or > 64)
        {
            whyNot = "its header makes no sense for a 64-bit system (a guest in firmware or boot loader is dumped with a 32-bit one)";
            return false;
        }

        // Each version appended to the sub header; one that ends sooner is read as far as its version goes.
        int length = version switch { 0 => 8, 1 => 12, 2 => 32, 3 => 48, 4 => 64, 5 => 80, _ => SubHeaderSize };
        if (subBlocks > 0 && !file.TryReadExactly(PageSize, sub[..length]))
            return false;
        long pages = Int32Wide(main, 440), first = Int64(sub, 16), end = Int64(sub, 24);
        if (version >= 6 && Int64(sub, 96) != 0)
            (pages, first, end) = (Int64(sub, 96), Int64(sub, 80), Int64(sub, 88));
        if (pages <= 0 || pages > limits.MaxDumpPages)
        {
            whyNot = $"it says that it has {pages} pages, more than a system can have";
            return false;
        }

        // What lies behind the last page of the system is in no part.
        end = Math.Min(end, pages);
        bool split = Int32(sub, 12) != 0;
        if (split && (first < 0 || end < first))
        {
            whyNot = $"it says that it has the pages {first} to {end}";
            return false;
        }

        // Two bitmaps in a dump that was filtered or could have been; one in the oldest (crash, diskdump.c: dump_is_partial).
        ulong bitmap = (1UL + (uint)subBlocks) * PageSize, bytes = (ulong)bitmapBlocks * PageSize, need = (ulong)((pages + 7) / 8);
        bool two = bytes / 2 >= (need + PageSize - 1) / PageSize * PageSize;
        if (bytes < need)
        {
            whyNot = $"its bitmap of {bytes} bytes is too short for {pages} pages";
            return false;
        }

        FileRange ram = new(bitmap, need), held = two ? new FileRange(bitmap + (bytes / 2), need) : ram;
        header = new KdumpHeader(
            version, machine, Text(main.Slice(12 + (2 * 65), 65)), Int64(main, 408), (uint)Int32Wide(main, 424), pages, cpus, unchecked((ulong)Int64(sub, 0)), Int32(sub, 8), split,
            split ? first : 0, split ? end : pages, Range(sub, 32), Range(sub, 48), ram, held, bitmap + bytes);
        whyNot = "";
        return true;
    }

    /// <summary>Two files of one split dump have these in common.</summary>
    public bool IsOfSameDump(KdumpHeader other) =>
        (Version, Release, Timestamp, Pages, PhysBase, DumpLevel, IsSplit) == (other.Version, other.Release, other.Timestamp, other.Pages, other.PhysBase, other.DumpLevel, other.IsSplit);

    private static int Int32(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadInt32LittleEndian(bytes[at..]);

    private static long Int32Wide(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt32LittleEndian(bytes[at..]);

    private static long Int64(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadInt64LittleEndian(bytes[at..]);

    private static FileRange Range(ReadOnlySpan<byte> bytes, int at) => new(unchecked((ulong)Int64(bytes, at)), unchecked((ulong)Int64(bytes, at + 8)));

    private static string Text(ReadOnlySpan<byte> bytes) => Encoding.UTF8.GetString(bytes[..(bytes.IndexOf((byte)0) is var nul && nul >= 0 ? nul : bytes.Length)]);
}

/// <summary>A part of a file: hostile until it has been read.</summary>
/// <param name="Offset">First byte.</param>
/// <param name="Length">Bytes; 0 where there is none.</param>
public readonly record struct FileRange(ulong Offset, ulong Length);
