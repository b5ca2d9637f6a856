using System.Buffers.Binary;

namespace Panacea.Formats;

/// <summary>
/// A reversible transform that makes arrays of slowly changing little-endian u32s (symbol values, name offsets, type offsets, ORC addresses)
/// compress several times better: zigzag differences, then all first bytes, all second bytes and so on. The length stays the same.
/// Bytes behind the last whole word are copied.
/// </summary>
public static class WordDelta
{
    /// <summary>Transforms before compression.</summary>
    /// <exception cref="ArgumentException">The two spans do not have one length.</exception>
    public static void Encode(ReadOnlySpan<byte> words, Span<byte> destination)
    {
        int count = Words(words, destination);
        uint last = 0;
        for (int i = 0; i < count; i++)
        {
            uint word = BinaryPrimitives.ReadUInt32LittleEndian(words[(4 * i)..]);
            uint delta = unchecked(word - last);
            uint zigzag = unchecked((delta << 1) ^ (uint)((int)delta >> 31));
            destination[i] = unchecked((byte)zigzag);
            destination[count + i] = unchecked((byte)(zigzag >> 8));
            destination[2 * count + i] = unchecked((byte)(zigzag >> 16));
            destination[3 * count + i] = (byte)(zigzag >> 24);
            last = word;
        }
    }

    /// <summary>Undoes <see cref="Encode"/>. Any bytes are valid.</summary>
    /// <exception cref="ArgumentException">The two spans do not have one length.</exception>
    public static void Decode(ReadOnlySpan<byte> encoded, Span<byte> destination)
    {
        int count = Words(encoded, destination);
        uint last = 0;
        for (int i = 0; i < count; i++)
        {
            uint zigzag = encoded[i] | (uint)encoded[count + i] << 8 | (uint)encoded[2 * count + i] << 16 | (uint)encoded[3 * count + i] << 24;
            last = unchecked(last + ((zigzag >> 1) ^ (0 - (zigzag & 1))));
            BinaryPrimitives.WriteUInt32LittleEndian(destination[(4 * i)..], last);
        }
    }

    private static int Words(ReadOnlySpan<byte> from, Span<byte> to)
    {
        if (from.Length != to.Length)
            throw new ArgumentException($"{from.Length} bytes can't become {to.Length}", nameof(to));
        int count = from.Length / 4;
        from[(4 * count)..].CopyTo(to[(4 * count)..]);
        return count;
    }
}
