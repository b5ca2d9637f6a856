using Iced.Intel;

namespace Panacea.Kernel.Code;

/// <summary>Instructions that do nothing.</summary>
public static class Nops
{
    /// <summary>Whether the first instruction is a NOP of any length or ENDBR64, and how long it is: a stop at it is passed by moving RIP,
    /// without a single step.</summary>
    /// <param name="code">Bytes from the instruction on; 15 are always enough.</param>
    /// <param name="length">Bytes of the instruction, 0 where the result is false.</param>
    public static bool TryLengthOfLeadingNop(ReadOnlySpan<byte> code, out int length)
    {
        length = 0;
        byte[] bytes = code[..Math.Min(code.Length, 15)].ToArray();
        var decoder = Decoder.Create(64, new ByteArrayCodeReader(bytes));
        decoder.Decode(out Instruction instruction);
        if (!IsNop(instruction))
            return false;
        length = instruction.Length;
        return true;
    }

    /// <summary>True for NOP, multi-byte NOP, ENDBR64 and XCHG AX,AX in their forms that change nothing.</summary>
    internal static bool IsNop(in Instruction instruction) =>
        !instruction.IsInvalid && instruction.Mnemonic is Mnemonic.Nop or Mnemonic.Endbr64 or Mnemonic.Endbr32 or Mnemonic.Reservednop;
}
