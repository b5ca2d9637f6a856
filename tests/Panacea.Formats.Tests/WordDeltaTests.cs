using System.Buffers.Binary;
using CsCheck;

namespace Panacea.Formats.Tests;

public sealed class WordDeltaTests
{
    [Fact]
    public void Whatever_goes_in_comes_out()
    {
        Gen.Byte.Array[0, 200].Sample(bytes =>
        {
            byte[] encoded = new byte[bytes.Length];
            byte[] decoded = new byte[bytes.Length];
            WordDelta.Encode(bytes, encoded);
            WordDelta.Decode(encoded, decoded);
            Assert.Equal(bytes, decoded);
        }, iter: 500, threads: 1, seed: "0000000000001");
    }

    [Fact]
    public void Slow_words_become_small_first_bytes_and_zeros()
    {
        byte[] words = new byte[4 * 100 + 3];
        for (int i = 0; i < 100; i++)
            BinaryPrimitives.WriteUInt32LittleEndian(words.AsSpan(4 * i), (uint)(i * 3));
        words[^1] = 7;
        byte[] encoded = new byte[words.Length];
        WordDelta.Encode(words, encoded);
        Assert.All(encoded[1..100], b => Assert.Equal(6, b));
        Assert.Equal(-1, encoded.AsSpan(100, 300).IndexOfAnyExcept((byte)0));
        Assert.Equal(7, encoded[^1]);
    }

    [Fact]
    public void Spans_of_two_lengths_are_refused()
    {
        Assert.Throws<ArgumentException>(() => WordDelta.Encode(new byte[4], new byte[5]));
        Assert.Throws<ArgumentException>(() => WordDelta.Decode(new byte[4], new byte[3]));
    }
}
