using System.Diagnostics.CodeAnalysis;
using Iced.Intel;
using Panacea.Kernel;
using Panacea.Kernel.Code;
using Panacea.Kernel.Image;
using Panacea.Target;

namespace Panacea.Injection.Text;

/// <summary>Faults of the code of one function: all places where one could be, and one of them by seed.</summary>
internal sealed class TextFaults
{
    private readonly FunctionListing _listing;
    private readonly CallMutations _calls;
    private readonly IReadOnlyList<Instruction> _instructions;
    private readonly byte[][] _bytes;

    private TextFaults(FunctionListing listing, CallMutations calls, IReadOnlyList<Instruction> instructions, byte[][] bytes)
    {
        _listing = listing;
        _calls = calls;
        _instructions = instructions;
        _bytes = bytes;
    }

    /// <summary>Reads a function as it is in memory now.</summary>
    /// <param name="kernel">The kernel over the guest's memory.</param>
    /// <param name="code">Its code map.</param>
    /// <param name="entry">Guest-virtual address of the function.</param>
    /// <param name="faults">Its faults.</param>
    /// <param name="whyNot">Why there are none.</param>
    public static bool TryOf(LinuxKernel kernel, CodeMap code, ulong entry, [NotNullWhen(true)] out TextFaults? faults, out string whyNot)
    {
        faults = null;
        whyNot = "its code can't be read";
        if (!code.TryFindFunction(entry, out FunctionParts parts) || parts.Main.Start != entry)
            return false;
        if (!FunctionListing.TryDecode(new LiveCode(kernel.Space), parts, code, out FunctionListing? listing, out Decline why))
        {
            whyNot = $"its code can't be decoded ({why.Reason} at 0x{why.Address:x})";
            return false;
        }

        // What the kernel itself patches while it runs (jump labels, static calls, tracing) is left alone: it checks what stands there, and dies of what does not.
        bool IsPatched(in Instruction i) => code.ExtraTargets(i.IP).Count > 0 || i.Mnemonic is Mnemonic.Int3 or Mnemonic.Ud2 || Nops.TryLengthOfLeadingNop(BytesOf(kernel, i), out _)
            || (i.FlowControl != FlowControl.Next && TextPatches.Patcher(kernel, kernel.Image, i.IP, 0, 0) is not null);
        List<Instruction> own = [.. listing.Instructions.Where(i => !IsPatched(i))];
        byte[][] bytes = [.. own.Select(i => BytesOf(kernel, i))];
        faults = new TextFaults(listing, new CallMutations(listing, address => kernel.Image.Symbolize(address) is { Offset: 0 } at ? at.Name : null), own, bytes);
        return true;
    }

    /// <summary>A fault of a kind; null where the function has no place for one.</summary>
    public Mutation? Choose(FaultType type, ulong seed)
    {
        var random = new SeededRandom(seed, "place");
        List<Func<Mutation?>> places = [.. Places(type, seed)];

        // Of some places only trying tells that there is no such instruction.
        while (places.Count > 0)
        {
            int at = random.Below(places.Count);
            if (places[at]() is { } mutation)
                return mutation;
            places.RemoveAt(at);
        }

        return null;
    }

    /// <summary>What a kind of fault could be here: one for each place, by seed.</summary>
    public IEnumerable<Mutation> All(FaultType type, ulong seed) => Places(type, seed).Select(place => place()).OfType<Mutation>();

    private IEnumerable<Func<Mutation?>> Places(FaultType type, ulong seed)
    {
        // What is changed at one place does not depend on which others were tried before.
        SeededRandom At(ulong address) => new(seed, $"change {unchecked((long)(address - _listing.Function.Main.Start))}");
        IEnumerable<Func<Mutation?>> Each(Func<int, Mutation?> make) => Enumerable.Range(0, _instructions.Count).Select(i => (Func<Mutation?>)(() => make(i)));
        IEnumerable<Func<Mutation?>> Some(IEnumerable<int> indices, Func<int, byte[], Mutation?> make) =>
            indices.Select(i => (Index: i, Own: IndexOf(_listing.Instructions[i].IP))).Where(i => i.Own >= 0).Select(i => (Func<Mutation?>)(() => make(i.Index, _bytes[i.Own])));

        return type switch
        {
            FaultType.TextBitFlip => Each(i => BitFlip(i, At(_instructions[i].IP))),
            FaultType.Source => Each(i => OperandMutations.Source(_instructions[i], _bytes[i], At(_instructions[i].IP))),
            FaultType.Destination => Each(i => OperandMutations.Destination(_instructions[i], _bytes[i], At(_instructions[i].IP))),
            FaultType.Pointer => Each(i => OperandMutations.Pointer(_instructions[i], _bytes[i], At(_instructions[i].IP))),
            FaultType.Branch => Each(i => ControlMutations.Branch(_instructions[i], _bytes[i])),
            FaultType.Loop => Each(i => ControlMutations.Loop(_instructions[i], _bytes[i], At(_instructions[i].IP))),
            FaultType.Initialization => ControlMutations.Initializations(_instructions).Select(i => (Func<Mutation?>)(() =>
            {
                byte[] bytes = _bytes[IndexOf(i.IP)];
                return new Mutation(i.IP, bytes, Encoding.Nops(bytes.Length), "does not initialise a variable");
            })),
            FaultType.Argument => _calls.ArgumentSetters().Where(s => IndexOf(_listing.Instructions[s.Index].IP) >= 0)
                .Select(s => (Func<Mutation?>)(() => _calls.Argument(s, _bytes[IndexOf(_listing.Instructions[s.Index].IP)]))),
            FaultType.CopyOverrun => Some(_calls.Lengths(), (i, bytes) => _calls.Overrun(i, bytes, At(_listing.Instructions[i].IP))),
            FaultType.AllocationFailure => Some(_calls.CallsOf(CalledFunctions.Allocates), (i, bytes) => _calls.Allocation(i, bytes)),
            FaultType.SkippedFree => Some(_calls.CallsOf(CalledFunctions.IsFree), (i, bytes) => _calls.Free(i, bytes)),
            _ => throw new ArgumentOutOfRangeException(nameof(type), type, "no fault of text"),
        };
    }

    private Mutation BitFlip(int index, SeededRandom random)
    {
        byte[] before = _bytes[index], after = [.. before];
        int bit = random.Below(before.Length * 8);
        after[bit / 8] ^= (byte)(1 << (bit % 8));
        return new Mutation(_instructions[index].IP, before, after, $"has bit {bit % 8} of its byte {bit / 8} flipped");
    }

    private int IndexOf(ulong address)
    {
        int low = 0, high = _instructions.Count - 1;
        while (low <= high)
        {
            int middle = (low + high) / 2;
            ulong at = _instructions[middle].IP;
            if (at == address)
                return middle;
            (low, high) = at < address ? (middle + 1, high) : (low, middle - 1);
        }

        return -1;
    }

    private static byte[] BytesOf(LinuxKernel kernel, in Instruction instruction)
    {
        byte[] bytes = new byte[instruction.Length];
        kernel.Space.Read(new VirtualAddress(instruction.IP), bytes, "code");
        return bytes;
    }
}
