using CsCheck;
using Panacea.Kernel.Image;

namespace Panacea.Kernel.Tests.Image;

public sealed class CodeOperandsTests
{
    [Fact]
    public void Uses_of_one_place_look_alike()
    {
        // call 0x100 from two places, mov rax, [rip → 0x200] from two, jmp 0x100; a conditional jump and a short one stay.
        byte[] code = Convert.FromHexString("e8fb000000" + "e8f6000000" + "488b05ef010000" + "488b05e8010000" + "e9e3000000" + "0f8400010000" + "eb10");
        byte[] before = [.. code];
        CodeOperands.Encode(code);
        Assert.Equal("e800000100" + "e800000100" + "488b0500000200" + "488b0500000200" + "e900000100" + "0f8400010000" + "eb10", Convert.ToHexStringLower(code));
        CodeOperands.Decode(code);
        Assert.Equal(before, code);
    }

    /// <summary>Whatever the bytes are, in either order; most are made of what is rewritten, prefixed, cut off and overlapping.</summary>
    [Fact]
    public void Any_bytes_come_back()
    {
        byte[] interesting = [0xe8, 0xe9, 0x48, 0x8b, 0x05, 0x0d, 0x66, 0x67, 0x65, 0xff, 0x15, 0x25, 0x0f, 0x84, 0x00, 0xc7, 0x62, 0xc5, 0x80, 0xf0];
        Gen<byte> one = Gen.OneOf(Gen.Byte, Gen.Int[0, interesting.Length - 1].Select(i => interesting[i]));
        one.Array[0, 200].Sample(bytes =>
        {
            byte[] code = [.. bytes];
            CodeOperands.Encode(code);
            CodeOperands.Decode(code);
            byte[] other = [.. bytes];
            CodeOperands.Decode(other);
            CodeOperands.Encode(other);
            return code.AsSpan().SequenceEqual(bytes) && other.AsSpan().SequenceEqual(bytes);
        }, iter: 20_000, threads: 1);
    }
}
