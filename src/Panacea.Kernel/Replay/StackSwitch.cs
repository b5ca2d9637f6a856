using Iced.Intel;
using Panacea.Kernel.Code;
using Panacea.Target;

namespace Panacea.Kernel.Replay;

/// <summary>An instruction that sets the stack pointer from another register, right before one that has trapped.</summary>
public static class StackSwitch
{
    /// <summary>Instructions since.</summary>
    private const int MaxBack = 8;

    /// <summary>Finds it: nothing lies between it and the trap but moves between registers, which leave the other one alone, and control comes from nowhere else.</summary>
    /// <param name="code">Pristine text.</param>
    /// <param name="function">The function.</param>
    /// <param name="hints">What else is known of control flow, or null.</param>
    /// <param name="ip">Guest-virtual address of the instruction that trapped.</param>
    /// <param name="at">Guest-virtual address of it.</param>
    /// <param name="from">The other register.</param>
    public static bool TryFind(ICodeSource code, in FunctionParts function, IControlFlowHints? hints, ulong ip, out ulong at, out Gpr from)
    {
        (at, from) = (ip, default);
        if (!FlowGraph.TryBuild(code, function, hints ?? NoHints.Instance, out FlowGraph graph, out _))
            return false;
        var before = new Dictionary<ulong, Instruction>();
        foreach (Instruction instruction in graph.Instructions.Values)
            before.TryAdd(instruction.NextIP, instruction);
        var written = new HashSet<Register>();
        for (int step = 0; step < MaxBack && before.TryGetValue(at, out Instruction instruction) && IsMove(instruction); step++)
        {
            at = instruction.IP;
            if (instruction.Op0Register == Register.RSP)
            {
                from = (Gpr)(instruction.Op1Register - Register.RAX);
                return instruction.Op1Register != Register.RSP && !written.Contains(instruction.Op1Register) && LastStretch.SingleEntry(graph, at, ip) == at;
            }

            written.Add(instruction.Op0Register);
        }

        return false;
    }

    private static bool IsMove(in Instruction instruction) =>
        instruction.Code is Iced.Intel.Code.Mov_rm64_r64 or Iced.Intel.Code.Mov_r64_rm64 && instruction.Op0Kind == OpKind.Register && instruction.Op1Kind == OpKind.Register;
}
