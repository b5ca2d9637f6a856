using Iced.Intel;
using Panacea.Target;

namespace Panacea.Kernel.Code;

/// <summary>A register that holds an argument of its function wherever that function stands.</summary>
/// <param name="Register">The register, one that every callee gives back.</param>
/// <param name="Argument">The register in which the argument came.</param>
/// <param name="Bytes">Bytes of it that were kept, 4 or 8; above 4, zeros.</param>
public readonly record struct KeptArgument(Gpr Register, Gpr Argument, int Bytes)
{
    /// <summary>What the register holds.</summary>
    public ulong Of(ulong argument) => Bytes == 8 ? argument : (uint)(argument & uint.MaxValue);
}

/// <summary>
/// Arguments that a function puts into registers of its own right where it begins, and leaves there: it writes those registers nowhere else, but where it gives them back to its caller. Compilers keep most arguments so that
/// are needed behind a call. Whatever such a register holds, it should hold the argument.
/// </summary>
public static class KeptArguments
{
    /// <summary>Instructions looked at where a function begins.</summary>
    private const int MaxBegin = 64;

    /// <summary>Finds them.</summary>
    /// <param name="code">Pristine text.</param>
    /// <param name="function">The function.</param>
    /// <param name="hints">What else is known of control flow, or null.</param>
    /// <param name="point">Where it stands: guest-virtual address of an instruction of it.</param>
    /// <returns>None where it may have code that is not known, and where it is about to return.</returns>
    public static IReadOnlyList<KeptArgument> Find(ICodeSource code, in FunctionParts function, IControlFlowHints? hints, ulong point)
    {
        if (!FlowGraph.TryBuild(code, function, hints ?? NoHints.Instance, out FlowGraph graph, out _) || graph.HasUnknownTargets || !graph.Instructions.TryGetValue(point, out Instruction at)
            || at.Mnemonic is Mnemonic.Pop or Mnemonic.Leave || at.FlowControl == FlowControl.Return)
            return [];
        var factory = new InstructionInfoFactory();
        var kept = new List<KeptArgument>();
        var overwritten = new HashSet<Register>();
        ulong ip = function.Main.Start;
        for (int step = 0; step < MaxBegin && ip != point && graph.Instructions.TryGetValue(ip, out Instruction instruction) && instruction.FlowControl == FlowControl.Next && (step == 0 || !graph.IsLeader(ip)); step++)
        {
            if (Keeps(instruction, overwritten) is { } one)
                kept.Add(one);
            foreach (UsedRegister used in factory.GetInfo(instruction).GetUsedRegisters())
            {
                if (IsWritten(used))
                    overwritten.Add(used.Register.GetFullRegister());
            }

            ip = instruction.NextIP;
        }

        kept.RemoveAll(k => graph.Instructions.Values.Count(i => i.Mnemonic is not (Mnemonic.Pop or Mnemonic.Leave) && Writes(factory, i, k.Register)) != 1);
        return kept;
    }

    private static KeptArgument? Keeps(in Instruction instruction, HashSet<Register> overwritten)
    {
        if (instruction.Mnemonic != Mnemonic.Mov || instruction.Op0Kind != OpKind.Register || instruction.Op1Kind != OpKind.Register || instruction.Op0Register.GetSize() is not (4 or 8))
            return null;
        Register to = instruction.Op0Register.GetFullRegister(), from = instruction.Op1Register.GetFullRegister();
        if (!to.IsGPR64() || !from.IsGPR64() || overwritten.Contains(from))
            return null;
        (Gpr register, Gpr argument) = ((Gpr)(to - Register.RAX), (Gpr)(from - Register.RAX));
        return KnownRegisters.CalleeSaved.Contains(register) && KnownRegisters.Arguments.Contains(argument) ? new KeptArgument(register, argument, instruction.Op0Register.GetSize()) : null;
    }

    private static bool Writes(InstructionInfoFactory factory, in Instruction instruction, Gpr register)
    {
        foreach (UsedRegister used in factory.GetInfo(instruction).GetUsedRegisters())
        {
            if (IsWritten(used) && used.Register.GetFullRegister() == Register.RAX + (int)register)
                return true;
        }

        return false;
    }

    private static bool IsWritten(UsedRegister used) => used.Access is OpAccess.Write or OpAccess.ReadWrite or OpAccess.CondWrite or OpAccess.ReadCondWrite;
}
