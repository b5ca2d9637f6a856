using System.Buffers.Binary;
using Panacea.Formats;

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

    /// <summary>x86-64 code, see <see cref="CodeOperands"/>.</summary>
    Code = 4,
}

/// <summary>Applies and undoes filters.</summary>
internal static class SectionFilters
{
    private const int OrcRowBytes = 6;

    /// <summary>The filter that suits a section.</summary>
    public static SectionFilter For(ImageSection kind) => kind switch
    {
        ImageSection.OrcIps => SectionFilter.SlotDelta32,
        ImageSection.OrcRows => SectionFilter.Planes6,
        ImageSection.Text => SectionFilter.Code,
        ImageSection.Symbols1 or ImageSection.Symbols3 or ImageSection.BtfTypeIndex => SectionFilter.Delta32,
        _ => SectionFilter.None,
    };

    /// <summary>The filtered bytes, of the same length.</summary>
    public static byte[] Apply(SectionFilter filter, ReadOnlySpan<byte> raw)
    {
        byte[] result = raw.ToArray();
        switch (filter)
        {
            case SectionFilter.Code:
                CodeOperands.Encode(result);
                return result;
            case SectionFilter.SlotDelta32:
                AddSlots(result, sign: 1);
                WordDelta.Encode(result.ToArray(), result);
                return result;
            case SectionFilter.Delta32:
                WordDelta.Encode(raw, result);
                return result;
            case SectionFilter.Planes6:
                Transpose(raw, result, OrcRowBytes, split: true);
                return result;
            default:
                return result;
        }
    }

    /// <summary>The raw bytes again.</summary>
    public static byte[] Undo(SectionFilter filter, byte[] filtered)
    {
        byte[] result = new byte[filtered.Length];
        switch (filter)
        {
            case SectionFilter.Code:
                CodeOperands.Decode(filtered);
                return filtered;
            case SectionFilter.SlotDelta32:
                WordDelta.Decode(filtered, result);
                AddSlots(result, sign: -1);
                return result;
            case SectionFilter.Delta32:
                WordDelta.Decode(filtered, result);
                return result;
            case SectionFilter.Planes6:
                Transpose(filtered, result, OrcRowBytes, split: false);
                return result;
            default:
                return filtered;
        }
    }

    private static void AddSlots(byte[] words, int sign)
    {
        for (int i = 0; i + 4 <= words.Length; i += 4)
            BinaryPrimitives.WriteInt32LittleEndian(words.AsSpan(i), unchecked(BinaryPrimitives.ReadInt32LittleEndian(words.AsSpan(i)) + (sign * i)));
    }

    private static void Transpose(ReadOnlySpan<byte> from, Span<byte> to, int stride, bool split)
    {
        int records = from.Length / stride;
        for (int plane = 0, packed = 0; plane < stride; plane++)
        {
            for (int i = 0, spread = plane; i < records; i++, packed++, spread += stride)
            {
                if (split)
                    to[packed] = from[spread];
                else
                    to[spread] = from[packed];
            }
        }

        from[(records * stride)..].CopyTo(to[(records * stride)..]);
    }
}
