using Iced.Intel;

namespace Panacea.Injection.Text;

/// <summary>Branches that are missing, loops that end too early or too late, initialisations that were forgotten.</summary>
internal static class ControlMutations
{
    /// <summary>Instructions of a function's beginning among which its initialisations are looked for.</summary>
    private const int Beginning = 24;

    /// <summary>The branch is gone: control goes on behind it.</summary>
    public static Mutation? Branch(in Instruction original, ReadOnlySpan<byte> bytes) =>
        IsConditional(original) ? new Mutation(original.IP, bytes.ToArray(), Encoding.Nops(bytes.Length), "never branches") : null;

    /// <summary>The condition of a branch back: inverted, or with and without the equal.</summary>
    public static Mutation? Loop(in Instruction original, ReadOnlySpan<byte> bytes, SeededRandom random)
    {
        if (!IsConditional(original) || original.NearBranchTarget > original.IP)
            return null;

        // The condition is the low half of the opcode's last byte (Intel's manual, "Jcc"): bit 0 inverts it; below and below-or-equal, less and less-or-equal and their opposites differ in one bit more.
        int opcode = 0;
        while (opcode < bytes.Length && bytes[opcode] is not (>= 0x70 and <= 0x7f or 0x0f))
            opcode++;
        if (opcode >= bytes.Length)
            return null;
        if (bytes[opcode] == 0x0f)
            opcode++;
        byte condition = (byte)(bytes[opcode] & 0xf);
        byte? offByOne = condition switch { 0x2 or 0x6 or 0x3 or 0x7 => (byte)(condition ^ 4), 0xc or 0xe or 0xd or 0xf => (byte)(condition ^ 2), _ => null };
        bool invert = offByOne is null || random.Below(2) == 0;
        byte[] after = bytes.ToArray();
        after[opcode] = (byte)((after[opcode] & 0xf0) | (invert ? condition ^ 1 : offByOne!.Value));
        return new Mutation(original.IP, bytes.ToArray(), after, invert ? "goes on where the loop should end, and ends where it should go on" : "runs the loop once too often, or once too seldom");
    }

    /// <summary>A constant that is put into a register or a local variable before anything else is called or decided.</summary>
    public static IEnumerable<Instruction> Initializations(IReadOnlyList<Instruction> instructions)
    {
        for (int i = 0; i < Math.Min(Beginning, instructions.Count); i++)
        {
            Instruction instruction = instructions[i];
            if (instruction.FlowControl != FlowControl.Next)
                yield break;
            bool isZeroed = instruction.Mnemonic == Mnemonic.Xor && instruction.Op0Kind == OpKind.Register && instruction.Op1Kind == OpKind.Register && instruction.Op0Register == instruction.Op1Register;
            bool isSet = instruction.Mnemonic == Mnemonic.Mov && instruction.OpCount == 2 && IsImmediate(instruction.Op1Kind)
                && (instruction.Op0Kind == OpKind.Register || (instruction.Op0Kind == OpKind.Memory && instruction.MemoryBase is Register.RSP or Register.RBP));
            if (isZeroed || isSet)
                yield return instruction;
        }
    }

    internal static bool IsImmediate(OpKind kind) => kind is OpKind.Immediate8 or OpKind.Immediate16 or OpKind.Immediate32 or OpKind.Immediate64 or OpKind.Immediate8to16 or OpKind.Immediate8to32
        or OpKind.Immediate8to64 or OpKind.Immediate32to64;

    private static bool IsConditional(in Instruction instruction) =>
        instruction.FlowControl == FlowControl.ConditionalBranch && instruction.IsJccShortOrNear && instruction.Op0Kind == OpKind.NearBranch64;
}
