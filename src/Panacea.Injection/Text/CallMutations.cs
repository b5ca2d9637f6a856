using System.Globalization;
using Iced.Intel;
using Panacea.Kernel.Code;

namespace Panacea.Injection.Text;

/// <summary>What goes wrong around calls: arguments that are not set, lengths that are too long, allocations that fail, memory that is not freed.</summary>
/// <param name="listing">The function.</param>
/// <param name="nameOf">The symbol that begins at an address; null where none does.</param>
internal sealed class CallMutations(FunctionListing listing, Func<ulong, string?> nameOf)
{
    /// <summary>Instructions before a call among which its arguments are looked for.</summary>
    private const int Before = 12;

    private const byte Return = 0xc3, Int3 = 0xcc;

    /// <summary>Registers that arguments are passed in (System V ABI).</summary>
    private static readonly Register[] Arguments = [Register.RDI, Register.RSI, Register.RDX, Register.RCX, Register.R8, Register.R9];

    private readonly InstructionInfoFactory _info = new();

    /// <summary>The instructions that set an argument of a call and do nothing else.</summary>
    public IEnumerable<(int Index, Register Argument, ulong Target)> ArgumentSetters()
    {
        for (int i = 0; i < listing.Instructions.Count; i++)
        {
            if (!TryTarget(listing.Instructions[i], out ulong target))
                continue;
            foreach (Register argument in Arguments)
            {
                if (SetterOf(argument, i) is { } setter && !IsReadBetween(argument, setter, i))
                    yield return (setter, argument, target);
            }
        }
    }

    /// <summary>The argument is what it happens to be.</summary>
    public Mutation Argument(in (int Index, Register Argument, ulong Target) setter, ReadOnlySpan<byte> bytes)
    {
        Instruction original = listing.Instructions[setter.Index];
        int number = Array.IndexOf(Arguments, setter.Argument) + 1;
        return new Mutation(original.IP, bytes.ToArray(), Encoding.Nops(bytes.Length), $"does not set the {Ordinal(number)} argument of {nameOf(setter.Target) ?? "a call"}");
    }

    /// <summary>Calls of functions that copy, by the instruction that says how much: its index.</summary>
    public IEnumerable<int> Lengths() =>
        ArgumentSetters().Where(s => s.Argument == Register.RDX && CalledFunctions.IsCopy(nameOf(s.Target))).Select(s => s.Index).Distinct();

    /// <summary>The copy is longer: by one byte in half of the cases, else by up to a kilobyte, seldom by more (the distribution of Rio's model).</summary>
    public Mutation? Overrun(int index, ReadOnlySpan<byte> bytes, SeededRandom random)
    {
        Instruction original = listing.Instructions[index], changed = original;
        int more = random.Below(100) switch { < 50 => 1, < 94 => 2 + random.Below(1023), _ => 2048 + random.Below(2049) };
        string what = string.Create(CultureInfo.InvariantCulture, $"copies {more} bytes more");
        if (original.Mnemonic != Mnemonic.Mov || original.Op0Kind != OpKind.Register)
            return null;
        if (ControlMutations.IsImmediate(original.Op1Kind))
        {
            changed.SetImmediate(1, unchecked((long)original.GetImmediate(1) + more));
            return OperandMutations.Make(changed, original, bytes, what);
        }

        // A length that is in a register: LEA adds to it what fits into its place.
        if (original.Op1Kind != OpKind.Register || !original.Op1Register.IsGPR())
            return null;
        more = Math.Min(more, 127);
        changed = Instruction.Create(Code.Lea_r32_m, original.Op0Register.GetFullRegister32(), new Iced.Intel.MemoryOperand(original.Op1Register.GetFullRegister(), more, 1));
        return OperandMutations.Make(changed, original, bytes, string.Create(CultureInfo.InvariantCulture, $"copies {more} bytes more"));
    }

    /// <summary>Direct calls, and jumps at a function's end, to functions of a kind: their indices.</summary>
    public IEnumerable<int> CallsOf(Func<string?, bool> isOne)
    {
        for (int i = 0; i < listing.Instructions.Count; i++)
        {
            if (TryTarget(listing.Instructions[i], out ulong target) && isOne(nameOf(target)))
                yield return i;
        }
    }

    /// <summary>The allocation returns NULL.</summary>
    public Mutation? Allocation(int index, ReadOnlySpan<byte> bytes) => Instead(index, [0x31, 0xc0], bytes, "gets NULL from");

    /// <summary>The memory stays allocated.</summary>
    public Mutation? Free(int index, ReadOnlySpan<byte> bytes) => Instead(index, [], bytes, "does not call");

    private Mutation? Instead(int index, ReadOnlySpan<byte> code, ReadOnlySpan<byte> bytes, string what)
    {
        Instruction original = listing.Instructions[index];
        bool isTail = original.FlowControl == FlowControl.UnconditionalBranch;
        if (!TryTarget(original, out ulong target) || code.Length + 1 > bytes.Length)
            return null;
        byte[] after = [.. code, .. isTail ? [Return] : (byte[])[], .. isTail ? Enumerable.Repeat(Int3, bytes.Length - code.Length - 1) : Encoding.Nops(bytes.Length - code.Length)];
        return new Mutation(original.IP, bytes.ToArray(), after, $"{what} {nameOf(target)}");
    }

    /// <summary>A call, or a jump that leaves the function, which comes to the same.</summary>
    private bool TryTarget(in Instruction instruction, out ulong target)
    {
        target = instruction.NearBranchTarget;
        return (instruction.Mnemonic == Mnemonic.Call && instruction.FlowControl == FlowControl.Call)
            || (instruction.FlowControl == FlowControl.UnconditionalBranch && instruction.Op0Kind == OpKind.NearBranch64 && !listing.Function.Contains(target));
    }

    /// <summary>The last instruction before a call that sets one of its arguments and nothing else; null where others may have set it.</summary>
    private int? SetterOf(Register argument, int call)
    {
        for (int i = call - 1; i >= Math.Max(0, call - Before); i--)
        {
            Instruction instruction = listing.Instructions[i];
            if (instruction.NextIP != listing.Instructions[i + 1].IP || listing.IsLeader(listing.Instructions[i + 1].IP) || instruction.FlowControl != FlowControl.Next)
                return null;
            bool writes = false, onlyThat = instruction.Op0Kind == OpKind.Register && instruction.Mnemonic is Mnemonic.Mov or Mnemonic.Lea or Mnemonic.Xor or Mnemonic.Movzx or Mnemonic.Movsx or Mnemonic.Movsxd;
            foreach (UsedRegister used in _info.GetInfo(instruction).GetUsedRegisters())
                writes |= used.Register.GetFullRegister() == argument && used.Access is OpAccess.Write or OpAccess.ReadWrite or OpAccess.CondWrite or OpAccess.ReadCondWrite;
            if (writes)
                return onlyThat && instruction.Op0Register.GetFullRegister() == argument ? i : null;
        }

        return null;
    }

    /// <summary>The value is needed for something else than the call.</summary>
    private bool IsReadBetween(Register argument, int setter, int call)
    {
        for (int i = setter + 1; i < call; i++)
        {
            foreach (UsedRegister used in _info.GetInfo(listing.Instructions[i]).GetUsedRegisters())
            {
                if (used.Register.GetFullRegister() == argument)
                    return true;
            }
        }

        return false;
    }

    private static string Ordinal(int number) => number switch { 1 => "1st", 2 => "2nd", 3 => "3rd", _ => $"{number}th" };
}
