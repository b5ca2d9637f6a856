using Iced.Intel;
using Panacea.Kernel.Code;

namespace Panacea.Kernel.Holdings;

/// <summary>Where a function looks at the result of what it has just called: whether that is zero decides which way it goes.</summary>
internal static class ResultTest
{
    /// <summary>The other result.</summary>
    public static TakenWhen Opposite(TakenWhen result) => result == TakenWhen.ResultIsZero ? TakenWhen.ResultIsNotZero : TakenWhen.ResultIsZero;

    /// <summary>Instructions between a test and the call that it guards.</summary>
    private const int MaxGuarded = 8;

    /// <summary>
    /// A block that ends in a jump around a call where a register is zero, and the call's first argument is what that register points to: what <c>guard()</c> and the like leave behind (include/linux/cleanup.h). A lock
    /// at no address is not held, so on the way around the call there is none to be given back.
    /// </summary>
    /// <param name="graph">The function.</param>
    /// <param name="start">Guest-virtual address where the block begins.</param>
    /// <returns>Where the jump leads to, the function that is called otherwise, and the register; null where the block does not end so.</returns>
    public static (ulong To, ulong Target, Register Tested)? FindGuard(FlowGraph graph, ulong start)
    {
        Register tested = Register.None;
        Instruction last = default;
        foreach (Instruction instruction in HoldingsAnalysis.BlockFrom(graph, start))
        {
            if (instruction is { Mnemonic: Mnemonic.Test, Op0Kind: OpKind.Register, Op1Kind: OpKind.Register } && instruction.Op0Register == instruction.Op1Register && instruction.Op0Register.IsGPR64())
                tested = instruction.Op0Register;
            else if (instruction.FlowControl == FlowControl.Next && (instruction.Mnemonic is not (Mnemonic.Mov or Mnemonic.Lea) || (instruction.Op0Kind == OpKind.Register && instruction.Op0Register.GetFullRegister() == tested)))
                tested = Register.None;
            last = instruction;
        }

        if (tested == Register.None || last.Mnemonic != Mnemonic.Je)
            return null;
        ulong ip = last.NextIP;
        bool isArgument = tested == Register.RDI;
        for (int i = 0; i < MaxGuarded && graph.Instructions.TryGetValue(ip, out Instruction instruction); i++, ip = instruction.NextIP)
        {
            if (instruction.FlowControl == FlowControl.Call && isArgument)
                return (last.NearBranchTarget, instruction.NearBranchTarget, tested);
            if (IsFirstArgument(instruction))
                isArgument = IsFrom(instruction, tested);

            if (instruction.Mnemonic is not (Mnemonic.Mov or Mnemonic.Lea))
                return null;
        }

        return null;
    }

    /// <summary>The first argument of a call is what a register points to, by the instruction before it that sets it.</summary>
    /// <param name="graph">The function.</param>
    /// <param name="call">Guest-virtual address of the call.</param>
    /// <param name="register">The register.</param>
    public static bool IsArgument(FlowGraph graph, ulong call, Register register)
    {
        ulong ip = call;
        for (int i = 0; i < MaxGuarded && !graph.IsLeader(ip) && graph.TryBefore(ip, out Instruction instruction) && instruction.FlowControl == FlowControl.Next; i++, ip = instruction.IP)
        {
            if (IsFirstArgument(instruction))
                return IsFrom(instruction, register);
        }

        return false;
    }

    /// <summary>Both calls have the same first argument, by the instructions before them: the same constant, or the same distance from the same register.</summary>
    /// <param name="graph">The function.</param>
    /// <param name="one">Guest-virtual address of a call.</param>
    /// <param name="other">That of another one.</param>
    public static bool IsSameArgument(FlowGraph graph, ulong one, ulong other) => ArgumentOf(graph, one) is { } argument && ArgumentOf(graph, other) == argument;

