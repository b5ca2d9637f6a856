using System.Buffers.Binary;
using CsCheck;

namespace Panacea.Formats.Tests;

public sealed class CallTargetsTests
{
    [Fact]
    public void Whatever_goes_in_comes_out()
    {
        // Many operands near the borders of what is mapped, and many opcodes inside operands.
        byte[] bordering = [0xe8, 0xe9, 0, 1, 2, 30, 0x7f, 0x80, 0xff, 0xfe];
        Gen<byte> dense = Gen.Int[0, bordering.Length - 1].Select(i => bordering[i]);
        dense.Array[0, 120].Sample(bytes =>
        {
            byte[] copy = [.. bytes];
            CallTargets.Encode(copy);
            CallTargets.Decode(copy);
            Assert.Equal(bytes, copy);
            CallTargets.Decode(copy);
            CallTargets.Encode(copy);
            Assert.Equal(bytes, copy);
        }, iter: 3000, threads: 1, seed: "0000000000001");
    }

    [Fact]
    public void Calls_of_one_function_look_alike()
    {
        byte[] code = new byte[64];
        foreach (int at in (int[])[0, 20, 50])
        {
            code[at] = 0xe8;
            BinaryPrimitives.WriteInt32LittleEndian(code.AsSpan(at + 1), 40 - (at + 5));
        }

        CallTargets.Encode(code);
        Assert.Equal(code[1..5], code[21..25]);
        Assert.Equal(code[1..5], code[51..55]);
    }
}
