using Iced.Intel;
using Panacea.Kernel.Code;
using Panacea.Target;

namespace Panacea.Kernel.Replay;

/// <summary>
/// What registers held where code begins that a function has executed, as far as that code has stored them in the function's own frame since: compilers keep there what the next call may change, and it is there still.
/// A result that a call returned is known by that, long after its register is another's.
/// </summary>
internal static class StoredValues
{
    /// <summary>Instructions looked at, and how often what was found leads to more.</summary>
    private const int MaxInstructions = 64, MaxRounds = 3;

    /// <summary>Bytes above an address that a function passes on in which whoever has it may have written: most locals whose address is taken are no larger.</summary>
    private const ulong Reach = 128;

    /// <summary>Adds what was stored to what is known.</summary>
    /// <param name="input">The crash; <see cref="ReplayInput.Index"/> is the function's frame.</param>
    /// <param name="start">Guest-virtual address of the first instruction; it was executed, and those behind it, up to the first branch.</param>
    /// <param name="end">The instruction that it ends before, which was come to from there and from nowhere else.</param>
    /// <param name="frame">The function's own frame, guest-virtual: from its stack pointer to the end of its locals.</param>
    /// <param name="registers">Registers at <paramref name="start"/>, as far as they are known.</param>
    public static void Learn(ReplayInput input, ulong start, ulong end, (ulong Start, ulong End) frame, ref KnownRegisters registers)
    {
        for (int round = 0; round < MaxRounds && Round(input, start, end, frame, ref registers); round++)
        {
            // What was found may tell the address of more.
        }
    }

    private static bool Round(ReplayInput input, ulong start, ulong end, (ulong Start, ulong End) frame, ref KnownRegisters registers)
    {
        var memory = new ReplayMemory(input.Space, input.Cache);
        var cpu = new ReplayCpu(memory, input.GsBase, input.Cache) { Ip = start };
        for (Gpr register = Gpr.Rax; register <= Gpr.R15; register++)
            cpu[register] = registers[register] is { } value ? Bits.Of(value) : Bits.None;
        cpu.StackPointer = frame.Start;
        var factory = new InstructionInfoFactory();
        var written = new HashSet<Register>();
        var stores = new Dictionary<ulong, Gpr?>();
        for (int step = 0; step < MaxInstructions && cpu.Ip != end && cpu.TryDecode(out Instruction instruction) && instruction.FlowControl == FlowControl.Next; step++)
        {
            if (IsStore(factory, instruction) && cpu.TryAddress(instruction, out ulong at))
            {
                // What is stored twice is there as it was stored last.
                bool isOwn = instruction is { Mnemonic: Mnemonic.Mov, Op1Kind: OpKind.Register, MemorySegment: not (Register.GS or Register.FS) } && instruction.Op1Register.IsGPR64() && instruction.MemoryBase is Register.RBP or Register.RSP && at >= frame.Start && at <= frame.End - 8;
                bool isFirst = !written.Contains(instruction.Op1Register);
                stores[at & ~7UL] = isOwn && isFirst && !IsShared(input, instruction) && !stores.ContainsKey(at & ~7UL) && (at & 7) == 0 ? (Gpr)(instruction.Op1Register - Register.RAX) : null;
            }

            foreach (UsedRegister used in factory.GetInfo(instruction).GetUsedRegisters())
            {
                if (used.Access is OpAccess.Write or OpAccess.ReadWrite or OpAccess.CondWrite or OpAccess.ReadCondWrite && used.Register.IsGPR())
                    written.Add(used.Register.GetFullRegister());
            }

            if (cpu.Step(instruction) != StepEnd.Done && !cpu.PassBy(instruction))
                break;
        }

        bool isMore = false, isKept = !StoresMore(input, factory, cpu.Ip, end);
        foreach ((ulong at, Gpr? register) in stores)
        {
            if (register is not { } stored || registers[stored] is not null || !isKept || !input.Space.TryReadUInt64(new VirtualAddress(at), out ulong value, out _))
                continue;
            registers[stored] = value;
            isMore = true;
        }

        return isMore;
    }

    /// <summary>The function takes the address of what it stores there, or of what it may be a part of: who was called with it may have changed it.</summary>
    private static bool IsShared(ReplayInput input, in Instruction store)
    {
        if (!input.Analysis.Functions.TryFindFunction(store.IP, out FunctionParts function) || !FlowGraph.TryBuild(input.Analysis.Code, function, input.Analysis.Hints ?? NoHints.Instance, out FlowGraph graph, out _))
            return true;
        foreach (Instruction instruction in graph.Instructions.Values)
        {
            if (instruction.Mnemonic == Mnemonic.Lea && instruction.MemoryBase == store.MemoryBase && unchecked(store.MemoryDisplacement64 - instruction.MemoryDisplacement64) < Reach)
                return true;
        }

        return false;
    }

    /// <summary>Code behind the first branch stores something in the frame, too: it may be at the same place.</summary>
    private static bool StoresMore(ReplayInput input, InstructionInfoFactory factory, ulong from, ulong end)
    {
        Span<byte> bytes = stackalloc byte[15];
        for (ulong ip = from; ip < end;)
        {
            int length = bytes.Length;
            while (length > 0 && !input.Analysis.Code.TryReadCode(ip, bytes[..length]))
                length--;
            var decoder = Decoder.Create(64, new ByteArrayCodeReader(bytes[..length].ToArray()));
            decoder.IP = ip;
            decoder.Decode(out Instruction instruction);
            if (instruction.IsInvalid || (IsStore(factory, instruction) && instruction.MemoryBase is Register.RBP or Register.RSP))
                return true;
            ip = instruction.NextIP;
        }

        return false;
    }

    /// <summary>It changes memory and no register: executed once, it need not be executed again to tell what registers held behind it.</summary>
    /// <param name="factory">What tells of instructions.</param>
    /// <param name="instruction">The instruction.</param>
    public static bool OnlyStores(InstructionInfoFactory factory, in Instruction instruction)
    {
        if (instruction.FlowControl != FlowControl.Next || instruction.IsPrivileged || instruction.IsStringInstruction || !IsStore(factory, instruction))
            return false;
        foreach (UsedRegister used in factory.GetInfo(instruction).GetUsedRegisters())
        {
            if (used.Access is OpAccess.Write or OpAccess.ReadWrite or OpAccess.CondWrite or OpAccess.ReadCondWrite)
                return false;
        }

        return true;
    }

    private static bool IsStore(InstructionInfoFactory factory, in Instruction instruction)
    {
        foreach (UsedMemory used in factory.GetInfo(instruction).GetUsedMemory())
        {
            if (used.Access is OpAccess.Write or OpAccess.ReadWrite or OpAccess.CondWrite or OpAccess.ReadCondWrite)
                return true;
        }

        return false;
    }
}
