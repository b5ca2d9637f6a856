using System.Globalization;
using Iced.Intel;

namespace Panacea.Injection.Text;

/// <summary>Instructions that read, write or address something else than they should.</summary>
internal static class OperandMutations
{
    /// <summary>Another source: a register of the same width, or a number with one bit flipped.</summary>
    public static Mutation? Source(in Instruction original, ReadOnlySpan<byte> bytes, SeededRandom random)
    {
        int operand = original.OpCount - 1;
        if (operand < 1 && original.Mnemonic != Mnemonic.Push)
            return null;
        Instruction changed = original;
        switch (original.GetOpKind(operand))
        {
            case OpKind.Register:
                return WithAnother(original.GetOpRegister(operand), original, bytes, random, "reads", (ref Instruction i, Register other) => i.SetOpRegister(operand, other));
            case OpKind.Immediate8 or OpKind.Immediate16 or OpKind.Immediate32 or OpKind.Immediate64 or OpKind.Immediate8to16 or OpKind.Immediate8to32 or OpKind.Immediate8to64 or OpKind.Immediate32to64:
                ulong value = original.GetImmediate(operand);
                changed.SetImmediate(operand, unchecked((long)(value ^ (1UL << random.Below(WidthOf(original.GetOpKind(operand)))))));
                return Make(changed, original, bytes, $"reads the number {Hex(changed.GetImmediate(operand))} instead of {Hex(value)}");
            default:
                return null;
        }
    }

    /// <summary>Another destination: a register of the same width.</summary>
    public static Mutation? Destination(in Instruction original, ReadOnlySpan<byte> bytes, SeededRandom random)
    {
        if (original.OpCount == 0 || original.Op0Kind != OpKind.Register || original.Mnemonic is Mnemonic.Push or Mnemonic.Cmp or Mnemonic.Test or Mnemonic.Call or Mnemonic.Jmp)
            return null;
        return WithAnother(original.Op0Register, original, bytes, random, "writes to", (ref Instruction i, Register other) => i.Op0Register = other);
    }

    /// <summary>Another address: based on another register, or with one bit of its displacement flipped.</summary>
    public static Mutation? Pointer(in Instruction original, ReadOnlySpan<byte> bytes, SeededRandom random)
    {
        bool hasMemory = false;
        for (int i = 0; i < original.OpCount; i++)
            hasMemory |= original.GetOpKind(i) == OpKind.Memory;

        // Per-CPU variables and the stack's own frame are addressed by the compiler; what a programmer gets wrong is a pointer.
        if (!hasMemory || original.MemoryBase is Register.None or Register.RIP or Register.RSP or Register.ESP || original.SegmentPrefix is Register.GS or Register.FS
            || original.FlowControl != FlowControl.Next)
            return null;
        if (random.Below(2) == 0 || original.MemoryDisplSize == 0)
            return WithAnother(original.MemoryBase, original, bytes, random, "addresses memory by", (ref Instruction i, Register other) => i.MemoryBase = other);
        Instruction changed = original;

        // The displacement keeps its width: one of 8 bits has 7 to flip, and its sign.
        int bits = original.MemoryDisplSize == 1 ? 8 : 12;
        changed.MemoryDisplacement64 = unchecked((ulong)((long)original.MemoryDisplacement64 ^ (bits == 8 ? (long)(sbyte)(1 << random.Below(8)) : 1L << random.Below(bits))));
        return Make(changed, original, bytes, $"addresses memory at {Signed(changed.MemoryDisplacement64)} instead of {Signed(original.MemoryDisplacement64)} from {Name(original.MemoryBase)}");
    }

    internal static Mutation? Make(in Instruction changed, in Instruction original, ReadOnlySpan<byte> bytes, string what) =>
        Encoding.TryReplace(changed, original, out byte[]? after) && !bytes.SequenceEqual(after) ? new Mutation(original.IP, bytes.ToArray(), after, what) : null;

    private delegate void SetRegister(ref Instruction instruction, Register register);

    /// <summary>The instruction with another general-purpose register of the same width; never the stack pointer, for which there is a kind of fault of its own. Some registers need a byte more than others, and do not
    /// fit everywhere.</summary>
    private static Mutation? WithAnother(Register register, in Instruction original, ReadOnlySpan<byte> bytes, SeededRandom random, string verb, SetRegister set)
    {
        if (!register.IsGPR() || register.GetSize() is not (2 or 4 or 8) || register.GetFullRegister() == Register.RSP)
            return null;
        const int rsp = 4;
        Register first = register.GetSize() switch { 8 => Register.RAX, 4 => Register.EAX, _ => Register.AX };
        List<int> others = [.. Enumerable.Range(0, 16).Where(n => n != rsp && n != register.GetNumber())];
        while (others.Count > 0)
        {
            int at = random.Below(others.Count);
            Instruction changed = original;
            set(ref changed, first + others[at]);
            if (Make(changed, original, bytes, $"{verb} {Name(first + others[at])} instead of {Name(register)}") is { } mutation)
                return mutation;
            others.RemoveAt(at);
        }

        return null;
    }

    private static int WidthOf(OpKind kind) => kind switch
    {
        OpKind.Immediate8 or OpKind.Immediate8to16 or OpKind.Immediate8to32 or OpKind.Immediate8to64 => 7,
        OpKind.Immediate16 => 15,
        _ => 31,
    };

    private static string Name(Register register) => register.ToString().ToLowerInvariant();

    private static string Hex(ulong value) => string.Create(CultureInfo.InvariantCulture, $"0x{value:x}");

    private static string Signed(ulong value) => unchecked((long)value) < 0 ? $"-0x{unchecked(0 - value):x}" : $"0x{value:x}";
}
