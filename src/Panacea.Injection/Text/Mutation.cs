using Iced.Intel;

namespace Panacea.Injection.Text;

/// <summary>A change of one instruction, or of several that follow each other.</summary>
/// <param name="Address">Guest-virtual address of the first byte.</param>
/// <param name="Before">What is there.</param>
/// <param name="After">What is to be there; as long as <paramref name="Before"/>.</param>
/// <param name="What">What it does, in words that complete "… at function+0x1a".</param>
public sealed record Mutation(ulong Address, byte[] Before, byte[] After, string What)
{
    /// <summary>The instructions that some bytes are, in AT&amp;T syntax, as objdump shows them.</summary>
    /// <param name="address">Their guest-virtual address.</param>
    /// <param name="bytes">The bytes.</param>
    public static string Text(ulong address, ReadOnlySpan<byte> bytes)
    {
        var decoder = Decoder.Create(64, new ByteArrayCodeReader(bytes.ToArray()), address);
        var formatter = new GasFormatter { Options = { UppercaseHex = false, RipRelativeAddresses = true, BranchLeadingZeros = false } };
        var lines = new List<string>();
        while (decoder.IP < address + (ulong)bytes.Length)
        {
            decoder.Decode(out Instruction instruction);
            if (instruction.IsInvalid)
            {
                lines.Add("(bad)");
                break;
            }

            var output = new StringOutput();
            formatter.Format(instruction, output);
            lines.Add(output.ToStringAndReset());
        }

        return string.Join("; ", lines);
    }
}
