using System.Buffers.Binary;

namespace Panacea.Kernel.Image;

/// <summary>Reversible rearrangements of a section's bytes that make tables compress better; they change nothing but the size on disk.</summary>
internal enum SectionFilter : uint
{
    /// <summary>As they are.</summary>
    None = 0,

    /// <summary>u32 values: differences of neighbours, then all first bytes, all second bytes, and so on.</summary>
    Delta32 = 1,

    /// <summary>s32 values relative to their own slot (.orc_unwind_ip): made absolute first, then as <see cref="Delta32"/>.</summary>
    SlotDelta32 = 2,

    /// <summary>Records of six bytes (.orc_unwind): all first bytes, all second bytes, and so on.</summary>
    Planes6 = 3,

    /// <summary>x86 code: targets of CALL and JMP become offsets from the start, so that calls of one function look alike wherever they stand.</summary>
    Branches = 4,
}

/// <summary>Applies and undoes filters.</summary>
internal static class SectionFilters
{
    /// <summary>The filter that suits a section.</summary>
    public static SectionFilter For(ImageSection kind) => kind switch
    {
        ImageSection.OrcIps => SectionFilter.SlotDelta32,
        ImageSection.OrcRows => SectionFilter.Planes6,
        ImageSection.Text => SectionFilter.Branches,
        ImageSection.Symbols1 or ImageSection.Symbols3 or ImageSection.BtfTypeIndex => SectionFilter.Delta32,
        _ => SectionFilter.None,
    };

    /// <summary>The filtered bytes, of the same length.</summary>
    public static byte[] Apply(SectionFilter filter, ReadOnlySpan<byte> raw)
    {
        byte[] result = raw.ToArray();
        if (filter is SectionFilter.Delta32 or SectionFilter.SlotDelta32)
        {
            uint previous = 0;
            for (int i = 0; i + 4 <= result.Length; i += 4)
            {
                Span<byte> at = result.AsSpan(i, 4);
                uint value = BinaryPrimitives.ReadUInt32LittleEndian(at);
                if (filter == SectionFilter.SlotDelta32)
                    value = unchecked(value + (uint)i);
                BinaryPrimitives.WriteUInt32LittleEndian(at, unchecked(value - previous));
                previous = value;
            }
        }

        if (filter == SectionFilter.Branches)
            Translate(result, toAbsolute: true);
        return Stride(filter) is { } stride ? Split(result, stride) : result;
    }

    /// <summary>The raw bytes again.</summary>
    public static byte[] Undo(SectionFilter filter, byte[] filtered)
    {
        if (filter == SectionFilter.Branches)
            Translate(filtered, toAbsolute: false);
        byte[] result = Stride(filter) is { } stride ? Join(filtered, stride) : filtered;
        if (filter is SectionFilter.Delta32 or SectionFilter.SlotDelta32)
        {
            uint previous = 0;
            for (int i = 0; i + 4 <= result.Length; i += 4)
            {
                Span<byte> at = result.AsSpan(i, 4);
                previous = unchecked(previous + BinaryPrimitives.ReadUInt32LittleEndian(at));
                BinaryPrimitives.WriteUInt32LittleEndian(at, filter == SectionFilter.SlotDelta32 ? unchecked(previous - (uint)i) : previous);
            }
        }

        return result;
    }

    /// <summary>The E8 translation of cabinet files (MS-PATCH, LZX DELTA 2.6.3.1, there for CALL alone), a bijection: a displacement that leads inside becomes the offset it leads to; the
    /// displacements that those offsets would be mistaken for take their place.</summary>
    private static void Translate(byte[] code, bool toAbsolute)
    {
        int size = code.Length;
        for (int i = 0; i + 5 <= size; i++)
        {
            if ((code[i] & 0xfe) != 0xe8)
                continue;
            Span<byte> operand = code.AsSpan(i + 1, 4);
            long value = BinaryPrimitives.ReadInt32LittleEndian(operand);
            long result = value;
            if (toAbsolute)
                result = value >= -i && value < size - i ? value + i : value >= size - i && value < size ? value - size : value;
            else if (value >= -i && value < size)
                result = value >= 0 ? value - i : value + size;
            BinaryPrimitives.WriteInt32LittleEndian(operand, (int)result);
            i += 4;
        }
    }

    private static int? Stride(SectionFilter filter) => filter switch
    {
        SectionFilter.Delta32 or SectionFilter.SlotDelta32 => 4,
        SectionFilter.Planes6 => 6,
        _ => null,
    };

    private static byte[] Split(byte[] bytes, int stride)
    {
        int records = bytes.Length / stride;
        byte[] result = new byte[bytes.Length];
        for (int plane = 0, to = 0; plane < stride; plane++)
        {
            for (int i = 0, from = plane; i < records; i++, from += stride)
                result[to++] = bytes[from];
        }

        bytes.AsSpan(records * stride).CopyTo(result.AsSpan(records * stride));
        return result;
    }

    private static byte[] Join(byte[] bytes, int stride)
    {
        int records = bytes.Length / stride;
        byte[] result = new byte[bytes.Length];
        for (int plane = 0, from = 0; plane < stride; plane++)
        {
            for (int i = 0, to = plane; i < records; i++, to += stride)
                result[to] = bytes[from++];
        }

        bytes.AsSpan(records * stride).CopyTo(result.AsSpan(records * stride));
        return result;
    }
}
