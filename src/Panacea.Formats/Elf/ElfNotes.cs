using System.Buffers.Binary;
using System.Text;

namespace Panacea.Formats.Elf;

/// <summary>One ELF note (Elf64_Nhdr: u32 namesz, u32 descsz, u32 type; name and descriptor padded to 4 bytes).</summary>
/// <param name="Name">Owner, without its NUL.</param>
/// <param name="Type">The owner's number for what the descriptor is.</param>
/// <param name="Descriptor">The content.</param>
public readonly record struct ElfNote(string Name, uint Type, ReadOnlyMemory<byte> Descriptor);

/// <summary>Reads note sections such as the kernel's <c>.notes</c> (<c>__start_notes</c> to <c>__stop_notes</c>).</summary>
public static class ElfNotes
{
    /// <summary>NT_GNU_BUILD_ID.</summary>
    public const uint GnuBuildId = 3;

    private const int MaxNotes = 1024;
    private const int MaxNameBytes = 256;

    /// <summary>Reads all notes.</summary>
    /// <param name="section">The section's bytes.</param>
    /// <param name="notes">The notes before the end or before the first that is malformed.</param>
    /// <param name="whyNot">What is wrong, where the result is false.</param>
    /// <returns>True when the whole section was well-formed notes; trailing zeros are padding.</returns>
    public static bool TryRead(ReadOnlyMemory<byte> section, out IReadOnlyList<ElfNote> notes, out string whyNot)
    {
        var read = new List<ElfNote>();
        notes = read;
        whyNot = "";
        ReadOnlySpan<byte> bytes = section.Span;
        int at = 0;
        while (at < bytes.Length && bytes[at..].ContainsAnyExcept((byte)0))
        {
            if (read.Count == MaxNotes)
                whyNot = $"more than {MaxNotes} notes";
            else if (!TryReadOne(section[at..], out ElfNote note, out int length))
                whyNot = $"the note at offset {at} reaches past its section or has an impossible name";
            else
            {
                read.Add(note);
                at += length;
                continue;
            }

            return false;
        }

        return true;
    }

    /// <summary>The GNU build id (20 bytes for a Linux kernel) among the notes of a section; a malformed note after it does not matter.</summary>
    public static bool TryFindBuildId(ReadOnlyMemory<byte> section, out ReadOnlyMemory<byte> buildId)
    {
        _ = TryRead(section, out IReadOnlyList<ElfNote> notes, out _);
        foreach (ElfNote note in notes)
        {
            if (note.Name == "GNU" && note.Type == GnuBuildId && note.Descriptor.Length is > 0 and <= 64)
            {
                buildId = note.Descriptor;
                return true;
            }
        }

        buildId = default;
        return false;
    }

    /// <summary>Reads the note at the start of <paramref name="bytes"/>.</summary>
    /// <param name="bytes">At least the note.</param>
    /// <param name="note">The note.</param>
    /// <param name="length">Its padded length: where the next one starts; not more than <paramref name="bytes"/> has.</param>
    public static bool TryReadOne(ReadOnlyMemory<byte> bytes, out ElfNote note, out int length)
    {
        note = default;
        length = 0;
        ReadOnlySpan<byte> raw = bytes.Span;
        if (raw.Length < 12)
            return false;
        uint nameSize = BinaryPrimitives.ReadUInt32LittleEndian(raw);
        uint size = BinaryPrimitives.ReadUInt32LittleEndian(raw[4..]);
        long descriptor = 12 + ((nameSize + 3L) & ~3L);
        if (nameSize > MaxNameBytes || descriptor + size > raw.Length)
            return false;
        ReadOnlySpan<byte> name = raw.Slice(12, (int)nameSize);
        if (nameSize > 0 && name[^1] == 0)
            name = name[..^1];
        note = new ElfNote(Encoding.UTF8.GetString(name), BinaryPrimitives.ReadUInt32LittleEndian(raw[8..]), bytes.Slice((int)descriptor, (int)size));
        length = (int)Math.Min((descriptor + size + 3) & ~3L, raw.Length);
        return true;
    }
}
