using System.Buffers.Binary;
using Panacea.Target;

namespace Panacea.TestKit.Dumps;

/// <summary>One PT_LOAD.</summary>
/// <param name="Physical">First guest-physical address.</param>
/// <param name="Content">Bytes in the file.</param>
/// <param name="MemorySize">p_memsz.</param>
public sealed record ElfCoreSegment(ulong Physical, byte[] Content, ulong MemorySize);

/// <summary>Writes ELF cores.</summary>
public static class ElfCoreBytes
{
    /// <summary>A core of all RAM.</summary>
    public static byte[] Write(IGuestMemory memory, byte[] notes, bool extendedNumbering = false) => Write([.. memory.Ranges.Select(r =>
    {
        byte[] content = new byte[r.Length];
        if (!memory.TryRead(r.Start, content, out MemoryFault fault))
            throw new GuestMemoryException(fault, "test memory");
        return new ElfCoreSegment(r.Start.Value, content, r.Length);
    })], notes, extendedNumbering);

    /// <summary>A core of some segments: header, program headers, the section header that counts them where asked for, notes, memory.</summary>
    public static byte[] Write(IReadOnlyList<ElfCoreSegment> segments, byte[] notes, bool extendedNumbering = false)
    {
        int count = segments.Count + 1, sectionAt = 64 + (56 * count), notesAt = sectionAt + (extendedNumbering ? 64 : 0), at = notesAt + notes.Length;
        byte[] file = new byte[at + segments.Sum(s => s.Content.Length)];
        ((ReadOnlySpan<byte>)[0x7f, (byte)'E', (byte)'L', (byte)'F', 2, 1, 1]).CopyTo(file);
        BinaryPrimitives.WriteUInt16LittleEndian(file.AsSpan(16), 4);
        BinaryPrimitives.WriteUInt16LittleEndian(file.AsSpan(18), 62);
        BinaryPrimitives.WriteUInt64LittleEndian(file.AsSpan(32), 64);
        BinaryPrimitives.WriteUInt16LittleEndian(file.AsSpan(52), 64);
        BinaryPrimitives.WriteUInt16LittleEndian(file.AsSpan(54), 56);
        BinaryPrimitives.WriteUInt16LittleEndian(file.AsSpan(56), extendedNumbering ? (ushort)0xffff : (ushort)count);
        if (extendedNumbering)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(file.AsSpan(40), (ulong)sectionAt);
            BinaryPrimitives.WriteInt32LittleEndian(file.AsSpan(sectionAt + 44), count);
        }

        Header(0, 4, notesAt, 0, (ulong)notes.Length, (ulong)notes.Length);
        notes.CopyTo(file, notesAt);
        for (int i = 0; i < segments.Count; i++)
        {
            Header(i + 1, 1, at, segments[i].Physical, (ulong)segments[i].Content.Length, segments[i].MemorySize);
            segments[i].Content.CopyTo(file, at);
            at += segments[i].Content.Length;
        }

        return file;

        void Header(int index, uint type, int offset, ulong physical, ulong fileSize, ulong memorySize)
        {
            Span<byte> header = file.AsSpan(64 + (56 * index), 56);
            BinaryPrimitives.WriteUInt32LittleEndian(header, type);
            BinaryPrimitives.WriteUInt64LittleEndian(header[8..], (ulong)offset);
            BinaryPrimitives.WriteUInt64LittleEndian(header[24..], physical);
            BinaryPrimitives.WriteUInt64LittleEndian(header[32..], fileSize);
            BinaryPrimitives.WriteUInt64LittleEndian(header[40..], memorySize);
        }
    }
}
