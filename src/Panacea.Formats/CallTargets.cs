using System.Buffers.Binary;

namespace Panacea.Formats;

/// <summary>
/// A reversible transform that makes x86 machine code compress better: the operands of near calls and jumps (E8, E9) are rewritten from
/// "relative to here" to "from the start of the code", so that calls of one function look alike. It needs no disassembly: the
/// bytes after anything that looks like such an instruction are mapped one to one. (The idea is LZX's.)
/// </summary>
public static class CallTargets
{
    private const int InstructionBytes = 5;

    /// <summary>Transforms code in place, before compression.</summary>
    public static void Encode(Span<byte> code) => Run(code, encode: true);

    /// <summary>Undoes <see cref="Encode"/> in place. Any bytes are valid.</summary>
    public static void Decode(Span<byte> code) => Run(code, encode: false);

    private static void Run(Span<byte> code, bool encode)
    {
        int size = code.Length;
        for (int at = 0; at <= size - InstructionBytes;)
        {
            int next = code[at..(size - InstructionBytes + 1)].IndexOfAny((byte)0xe8, (byte)0xe9);
            if (next < 0)
                return;
            at += next;
            Span<byte> operand = code.Slice(at + 1, 4);

            // Big-endian in the encoded form: targets that are near each other then share their first bytes.
            int value = encode ? BinaryPrimitives.ReadInt32LittleEndian(operand) : BinaryPrimitives.ReadInt32BigEndian(operand);
            if (value >= -at && value < size)
            {
                // [-at, size) onto itself: relative r becomes at + r where that lies in the code, else r - size, and back.
                value = encode
                    ? (value < size - at ? value + at : value - size)
                    : (value >= 0 ? value - at : value + size);
            }

            if (encode)
                BinaryPrimitives.WriteInt32BigEndian(operand, value);
            else
                BinaryPrimitives.WriteInt32LittleEndian(operand, value);
            at += InstructionBytes;
        }
    }
}
