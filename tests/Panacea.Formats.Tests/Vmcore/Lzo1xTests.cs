using Panacea.Formats.Vmcore;
using Panacea.TestKit.Dumps;

namespace Panacea.Formats.Tests.Vmcore;

/// <summary>Blocks of random instructions against what their writer says; real ones are compared in the guest tests.</summary>
public sealed class Lzo1xTests
{
    [Fact]
    public void Every_kind_of_instruction_is_unpacked()
    {
        for (int seed = 0; seed < 500; seed++)
        {
            Lzo1xWriter writer = MakeBlock(seed);
            byte[] want = [.. writer.Output], block = writer.End(), got = new byte[want.Length + 10];
            Assert.True(Lzo1x.TryDecompress(block, got, out int written), $"seed {seed}");
            Assert.Equal(want.Length, written);
            Assert.True(want.AsSpan().SequenceEqual(got.AsSpan(0, written)), $"seed {seed}");

            // One byte less room, and any byte less of the block, is a failure.
            Assert.False(Lzo1x.TryDecompress(block, new byte[want.Length - 1], out _));
            for (int cut = 0; cut < Math.Min(block.Length, 50); cut++)
                Assert.False(Lzo1x.TryDecompress(block.AsSpan(0, block.Length - 1 - cut), got, out _));
        }
    }

    [Theory]
    [InlineData("")]
    [InlineData("11")]
    [InlineData("1100")]
    [InlineData("12410000")]
    [InlineData("1541424344400011")]
    [InlineData("154142434420000000000000")]
    [InlineData("0000000000000000000000000000")]
    [InlineData("1541424344400a110000")]
    [InlineData("11000000")]
    public void Malformed_blocks_are_refused(string block) => Assert.False(Lzo1x.TryDecompress(Convert.FromHexString(block), new byte[4096], out _));

    [Fact]
    public void An_empty_block_is_no_bytes()
    {
        Assert.True(Lzo1x.TryDecompress([17, 0, 0], new byte[10], out int written));
        Assert.Equal(0, written);
    }

    /// <summary>Any block is unpacked into its buffer alone.</summary>
    [Fact]
    public void Mutated_blocks_stay_inside_their_buffers()
    {
        for (int seed = 0; seed < 4000; seed++)
        {
            byte[] block = MakeBlock(seed % 50).End();
            var random = new Random(seed);
            for (int i = random.Next(1, 5); i > 0; i--)
                block[random.Next(block.Length)] = (byte)random.Next(256);
            _ = Lzo1x.TryDecompress(block, new byte[random.Next(5000)], out _);
        }
    }

    private static Lzo1xWriter MakeBlock(int seed)
    {
        var random = new Random(seed);
        var writer = new Lzo1xWriter();
        byte[] noise = new byte[60_000];
        random.NextBytes(noise);
        writer.Literals(noise.AsSpan(0, random.Next(4) switch { 0 => random.Next(1, 4), 1 => random.Next(4, 239), 2 => random.Next(239, 2000), _ => random.Next(20_000, 60_000) }));
        for (int i = random.Next(1, 25); i > 0; i--)
        {
            ReadOnlySpan<byte> literals = noise.AsSpan(random.Next(1000), random.Next(4));
            int output = writer.Output.Count;
            if (writer.State == 0 && random.Next(2) == 0)
                writer.Literals(noise.AsSpan(random.Next(1000), random.Next(4, random.Next(2) == 0 ? 30 : 800)));
            else if (writer.State is > 0 and < 4 && random.Next(2) == 0)
                writer.ShortMatch(random.Next(1, Math.Min(1025, output + 1)), literals);
            else if (writer.State == 4 && output >= 2049 && random.Next(2) == 0)
                writer.ShortMatch(random.Next(2049, Math.Min(3073, output + 1)), literals);
            else
                writer.Match(random.Next(1, Math.Min(random.Next(3) switch { 0 => 2049, 1 => 16385, _ => 49152 }, output + 1)), random.Next(3, random.Next(2) == 0 ? 12 : 900), literals);
        }

        return writer;
    }
}
