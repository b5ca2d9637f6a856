using Iced.Intel;
using Panacea.Injection.Text;
using Panacea.Kernel.Code;
using static Iced.Intel.AssemblerRegisters;

namespace Panacea.Injection.Tests;

/// <summary>A function written down in assembly, and functions that it calls.</summary>
internal sealed class Assembled
{
    public const ulong Start = 0xffff_ffff_8100_0000, Callees = Start + 0x10_0000;

    private static readonly string[] Names = ["memcpy", "kmalloc_trace", "kfree", "printk", "__kmalloc_noprof"];

    public Assembled(Action<Assembler> body)
    {
        var assembler = new Assembler(64);
        body(assembler);
        var stream = new MemoryStream();
        assembler.Assemble(new StreamCodeWriter(stream), Start);
        Bytes = stream.ToArray();
        if (!FunctionListing.TryDecode(new CodeBytes(Start, Bytes), new FunctionParts(new FunctionRange(Start, Start + (ulong)Bytes.Length, "f")), NoHints.Instance, out FunctionListing? listing, out Decline why))
            throw new InvalidOperationException(why.ToString());
        Listing = listing;
    }

    public byte[] Bytes { get; }

    public FunctionListing Listing { get; }

    public CallMutations Calls => new(Listing, NameOf);

    public static SeededRandom Random(ulong seed = 1) => new(seed, "test");

    /// <summary>Address of a function that can be called.</summary>
    public static ulong Of(string name) => Callees + (ulong)(Array.IndexOf(Names, name) * 0x100);

    public static string? NameOf(ulong address) => address >= Callees && (address - Callees) % 0x100 == 0 && (address - Callees) / 0x100 < (ulong)Names.Length ? Names[(address - Callees) / 0x100] : null;

    public Instruction this[int index] => Listing.Instructions[index];

    public ReadOnlySpan<byte> BytesOf(int index) => Bytes.AsSpan((int)(this[index].IP - Start), this[index].Length);

    /// <summary>What a changed piece of code is.</summary>
    public static Instruction Read(Mutation mutation, int skip = 0)
    {
        var decoder = Decoder.Create(64, new ByteArrayCodeReader(mutation.After), mutation.Address);
        Instruction instruction = default;
        for (int i = 0; i <= skip; i++)
            decoder.Decode(out instruction);
        return instruction;
    }
}