    private static (Register Base, ulong Offset)? ArgumentOf(FlowGraph graph, ulong call)
    {
        ulong ip = call;
        for (int i = 0; i < MaxGuarded && !graph.IsLeader(ip) && graph.TryBefore(ip, out Instruction instruction) && instruction.FlowControl == FlowControl.Next; i++, ip = instruction.IP)
        {
            if (!IsFirstArgument(instruction))
                continue;
            return instruction switch
            {
                { Mnemonic: Mnemonic.Mov, Op1Kind: OpKind.Register } => (instruction.Op1Register, 0),
                { Mnemonic: Mnemonic.Mov, Op1Kind: OpKind.Immediate64 or OpKind.Immediate32to64 or OpKind.Immediate32 } => (Register.None, instruction.GetImmediate(1)),
                { Mnemonic: Mnemonic.Lea, MemoryIndex: Register.None } => (instruction.MemoryBase == Register.RIP ? Register.None : instruction.MemoryBase, instruction.MemoryDisplacement64),
                _ => null,
            };
        }

        return null;
    }

    private static bool IsFirstArgument(in Instruction instruction) => instruction.Op0Kind == OpKind.Register && instruction.Op0Register.GetFullRegister() == Register.RDI && instruction.Mnemonic is not (Mnemonic.Test or Mnemonic.Cmp or Mnemonic.Push);

    private static bool IsFrom(in Instruction instruction, Register register) => instruction is { Mnemonic: Mnemonic.Mov, Op1Kind: OpKind.Register } ? instruction.Op1Register == register
        : instruction is { Mnemonic: Mnemonic.Lea, MemoryIndex: Register.None } && instruction.MemoryBase == register;

    /// <summary>Follows the result from the call to the jump at the end of the block that begins where the call comes back.</summary>
    /// <param name="graph">The function.</param>
    /// <param name="start">Guest-virtual address where the block begins.</param>
    /// <returns>The call, where the jump leads to, and what the result is if it does; null where the jump does not depend on it, or something else leads there too.</returns>
    public static (ulong Call, ulong To, TakenWhen Result)? Find(FlowGraph graph, ulong start)
    {
        if (!graph.TryBefore(start, out Instruction call) || call.FlowControl != FlowControl.Call || !graph.Predecessors.TryGetValue(start, out List<ulong>? from) || from is not [var only] || only != call.IP)
            return null;

        // The result, and its copies.
        var holds = new HashSet<Register> { Register.RAX };
        bool isTested = false;
        foreach (Instruction instruction in HoldingsAnalysis.BlockFrom(graph, start))
        {
            switch (instruction)
            {
                case { Mnemonic: Mnemonic.Test, Op0Kind: OpKind.Register, Op1Kind: OpKind.Register } when instruction.Op0Register == instruction.Op1Register:
                    isTested = holds.Contains(instruction.Op0Register.GetFullRegister());
                    continue;
                case { Mnemonic: Mnemonic.Je } when isTested:
                    return (call.IP, instruction.NearBranchTarget, TakenWhen.ResultIsZero);
                case { Mnemonic: Mnemonic.Jne or Mnemonic.Js } when isTested:
                    return (call.IP, instruction.NearBranchTarget, TakenWhen.ResultIsNotZero);
                case { Mnemonic: Mnemonic.Mov, Op0Kind: OpKind.Register, Op1Kind: OpKind.Register } when holds.Contains(instruction.Op1Register.GetFullRegister()):
                    holds.Add(instruction.Op0Register.GetFullRegister());
                    continue;
                case { Mnemonic: Mnemonic.Mov or Mnemonic.Lea or Mnemonic.Push or Mnemonic.Nop }:
                    // They leave the flags alone.
                    if (instruction.Op0Kind == OpKind.Register && instruction.Mnemonic != Mnemonic.Push)
                        holds.Remove(instruction.Op0Register.GetFullRegister());
                    continue;
                default:
                    if (instruction.FlowControl != FlowControl.Next)
                        return null;
                    isTested = false;
                    foreach (UsedRegister used in new InstructionInfoFactory().GetInfo(instruction).GetUsedRegisters())
                    {
                        if (used.Access is not (OpAccess.Read or OpAccess.CondRead))
                            holds.Remove(used.Register.GetFullRegister());
                    }

                    continue;
            }
        }

        return null;
    }
}
