using System.Buffers.Binary;

namespace Panacea.TestKit.Fuzzing;

/// <summary>Makes a damaged copy of a good input. Most edits go where the structure is: headers, tables, lengths.</summary>
/// <param name="structure">Parts of the input that hold structure, as [start, end); none: all of it.</param>
public sealed class ByteMutator(params (int Start, int End)[] structure)
{
    /// <summary>Values at which something ends: counts, lengths, offsets, signs.</summary>
    public static IReadOnlyList<ulong> Edges { get; } =
    [
        0, 1, 2, 3, 4, 7, 8, 0x10, 0x3f, 0x40, 0x7f, 0x80, 0xff, 0x100, 0xfff, 0x1000, 0x1001, 0x7fff, 0x8000, 0xffff, 0x1_0000, 0xff_ffff, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff, 0x1_0000_0000,
        0x7fff_ffff_ffff_ffff, 0x8000_0000_0000_0000, 0xffff_8000_0000_0000, 0xffff_ffff_8000_0000, ulong.MaxValue - 7, ulong.MaxValue - 1, ulong.MaxValue,
    ];

    /// <summary>One of the inputs with one to six edits.</summary>
    /// <param name="corpus">Good inputs.</param>
    /// <param name="random">Draws.</param>
    public byte[] Mutate(IReadOnlyList<byte[]> corpus, Random random)
    {
        byte[] input = [.. corpus[random.Next(corpus.Count)]];
        for (int edits = random.Next(1, 7); edits > 0 && input.Length >= 8; edits--)
            input = Edit(input, corpus, random);
        return input;
    }

    private byte[] Edit(byte[] input, IReadOnlyList<byte[]> corpus, Random random)
    {
        (int start, int end) = structure.Length == 0 || random.Next(5) == 0 ? (0, input.Length) : structure[random.Next(structure.Length)];
        int at = Math.Min(random.Next(start, Math.Max(end, start + 1)), input.Length - 1);
        int width = 1 << random.Next(4);
        int aligned = Math.Min(at & ~(width - 1), input.Length - width);
        switch (random.Next(12))
        {
            case 0:
            case 1:
                input[at] ^= (byte)(1 << random.Next(8));
                break;
            case 2:
                input[at] = (byte)random.Next(256);
                break;
            case 3:
            case 4:
            case 5:
                Put(input.AsSpan(aligned, width), random.Next(4) == 0 ? (ulong)input.Length - (ulong)random.Next(3) : Edges[random.Next(Edges.Count)]);
                break;
            case 6:
            case 7:
                Span<byte> place = input.AsSpan(aligned, width);
                Put(place, unchecked(Get(place) + (ulong)random.Next(-3, 4)));
                break;
            case 8:
                int length = Math.Min(random.Next(64), input.Length - at);
                input.AsSpan(random.Next(input.Length - length + 1), length).CopyTo(input.AsSpan(at, length));
                break;
            case 9 when random.Next(4) == 0:
                byte[] other = corpus[random.Next(corpus.Count)];
                int shared = Math.Min(at, other.Length);
                return [.. input[..at], .. other[shared..]];
            case 10 when random.Next(4) == 0:
                int gone = Math.Min(random.Next(1, 64), input.Length - at);
                return random.Next(2) == 0 ? [.. input[..at], .. input[(at + gone)..]] : [.. input[..at], .. input[at..(at + gone)], .. input[at..]];
            case 11 when random.Next(4) == 0:
                return input[..random.Next(input.Length)];
        }

        return input;
    }

    private static ulong Get(ReadOnlySpan<byte> at) => at.Length switch
    {
        1 => at[0],
        2 => BinaryPrimitives.ReadUInt16LittleEndian(at),
        4 => BinaryPrimitives.ReadUInt32LittleEndian(at),
        _ => BinaryPrimitives.ReadUInt64LittleEndian(at),
    };

    private static void Put(Span<byte> at, ulong value)
    {
        Span<byte> raw = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(raw, value);
        raw[..at.Length].CopyTo(at);
    }
}
