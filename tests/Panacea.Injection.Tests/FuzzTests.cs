using Iced.Intel;
using Panacea.Injection.Text;
using Panacea.Kernel.Code;
using Panacea.TestKit.Fuzzing;

namespace Panacea.Injection.Tests;

/// <summary>Code that no compiler wrote: every change is as long as what it takes the place of, and nothing throws.</summary>
public sealed class FuzzTests
{
    private const ulong Start = 0xffff_ffff_8100_0000;

    [Fact]
    public void Mutations() => Fuzzer.Run(nameof(Mutations), random =>
    {
        byte[] code = new byte[random.Next(1, 400)];
        random.NextBytes(code);

        // Bytes that compilers write often: moves, calls, branches, prefixes.
        byte[] common = [0x48, 0x89, 0x8b, 0xe8, 0x74, 0x0f, 0x85, 0xeb, 0x31, 0xc7, 0x65, 0x8d, 0xba, 0xf3, 0xa4, 0xe9, 0x41];
        for (int i = 0; i < code.Length; i++)
        {
            if (random.Next(3) > 0)
                code[i] = common[random.Next(common.Length)];
        }

        var range = new FunctionRange(Start, Start + (ulong)code.Length, "f");
        if (!FunctionListing.TryDecode(new CodeBytes(Start, code), new FunctionParts(range), NoHints.Instance, out FunctionListing? listing, out _))
            return;
        var seeded = new SeededRandom((ulong)random.Next(), "fuzz");
        string[] names = ["memcpy", "kfree", "kmalloc_trace", "printk"];
        var calls = new CallMutations(listing, address => names[(int)(address % 4)]);
        foreach (Instruction each in listing.Instructions)
        {
            byte[] bytes = code.AsSpan((int)(each.IP - Start), each.Length).ToArray();
            Check(OperandMutations.Source(each, bytes, seeded), bytes);
            Check(OperandMutations.Destination(each, bytes, seeded), bytes);
            Check(OperandMutations.Pointer(each, bytes, seeded), bytes);
            Check(ControlMutations.Branch(each, bytes), bytes);
            Check(ControlMutations.Loop(each, bytes, seeded), bytes);
        }

        byte[] BytesOf(int index) => code.AsSpan((int)(listing.Instructions[index].IP - Start), listing.Instructions[index].Length).ToArray();
        foreach (var setter in calls.ArgumentSetters())
            Check(calls.Argument(setter, BytesOf(setter.Index)), BytesOf(setter.Index));
        foreach (int index in calls.Lengths())
            Check(calls.Overrun(index, BytesOf(index), seeded), BytesOf(index));
        foreach (int index in calls.CallsOf(CalledFunctions.Allocates))
            Check(calls.Allocation(index, BytesOf(index)), BytesOf(index));
        foreach (int index in calls.CallsOf(CalledFunctions.IsFree))
            Check(calls.Free(index, BytesOf(index)), BytesOf(index));
        foreach (Instruction each in ControlMutations.Initializations(listing.Instructions))
            Assert.NotEqual(0, each.Length);
    });

    private static void Check(Mutation? mutation, byte[] before)
    {
        if (mutation is null)
            return;
        Assert.Equal(before, mutation.Before);
        Assert.Equal(before.Length, mutation.After.Length);
        Assert.NotEqual(before, mutation.After);
        Assert.NotEqual("", Mutation.Text(mutation.Address, mutation.After));
    }
}
