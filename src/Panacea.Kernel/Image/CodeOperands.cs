using System.Buffers.Binary;
using Iced.Intel;

namespace Panacea.Kernel.Image;

/// <summary>
/// A reversible transform that makes x86-64 machine code compress better: the 32-bit operands that are relative to their own instruction (near calls and jumps, RIP-relative data) are
/// rewritten to offsets from the start of the code, big-endian, so that uses of one function or variable look alike wherever they stand.
/// </summary>
/// <remarks>The length of an instruction, and where its operand lies, follow from bytes that are never rewritten: decoding the rewritten code finds the same places. Where
/// nothing decodes, all bytes that the decoder may have looked at stay as they are, so that it fails there again. Any bytes are valid.</remarks>
internal static class CodeOperands
{
    private const int OperandBytes = 4, LongestInstruction = 15;

    /// <summary>Rewrites in place, before compression.</summary>
    public static void Encode(byte[] code) => Run(code, encode: true);

    /// <summary>Undoes <see cref="Encode"/> in place.</summary>
    public static void Decode(byte[] code) => Run(code, encode: false);

    private static void Run(byte[] code, bool encode)
    {
        var reader = new ByteArrayCodeReader(code);
        Decoder decoder = Decoder.Create(64, reader);
        for (int at = 0; at < code.Length;)
        {
            reader.Position = at;
            decoder.IP = (ulong)at;
            decoder.Decode(out Instruction instruction);
            if (instruction.IsInvalid)
            {
                at += LongestInstruction;
                continue;
            }

            int next = at + instruction.Length;
            if (OperandOf(decoder, instruction) is { } offset)
            {
                Span<byte> operand = code.AsSpan(at + offset, OperandBytes);
                if (encode)
                    BinaryPrimitives.WriteInt32BigEndian(operand, unchecked(BinaryPrimitives.ReadInt32LittleEndian(operand) + next));
                else
                    BinaryPrimitives.WriteInt32LittleEndian(operand, unchecked(BinaryPrimitives.ReadInt32BigEndian(operand) - next));
            }

            at = next;
        }
    }

    /// <summary>Where the relative operand lies in the instruction; null where it has none of 32 bits. Conditional jumps stay near, and as they are.</summary>
    private static int? OperandOf(Decoder decoder, in Instruction instruction)
    {
        ConstantOffsets constants = decoder.GetConstantOffsets(instruction);
        if (instruction.IsIPRelativeMemoryOperand)
            return constants.DisplacementSize == OperandBytes ? constants.DisplacementOffset : null;
        return instruction.FlowControl is FlowControl.Call or FlowControl.UnconditionalBranch && constants.ImmediateSize == OperandBytes ? constants.ImmediateOffset : null;
    }
}
