using Iced.Intel;
using Panacea.Kernel.Code;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Kernel.Holdings;

/// <summary>Finds which lock a call took, after the call: its argument, from the instructions before the call and the registers of the frame as it stands now.</summary>
/// <remarks>The argument is a constant, or a callee-saved register (and an offset, or another such register) that nothing between the call and where the frame stands has changed. What was computed in any other way is not
/// told. A pointer that was loaded from memory is read from there again: it may have changed since, so whoever uses the answer looks at the lock.</remarks>
public static class LockArguments
{
    /// <summary>Instructions looked at before a call.</summary>
    private const int MaxBack = 64;

    private static readonly Register[] Arguments = [Register.RDI, Register.RSI, Register.RDX];
    private static readonly Register[] CalleeSaved = [Register.RBX, Register.RBP, Register.R12, Register.R13, Register.R14, Register.R15];

    /// <summary>The frame stands in the call itself, which has not come back: nothing has happened since.</summary>
    private static bool IsIn(in Instruction call, CodePoint at) => at.IsReturnAddress && at.Address == call.NextIP;

    /// <summary>The lock's address.</summary>
    /// <param name="analysis">Text, functions.</param>
    /// <param name="function">The whole function.</param>
    /// <param name="at">Where the frame stands.</param>
    /// <param name="registers">The frame's registers there, as far as they are known.</param>
    /// <param name="holding">What was taken.</param>
    /// <param name="read">Reads eight bytes of guest-virtual memory; null where they can't be read.</param>
    /// <param name="address">The result, guest-virtual.</param>
    public static bool TryFind(
        FrameAnalysis analysis, in FunctionParts function, CodePoint at, in KnownRegisters registers, in Holding holding, Func<ulong, ulong?> read, out ulong address)
    {
        address = 0;
        if (holding.Argument < 0 || holding.Argument >= Arguments.Length || !FlowGraph.TryBuild(analysis.Code, function, analysis.Hints ?? NoHints.Instance, out FlowGraph graph, out _)
            || !graph.Instructions.TryGetValue(holding.Call, out Instruction call))
            return false;
        var factory = new InstructionInfoFactory();
        var overwritten = new HashSet<Register>();
        if (!IsIn(call, at))
        {
            // Since it was called last: a loop that comes by the call again has taken another one.
            if (!CallSites.TryFind(analysis.Code, function, call.NextIP, at, analysis.Hints, out CallsOnPaths since, out _, without: call.IP))
                return false;
            foreach (Instruction instruction in since.Instructions)
                Note(factory, instruction, overwritten);
        }

        Register wanted = Arguments[holding.Argument];
        long offset = 0;
        ulong ip = call.IP;
        for (int step = 0; step < MaxBack && !graph.IsLeader(ip) && graph.TryBefore(ip, out Instruction instruction); step++, ip = instruction.IP)
        {
            if (instruction.FlowControl is not (FlowControl.Next or FlowControl.ConditionalBranch))
                break;

            // A copy in a callee-saved register is as good as the argument itself.
            if (instruction is { Mnemonic: Mnemonic.Mov, Op0Kind: OpKind.Register, Op1Kind: OpKind.Register } && instruction.Op1Register == wanted
                && TryStable(instruction.Op0Register, registers, overwritten, out ulong copy))
            {
                address = unchecked(copy + (ulong)offset);
                return true;
            }

            if (!Writes(factory, instruction, wanted))
            {
                Note(factory, instruction, overwritten);
                continue;
            }

            switch (instruction)
            {
                case { Mnemonic: Mnemonic.Mov, Op1Kind: OpKind.Immediate64 or OpKind.Immediate32to64 or OpKind.Immediate32 }:
                    address = unchecked(instruction.GetImmediate(1) + (ulong)offset);
                    return true;
                case { Mnemonic: Mnemonic.Lea, MemoryIndex: Register.None, MemoryBase: Register.RIP }:
                    address = unchecked(instruction.MemoryDisplacement64 + (ulong)offset);
                    return true;
                case { Mnemonic: Mnemonic.Lea, MemoryIndex: Register.None } when instruction.MemoryBase is not (Register.None or Register.RSP):
                    offset = unchecked(offset + (long)instruction.MemoryDisplacement64);
                    wanted = instruction.MemoryBase;
                    break;
                case { Mnemonic: Mnemonic.Mov, Op0Kind: OpKind.Register, Op1Kind: OpKind.Register }:
                    wanted = instruction.Op1Register;
                    break;
                case { Mnemonic: Mnemonic.Add, Op0Kind: OpKind.Register, Op1Kind: OpKind.Immediate8to64 or OpKind.Immediate32to64 }:
                    offset = unchecked(offset + (long)instruction.GetImmediate(1));
                    break;

                // An element of an array: its offset is in a register that has stayed.
                case { Mnemonic: Mnemonic.Add, Op0Kind: OpKind.Register, Op1Kind: OpKind.Register } when TryStable(instruction.Op1Register, registers, overwritten, out ulong added):
                    offset = unchecked(offset + (long)added);
                    break;
                case { Mnemonic: Mnemonic.Lea } when instruction.MemoryBase is not (Register.None or Register.RSP or Register.RIP) && TryStable(instruction.MemoryIndex, registers, overwritten, out ulong index):
                    offset = unchecked(offset + (long)(instruction.MemoryDisplacement64 + (index * (ulong)instruction.MemoryIndexScale)));
                    wanted = instruction.MemoryBase;
                    break;
                case { Mnemonic: Mnemonic.Mov, Op1Kind: OpKind.Memory, MemoryIndex: Register.None, SegmentPrefix: Register.None }:
                    return TryLoad(instruction, registers, overwritten, read, offset, out address);
                default:
                    return false;
            }

            if (TryStable(wanted, registers, overwritten, out ulong value) && !IsWrittenBefore(instruction, wanted))
            {
                address = unchecked(value + (ulong)offset);
                return true;
            }

            Note(factory, instruction, overwritten);
        }

        if (!TryStable(wanted, registers, overwritten, out ulong last))
            return false;
        address = unchecked(last + (ulong)offset);
        return true;
    }

