using System.Buffers.Binary;

namespace Panacea.Formats.Vmcore;

/// <summary>A run of guest-physical memory as a core describes it: the first <paramref name="FileBytes"/> of it are in the file, the rest was left out.</summary>
/// <param name="Physical">First guest-physical address.</param>
/// <param name="FileBytes">Bytes that the file holds (p_filesz).</param>
/// <param name="MemoryBytes">Bytes that there were (p_memsz); at least <paramref name="FileBytes"/>, and not zero.</param>
public readonly record struct CoreSegment(ulong Physical, ulong FileBytes, ulong MemoryBytes);

/// <summary>
/// Everything of an ELF core of a whole x86-64 system that comes before its memory: ELF header, program headers, the section header that counts them where 16 bits do not, notes. The memory
/// of the segments follows at <see cref="MemoryOffset"/>, one segment's bytes behind the other's, in the order given. Immutable; no guest is read.
/// </summary>
/// <remarks>Shaped as the crash kernel writes it (fs/proc/vmcore.c): one PT_NOTE, then a PT_LOAD for each run, by physical address, with the address of the kernel's direct map as the
/// virtual one. What was left out is the end of a run: p_memsz is larger than p_filesz there, as makedumpfile -E has it.</remarks>
public sealed class ElfCoreWriter
{
    private const int HeaderSize = 64, ProgramHeaderSize = 56, SectionHeaderSize = 64;
    private const uint PtLoad = 1, PtNote = 4;

    /// <summary>PN_XNUM: the number of program headers is in the first section header (gABI, "Extended numbering").</summary>
    private const uint PnXnum = 0xffff;

    /// <summary>Memory begins on a page of the file, so that a page of zeros can be a hole of it.</summary>
    private const ulong PageSize = 4096;

    private readonly IReadOnlyList<CoreSegment> _segments;
    private readonly ReadOnlyMemory<byte> _notes;
    private readonly ulong _directMap;

    /// <summary>Lays out a core.</summary>
    /// <param name="segments">Runs of memory, ascending and disjoint.</param>
    /// <param name="notes">The notes, one behind the other; see <see cref="CoreNotes"/>.</param>
    /// <param name="directMap">Guest-virtual address at which the kernel maps guest-physical 0 (page_offset_base); 0 where there is none.</param>
    /// <exception cref="ArgumentException">The runs are not ascending, or one is empty or holds more than there was.</exception>
    public ElfCoreWriter(IReadOnlyList<CoreSegment> segments, ReadOnlyMemory<byte> notes, ulong directMap)
    {
        ulong end = 0, held = 0;
        foreach (CoreSegment s in segments)
        {
            if (s.MemoryBytes == 0 || s.FileBytes > s.MemoryBytes || s.Physical < end || s.MemoryBytes > ulong.MaxValue - s.Physical)
                throw new ArgumentException($"the run at 0x{s.Physical:x} is empty, holds more than there was, or comes before the end of another", nameof(segments));
            end = s.Physical + s.MemoryBytes;
            held = checked(held + s.FileBytes);
        }

        (_segments, _notes, _directMap) = (segments, notes, directMap);
        IsExtended = Count >= PnXnum;
        ulong head = (ulong)NotesOffset + (ulong)notes.Length;
        MemoryOffset = checked((long)((head + PageSize - 1) / PageSize * PageSize));
        Length = checked((long)((ulong)MemoryOffset + held));
    }

    /// <summary>Where the memory of the first segment begins in the file; a multiple of 4096.</summary>
    public long MemoryOffset { get; }

    /// <summary>Bytes of the whole file.</summary>
    public long Length { get; }

    /// <summary>There are more program headers than e_phnum can count.</summary>
    public bool IsExtended { get; }

    private uint Count => checked((uint)_segments.Count + 1);

    private long NotesOffset => HeaderSize + ((long)Count * ProgramHeaderSize) + (IsExtended ? SectionHeaderSize : 0);

    /// <summary>The bytes before the memory, <see cref="MemoryOffset"/> of them.</summary>
    public byte[] Head()
    {
        byte[] head = new byte[checked((int)MemoryOffset)];
        ((ReadOnlySpan<byte>)[0x7f, (byte)'E', (byte)'L', (byte)'F', 2, 1, 1]).CopyTo(head);
        Put16(head, 16, 4); // ET_CORE
        Put16(head, 18, 62); // EM_X86_64
        Put32(head, 20, 1);
        Put64(head, 32, HeaderSize);
        Put16(head, 52, HeaderSize);
        Put16(head, 54, ProgramHeaderSize);
        Put16(head, 56, (ushort)Math.Min(Count, PnXnum));
        if (IsExtended)
        {
            int section = (int)NotesOffset - SectionHeaderSize;
            Put64(head, 40, (ulong)section);
            Put16(head, 58, SectionHeaderSize);
            Put16(head, 60, 1);
            Put32(head, section + 44, Count); // sh_info
        }

        Put(head, 0, PtNote, (ulong)NotesOffset, 0, 0, (ulong)_notes.Length, (ulong)_notes.Length, 4);
        _notes.Span.CopyTo(head.AsSpan((int)NotesOffset));
        ulong at = (ulong)MemoryOffset;
        for (int i = 0; i < _segments.Count; i++)
        {
            CoreSegment s = _segments[i];
            Put(head, i + 1, PtLoad, at, _directMap == 0 ? 0 : unchecked(_directMap + s.Physical), s.Physical, s.FileBytes, s.MemoryBytes, 0);
            at += s.FileBytes;
        }

        return head;
    }

    private static void Put(byte[] head, int index, uint type, ulong offset, ulong virtualAddress, ulong physical, ulong fileBytes, ulong memoryBytes, ulong align)
    {
        const uint readWriteExecute = 7;
        int at = HeaderSize + (index * ProgramHeaderSize);
        Put32(head, at, type);
        Put32(head, at + 4, type == PtLoad ? readWriteExecute : 0);
        Put64(head, at + 8, offset);
        Put64(head, at + 16, virtualAddress);
        Put64(head, at + 24, physical);
        Put64(head, at + 32, fileBytes);
        Put64(head, at + 40, memoryBytes);
        Put64(head, at + 48, align);
    }

    private static void Put16(byte[] to, int at, ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(to.AsSpan(at), value);

    private static void Put32(byte[] to, int at, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(to.AsSpan(at), value);

    private static void Put64(byte[] to, int at, ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(to.AsSpan(at), value);
}
