using System.Buffers.Binary;
using System.Text;
using Panacea.Formats.Elf;

namespace Panacea.Formats.Tests;

public sealed class ElfNotesTests
{
    private static byte[] Note(string name, uint type, byte[] descriptor, uint? nameSize = null, uint? size = null)
    {
        byte[] text = [.. Encoding.UTF8.GetBytes(name), 0];
        byte[] header = new byte[12];
        BinaryPrimitives.WriteUInt32LittleEndian(header, nameSize ?? (uint)text.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(4), size ?? (uint)descriptor.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(8), type);
        return [.. header, .. Pad(text), .. Pad(descriptor)];

        static byte[] Pad(byte[] bytes) => [.. bytes, .. new byte[-bytes.Length & 3]];
    }

    private static readonly byte[] BuildId = [.. Enumerable.Range(1, 20).Select(i => (byte)i)];

    [Fact]
    public void Notes_of_a_kernel_are_read_in_order()
    {
        byte[] section = [.. Note("Xen", 6, [1, 2, 3, 4, 5]), .. Note("Linux", 0x101, [9]), .. Note("GNU", 3, BuildId), .. Note("Linux", 257, []), 0, 0, 0, 0];
        Assert.True(ElfNotes.TryRead(section, out IReadOnlyList<ElfNote> notes, out string whyNot), whyNot);
        Assert.Equal(["Xen", "Linux", "GNU", "Linux"], notes.Select(n => n.Name));
        Assert.Equal(5, notes[0].Descriptor.Length);
        Assert.True(ElfNotes.TryFindBuildId(section, out ReadOnlyMemory<byte> id));
        Assert.Equal(BuildId, id.ToArray());
    }

    [Fact]
    public void A_build_id_before_a_malformed_note_is_still_found()
    {
        byte[] section = [.. Note("GNU", 3, BuildId), .. Note("x", 1, [1], size: 0xffff_ffff)];
        Assert.False(ElfNotes.TryRead(section, out IReadOnlyList<ElfNote> notes, out string whyNot));
        Assert.Single(notes);
        Assert.Contains("offset", whyNot, StringComparison.Ordinal);
        Assert.True(ElfNotes.TryFindBuildId(section, out _));
    }

    [Fact]
    public void Hostile_lengths_are_refused()
    {
        foreach (byte[] section in (byte[][])[
            Note("GNU", 3, BuildId, size: 21), Note("GNU", 3, BuildId, nameSize: 0xffff_ffff), Note("GNU", 3, BuildId, nameSize: 300), [1, 0, 0, 0, 0, 0],
            Note("GNU", 3, BuildId)[..^1]])
        {
            Assert.False(ElfNotes.TryRead(section, out _, out _));
            Assert.False(ElfNotes.TryFindBuildId(section, out _));
        }

        Assert.False(ElfNotes.TryFindBuildId(Note("GNU", 3, []), out _));
        Assert.False(ElfNotes.TryFindBuildId(Note("GNU", 1, BuildId), out _));
        Assert.True(ElfNotes.TryRead(default, out IReadOnlyList<ElfNote> none, out _));
        Assert.Empty(none);
        byte[] many = [.. Enumerable.Repeat(Note("a", 1, []), 1025).SelectMany(n => n)];
        Assert.False(ElfNotes.TryRead(many, out _, out string whyNot));
        Assert.Contains("more than 1024", whyNot, StringComparison.Ordinal);
    }
}
