using System.Buffers.Binary;
using System.Text;
using Panacea.Formats.VmcoreInfo;

namespace Panacea.Formats.Tests;

public sealed class VmcoreInfoTests
{
    private const string Text = """
        OSRELEASE=6.1.0-56-cloud-amd64
        BUILD-ID=3b43fad5034874490492495d552c0af6a5fab235
        PAGESIZE=4096
        SYMBOL(init_uts_ns)=ffffffffa4c14840
        SYMBOL(_stext)=ffffffffa3000000
        OFFSET(uts_namespace.name)=0
        OFFSET(list_head.prev)=8
        SIZE(page)=64
        LENGTH(mem_section)=2048
        NUMBER(phys_base)=-19922944
        NUMBER(sme_mask)=0
        NUMBER(pgtable_l5_enabled)=1
        NUMBER(VA_BITS)=0x30
        NUMBER(huge)=18446744073709551615
        KERNELOFFSET=22000000
        SYMBOL(_stext)=0
        CONFIG_X86=y
        a line without
        =no key

        """;

    private static VmcoreInfoData Parse(string text)
    {
        Assert.True(VmcoreInfoData.TryParse(Encoding.UTF8.GetBytes(text), FormatLimits.Default, out VmcoreInfoData info, out string whyNot), whyNot);
        return info;
    }

    private static byte[] Note(ReadOnlySpan<byte> text, uint? size = null)
    {
        byte[] note = new byte[24 + text.Length];
        BinaryPrimitives.WriteUInt32LittleEndian(note, 11);
        BinaryPrimitives.WriteUInt32LittleEndian(note.AsSpan(4), size ?? (uint)text.Length);
        "VMCOREINFO"u8.CopyTo(note.AsSpan(12));
        text.CopyTo(note.AsSpan(24));
        return note;
    }

    [Fact]
    public void Every_form_of_line_is_read()
    {
        VmcoreInfoData info = Parse(Text);
        Assert.Equal("6.1.0-56-cloud-amd64", info.OsRelease);
        Assert.True(info.TryGetBuildId(out byte[] id));
        Assert.Equal("3b43fad5034874490492495d552c0af6a5fab235", Convert.ToHexStringLower(id));
        Assert.True(info.TryGetSymbol("_stext", out ulong stext));
        Assert.Equal(0xffff_ffff_a300_0000, stext);
        Assert.True(info.TryGetOffset("list_head.prev", out int offset));
        Assert.True(info.TryGetSize("page", out int size));
        Assert.True(info.TryGetLength("mem_section", out int length));
        Assert.Equal((8, 64, 2048), (offset, size, length));
        Assert.True(info.TryGetNumber("phys_base", out long number));
        Assert.Equal(-19922944, number);
        Assert.True(info.TryGetNumber("VA_BITS", out number));
        Assert.Equal(48, number);
        Assert.True(info.TryGetNumber("huge", out number));
        Assert.Equal(-1, number);
        Assert.True(info.TryGetKernelOffset(out ulong kaslr));
        Assert.Equal(0x2200_0000UL, kaslr);
        Assert.Equal("y", info.Values["CONFIG_X86"]);
    }

    [Fact]
    public void What_is_not_there_or_not_a_number_is_not_found()
    {
        VmcoreInfoData info = Parse("OSRELEASE=5\nSYMBOL(a)=xyz\nSYMBOL(b)=\nSIZE(c)=-1\nSIZE(d)=99999999999\nNUMBER(e)=1e3\nKERNELOFFSET=12345678901234567\nBUILD-ID=abc\n");
        Assert.False(info.TryGetSymbol("a", out _));
        Assert.False(info.TryGetSymbol("b", out _));
        Assert.False(info.TryGetSymbol("absent", out _));
        Assert.False(info.TryGetSize("c", out _));
        Assert.False(info.TryGetSize("d", out _));
        Assert.False(info.TryGetNumber("e", out _));
        Assert.False(info.TryGetNumber("absent", out _));
        Assert.False(info.TryGetKernelOffset(out _));
        Assert.False(info.TryGetBuildId(out _));
        Assert.False(Parse("OSRELEASE=5\nBUILD-ID=zz").TryGetBuildId(out _));
        Assert.False(Parse("OSRELEASE=5").TryGetBuildId(out _));
    }

    [Fact]
    public void A_note_in_a_page_is_recognised_and_read()
    {
        byte[] page = [.. Note(Encoding.UTF8.GetBytes(Text)), .. new byte[1000]];
        Assert.True(VmcoreInfoData.IsNoteHeader(page));
        Assert.True(VmcoreInfoData.TryParseNote(page, FormatLimits.Default, out VmcoreInfoData info, out _));
        Assert.Equal("6.1.0-56-cloud-amd64", info.OsRelease);
        byte[] padded = Note([.. "OSRELEASE=6\n"u8, 0, 0, 0, .. "SIZE(x)=1\n"u8]);
        Assert.True(VmcoreInfoData.TryParseNote(padded, FormatLimits.Default, out info, out _));
        Assert.False(info.TryGetSize("x", out _));
    }

    [Fact]
    public void Malformed_notes_are_refused()
    {
        byte[] note = Note("OSRELEASE=6\n"u8);
        for (int length = 0; length < note.Length; length++)
            Assert.False(VmcoreInfoData.TryParseNote(note.AsSpan(0, length), FormatLimits.Default, out _, out _));
        Assert.False(VmcoreInfoData.TryParseNote(Note("OSRELEASE=6\n"u8, uint.MaxValue), FormatLimits.Default, out _, out string whyNot));
        Assert.Contains("4294967295", whyNot, StringComparison.Ordinal);
        note[12] = (byte)'X';
        Assert.False(VmcoreInfoData.IsNoteHeader(note));
        Assert.False(VmcoreInfoData.TryParse("PAGESIZE=4096\n"u8, FormatLimits.Default, out _, out whyNot));
        Assert.Contains("OSRELEASE", whyNot, StringComparison.Ordinal);
        Assert.False(VmcoreInfoData.TryParse("OSRELEASE=1\nA=1\nB=2\n"u8, FormatLimits.Default with { MaxVmcoreInfoLines = 2 }, out _, out _));
        Assert.False(VmcoreInfoData.TryParse("OSRELEASE=1\nA=1\nB=2\n"u8, FormatLimits.Default with { MaxNoteBytes = 10 }, out _, out _));
    }
}
