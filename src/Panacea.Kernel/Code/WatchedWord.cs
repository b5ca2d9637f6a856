using Iced.Intel;
using Panacea.Target;

namespace Panacea.Kernel.Code;

/// <summary>The word of memory that a loop looks at again and again.</summary>
public static class WatchedWord
{
    /// <summary>Instructions looked at: such a loop has a handful.</summary>
    private const int MaxInstructions = 12;

    /// <summary>The first word that the code from <paramref name="ip"/> on accesses through a register, along the way that it loops by: backward jumps are followed, forward ones are the way out.</summary>
    /// <param name="code">Pristine text.</param>
    /// <param name="ip">Where the CPU stands in the loop.</param>
    /// <param name="registers">Its registers.</param>
    /// <param name="address">Guest-virtual address of the word.</param>
    public static bool TryFind(ICodeSource code, ulong ip, in GprFile registers, out ulong address)
    {
        address = 0;
        for (int i = 0; i < MaxInstructions && FaultDecoder.TryDecode(code, ip, out Instruction instruction); i++)
        {
            for (int operand = 0; operand < instruction.OpCount; operand++)
            {
                if (instruction.GetOpKind(operand) != OpKind.Memory || instruction.Mnemonic is Mnemonic.Lea or Mnemonic.Nop || instruction.MemorySegment == Register.GS)
                    continue;
                if (instruction.MemoryIndex != Register.None || !instruction.MemoryBase.IsGPR64() || instruction.MemoryBase == Register.RSP)
                    return false;
                address = unchecked(registers[(Gpr)(instruction.MemoryBase - Register.RAX)] + instruction.MemoryDisplacement64);
                return true;
            }

            switch (instruction.FlowControl)
            {
                case FlowControl.Next:
                    ip = instruction.NextIP;
                    break;
                case FlowControl.UnconditionalBranch:
                    ip = instruction.NearBranchTarget;
                    break;
                case FlowControl.ConditionalBranch:
                    ip = instruction.NearBranchTarget < ip ? instruction.NearBranchTarget : instruction.NextIP;
                    break;
                default:
                    return false;
            }
        }

        return false;
    }
}
