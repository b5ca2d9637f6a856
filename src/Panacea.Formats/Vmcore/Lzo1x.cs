using System.Buffers.Binary;

namespace Panacea.Formats.Vmcore;

/// <summary>Unpacks LZO1X blocks, as makedumpfile and QEMU write them. Written from the kernel's description of the format (Documentation/staging/lzo.rst).</summary>
/// <remarks>A block is a chain of instructions: literals to copy, or a match (distance back into the output, length) and 0 to 3 literals after it. Every read and copy is checked against both
/// buffers; a match never reaches before the output's start.</remarks>
public static class Lzo1x
{
    /// <summary>What the last instruction leaves for the meaning of one that begins with four zero bits: 0, 1 to 3 literals, or a literal run.</summary>
    private const int AfterRun = 4;

    /// <summary>Unpacks one block.</summary>
    /// <param name="source">The block, up to and with its end mark.</param>
    /// <param name="destination">Receives the bytes.</param>
    /// <param name="written">Bytes unpacked.</param>
    /// <returns>False where the block is malformed, lacks its end mark, or does not fit.</returns>
    public static bool TryDecompress(ReadOnlySpan<byte> source, Span<byte> destination, out int written)
    {
        written = 0;
        int from = 0, to = 0, state = 0;
        if (source.Length < 3)
            return false;

        // The first byte may stand for literals alone. 17 here would announce a later version of the format (LZO-RLE), which no dump writer uses.
        if (source[0] > 17)
        {
            int literals = source[0] - 17;
            from = 1;
            if (!TryLiterals(source, ref from, destination, ref to, literals))
                return false;
            state = literals < AfterRun ? literals : AfterRun;
        }

        while (from < source.Length)
        {
            int instruction = source[from++];
            int length, distance, literals;
            if (instruction < 16)
            {
                if (state == 0)
                {
                    if (!TryLength(source, ref from, instruction, 15, 3, out length) || !TryLiterals(source, ref from, destination, ref to, length))
                        return false;
                    state = AfterRun;
                    continue;
                }

                if (from >= source.Length)
                    return false;
                distance = (source[from++] << 2) + (instruction >> 2) + (state == AfterRun ? 2049 : 1);
                length = state == AfterRun ? 3 : 2;
                literals = instruction & 3;
            }
            else if (instruction < 64)
            {
                bool near = instruction >= 32;
                if (!TryLength(source, ref from, instruction & (near ? 31 : 7), near ? 31 : 7, 2, out length) || source.Length - from < 2)
                    return false;
                int word = BinaryPrimitives.ReadUInt16LittleEndian(source[from..]);
                from += 2;
                literals = word & 3;
                distance = near ? (word >> 2) + 1 : 16384 + ((instruction & 8) << 11) + (word >> 2);

                // The end mark is a far match of no distance.
                if (!near && distance == 16384)
                {
                    written = to;
                    return length == 3 && from == source.Length;
                }
            }
            else
            {
                if (from >= source.Length)
                    return false;
                distance = (source[from++] << 3) + ((instruction >> 2) & 7) + 1;
                length = instruction < 128 ? 3 + ((instruction >> 5) & 1) : 5 + ((instruction >> 5) & 3);
                literals = instruction & 3;
            }

            if (!TryMatch(destination, ref to, distance, length) || !TryLiterals(source, ref from, destination, ref to, literals))
                return false;
            state = literals;
        }

        return false;
    }

    /// <summary>A length that may go on in further bytes: zero bytes count 255 each, the first other one ends it.</summary>
    private static bool TryLength(ReadOnlySpan<byte> source, ref int from, int bits, int full, int extra, out int length)
    {
        length = bits + extra;
        if (bits != 0)
            return true;
        length = full + extra;
        while (from < source.Length && source[from] == 0)
        {
            length += 255;
            from++;
        }

        if (from >= source.Length)
            return false;
        length += source[from++];
        return true;
    }

    private static bool TryLiterals(ReadOnlySpan<byte> source, ref int from, Span<byte> destination, ref int to, int count)
    {
        if (count > source.Length - from || count > destination.Length - to)
            return false;
        source.Slice(from, count).CopyTo(destination[to..]);
        from += count;
        to += count;
        return true;
    }

    private static bool TryMatch(Span<byte> destination, ref int to, int distance, int length)
    {
        if (distance > to || length > destination.Length - to)
            return false;
        Span<byte> output = destination.Slice(to, length);
        ReadOnlySpan<byte> match = destination[(to - distance)..];
        if (distance >= length)
        {
            match[..length].CopyTo(output);
        }
        else
        {
            // Source and result overlap: bytes just written are read again.
            for (int i = 0; i < length; i++)
                output[i] = match[i];
        }

        to += length;
        return true;
    }
}