    /// <summary>ADD changes the register that it reads.</summary>
    private static bool IsWrittenBefore(in Instruction instruction, Register register) => instruction.Mnemonic == Mnemonic.Add && instruction.Op0Register == register;

    private static bool TryLoad(in Instruction load, in KnownRegisters registers, HashSet<Register> overwritten, Func<ulong, ulong?> read, long offset, out ulong address)
    {
        address = 0;
        ulong from;
        if (load.MemoryBase == Register.RIP)
            from = load.MemoryDisplacement64;
        else if (TryStable(load.MemoryBase, registers, overwritten, out ulong value))
            from = unchecked(value + load.MemoryDisplacement64);
        else
            return false;
        if (read(from) is not { } pointer)
            return false;
        address = unchecked(pointer + (ulong)offset);
        return true;
    }

    /// <summary>A callee-saved register that holds now what it held then.</summary>
    private static bool TryStable(Register register, in KnownRegisters registers, HashSet<Register> overwritten, out ulong value)
    {
        value = 0;
        int index = Array.IndexOf(CalleeSaved, register);
        return index >= 0 && !overwritten.Contains(register) && registers.TryGet(Number(register), out value);
    }

    private static Gpr Number(Register register) => register switch
    {
        Register.RBX => Gpr.Rbx,
        Register.RBP => Gpr.Rbp,
        Register.R12 => Gpr.R12,
        Register.R13 => Gpr.R13,
        Register.R14 => Gpr.R14,
        _ => Gpr.R15,
    };

    private static bool Writes(InstructionInfoFactory factory, in Instruction instruction, Register register)
    {
        foreach (UsedRegister used in factory.GetInfo(instruction).GetUsedRegisters())
        {
            if (used.Register.GetFullRegister() == register && used.Access is OpAccess.Write or OpAccess.ReadWrite or OpAccess.CondWrite or OpAccess.ReadCondWrite)
                return true;
        }

        return false;
    }

    private static void Note(InstructionInfoFactory factory, in Instruction instruction, HashSet<Register> overwritten)
    {
        foreach (Register register in CalleeSaved)
        {
            if (Writes(factory, instruction, register))
                overwritten.Add(register);
        }
    }
}
