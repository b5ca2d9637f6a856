using Iced.Intel;

namespace Panacea.Kernel.Code;

/// <summary>Whether a loop that waits for a word of memory has left anything in memory on its way there. Where it has not, it can be left as if it had never been come to.</summary>
/// <remarks>A guest of a hypervisor that has told it of no better way waits for a spinlock by testing the word, and takes it by a compare-and-exchange (virt_spin_lock(), arch/x86/include/asm/qspinlock.h): whatever
/// is in the word, it is not of who waits.</remarks>
public static class UntracedWait
{
    /// <summary>No instruction on a way from a function's entry to a place in it changes memory other than the stack. A compare-and-exchange has changed nothing where the wait goes on behind it.</summary>
    /// <param name="code">Text as it runs: branches that the kernel has patched are part of it.</param>
    /// <param name="function">The function.</param>
    /// <param name="point">The place.</param>
    /// <param name="hints">What else is known of control flow, or null.</param>
    public static bool Is(ICodeSource code, in FunctionParts function, CodePoint point, IControlFlowHints? hints)
    {
        if (AnalysedCode.WaysTo(code, function, point, hints) is not { } ways || !FlowGraph.TryBuild(code, function, hints ?? NoHints.Instance, out FlowGraph graph, out _))
            return false;
        var factory = new InstructionInfoFactory();
        foreach (ulong at in ways)
        {
            if (!graph.Instructions.TryGetValue(at, out Instruction instruction) || instruction.FlowControl is FlowControl.Call or FlowControl.IndirectCall)
                return false;
            foreach (UsedMemory used in factory.GetInfo(instruction).GetUsedMemory())
            {
                if (used.Access is OpAccess.Write or OpAccess.ReadWrite or OpAccess.CondWrite or OpAccess.ReadCondWrite && used.Base != Register.RSP && instruction.Mnemonic != Mnemonic.Cmpxchg)
                    return false;
            }
        }

        return true;
    }
}
