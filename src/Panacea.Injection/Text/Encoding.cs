using System.Diagnostics.CodeAnalysis;
using Iced.Intel;

namespace Panacea.Injection.Text;

/// <summary>Turns changed instructions back into bytes.</summary>
internal static class Encoding
{
    /// <summary>The bytes of an instruction that is to stand where another stood.</summary>
    /// <param name="changed">The instruction.</param>
    /// <param name="original">The one whose place it takes.</param>
    /// <param name="bytes">As long as the original: a shorter one is followed by NOPs.</param>
    /// <returns>False where there is no such instruction, or it is longer.</returns>
    public static bool TryReplace(in Instruction changed, in Instruction original, [NotNullWhen(true)] out byte[]? bytes)
    {
        bytes = null;
        var writer = new Collected();
        if (!Encoder.Create(64, writer).TryEncode(changed, original.IP, out _, out _) || writer.Bytes.Count > original.Length)
            return false;
        bytes = [.. writer.Bytes, .. Nops(original.Length - writer.Bytes.Count)];

        // What can't be read back as what was meant is another fault than the one that was asked for.
        var decoder = Decoder.Create(64, new ByteArrayCodeReader(bytes), original.IP);
        decoder.Decode(out Instruction read);
        return !read.IsInvalid && read.Mnemonic == changed.Mnemonic;
    }

    /// <summary>One instruction that does nothing, or some.</summary>
    public static byte[] Nops(int length)
    {
        // The NOPs of Intel's manual ("Recommended Multi-Byte Sequence of NOP Instruction"), up to the nine bytes that are fast everywhere.
        byte[][] all =
        [
            [], [0x90], [0x66, 0x90], [0x0f, 0x1f, 0x00], [0x0f, 0x1f, 0x40, 0x00], [0x0f, 0x1f, 0x44, 0x00, 0x00], [0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00], [0x0f, 0x1f, 0x80, 0, 0, 0, 0],
            [0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0], [0x66, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0],
        ];
        var bytes = new List<byte>(length);
        while (bytes.Count < length)
            bytes.AddRange(all[Math.Min(all.Length - 1, length - bytes.Count)]);
        return [.. bytes];
    }

    private sealed class Collected : CodeWriter
    {
        public List<byte> Bytes { get; } = [];

        public override void WriteByte(byte value) => Bytes.Add(value);
    }
}
