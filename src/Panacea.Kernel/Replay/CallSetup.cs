using Iced.Intel;
using Panacea.Kernel.Code;
using Panacea.Target;

namespace Panacea.Kernel.Replay;

/// <summary>How a call that has been made was set up.</summary>
/// <param name="Start">Guest-virtual address of the first instruction that sets up its arguments, or of the call itself: from there, control goes straight to the call.</param>
/// <param name="Past">The same further back, over what only stores: to be gone by where one wants to tell what registers held, never to be executed again.</param>
/// <param name="Wide">The same still further back, over branches, in code that control enters at no other place.</param>
/// <param name="Call">Guest-virtual address of the call.</param>
/// <param name="Target">What it calls; null where that is in a register or in memory, or where a retpoline's thunk goes there.</param>
internal readonly record struct CallSetup(ulong Start, ulong Past, ulong Wide, ulong Call, ulong? Target)
{
    /// <summary>Instructions looked at before a call.</summary>
    private const int MaxBack = 32;

    /// <summary>Looks back from the call that <paramref name="returnAddress"/> stands behind, over what only loads registers that a callee may change anyway: executed again, it does the same again.</summary>
    /// <param name="code">Pristine text.</param>
    /// <param name="caller">The function that makes the call.</param>
    /// <param name="hints">What else is known of control flow, or null.</param>
    /// <param name="returnAddress">Where the callee returns to.</param>
    /// <param name="nameOf">The function that begins at an address; null where none does.</param>
    /// <param name="setup">The result.</param>
    public static bool TryFind(ICodeSource code, in FunctionParts caller, IControlFlowHints? hints, ulong returnAddress, Func<ulong, string?> nameOf, out CallSetup setup)
    {
        setup = default;
        if (!FlowGraph.TryBuild(code, caller, hints ?? NoHints.Instance, out FlowGraph graph, out _))
            return false;
        if (!graph.TryBefore(returnAddress, out Instruction call) || call.Mnemonic != Mnemonic.Call)
            return false;
        var factory = new InstructionInfoFactory();
        ulong start = call.IP;
        for (int step = 0; step < MaxBack && !graph.IsLeader(start) && graph.TryBefore(start, out Instruction instruction) && IsRepeatable(factory, instruction); step++)
            start = instruction.IP;
        ulong past = start;
        for (int step = 0; step < MaxBack && !graph.IsLeader(past) && graph.TryBefore(past, out Instruction instruction) && (IsRepeatable(factory, instruction) || StoredValues.OnlyStores(factory, instruction)); step++)
            past = instruction.IP;
        ulong wide = WidestStart(graph, factory, call.IP);
        bool isThrough = call.FlowControl == FlowControl.IndirectCall || nameOf(call.NearBranchTarget)?.StartsWith("__x86_indirect_", StringComparison.Ordinal) == true;
        setup = new CallSetup(start, past, Math.Min(past, wide), call.IP, isThrough ? null : call.NearBranchTarget);
        return true;
    }

    /// <summary>Where the widest stretch of code before a call begins that can be executed again and that nobody jumps into from outside it.</summary>
    private static ulong WidestStart(FlowGraph graph, InstructionInfoFactory factory, ulong call)
    {
        ulong first = call;
        for (int step = 0; step < MaxBack && graph.TryBefore(first, out Instruction instruction)
            && (IsRepeatable(factory, instruction) || StoredValues.OnlyStores(factory, instruction) || instruction.FlowControl is FlowControl.ConditionalBranch or FlowControl.UnconditionalBranch); step++)
            first = instruction.IP;

        // A jump from outside brings registers with it that are not known.
        return graph.HasUnknownTargets ? call : LastStretch.SingleEntry(graph, first, call);
    }

    /// <summary>Registers of arguments that a function never writes on its way to another to which it goes on by a jump: it has passed them on as it got them.</summary>
    /// <param name="code">Pristine text.</param>
    /// <param name="function">The function between.</param>
    /// <param name="hints">What else is known of control flow, or null.</param>
    /// <param name="callee">Where it goes on.</param>
    public static IReadOnlyList<Gpr> PassedOn(ICodeSource code, in FunctionParts function, IControlFlowHints? hints, ulong callee)
    {
        if (!FlowGraph.TryBuild(code, function, hints ?? NoHints.Instance, out FlowGraph graph, out _))
            return [];
        var pending = new Stack<ulong>();
        foreach ((ulong at, Instruction instruction) in graph.Instructions)
        {
            if (instruction.FlowControl is FlowControl.UnconditionalBranch or FlowControl.ConditionalBranch && instruction.NearBranchTarget == callee)
                pending.Push(at);
        }

        var factory = new InstructionInfoFactory();
        var left = new HashSet<Gpr>(pending.Count == 0 ? [] : KnownRegisters.Arguments.ToArray());
        var seen = new HashSet<ulong>(pending);
        while (pending.TryPop(out ulong at))
        {
            Instruction instruction = graph.Instructions[at];
            if (instruction.FlowControl is FlowControl.Call or FlowControl.IndirectCall)
                return [];
            foreach (UsedRegister used in factory.GetInfo(instruction).GetUsedRegisters())
            {
                if (IsWritten(used) && used.Register.IsGPR())
                    left.Remove((Gpr)(used.Register.GetFullRegister() - Register.RAX));
            }

            foreach (ulong from in graph.Predecessors.GetValueOrDefault(at) ?? [])
            {
                if (seen.Add(from))
                    pending.Push(from);
            }
        }

        return [.. left];
    }

    /// <summary>It stores nothing, calls nothing, and changes no register that the callee has to give back.</summary>
    private static bool IsRepeatable(InstructionInfoFactory factory, in Instruction instruction)
    {
        if (instruction.FlowControl != FlowControl.Next || instruction.IsStringInstruction || instruction.IsPrivileged)
            return false;
        ref readonly InstructionInfo info = ref factory.GetInfo(instruction);
        foreach (UsedMemory memory in info.GetUsedMemory())
        {
            if (memory.Access is not (OpAccess.Read or OpAccess.CondRead or OpAccess.NoMemAccess))
                return false;
        }

        foreach (UsedRegister used in info.GetUsedRegisters())
        {
            if (IsWritten(used) && used.Register.GetFullRegister() is (Register.RBX or Register.RBP or Register.RSP or Register.R12 or Register.R13 or Register.R14 or Register.R15))
                return false;
        }

        return true;
    }

    private static bool IsWritten(UsedRegister used) => used.Access is OpAccess.Write or OpAccess.ReadWrite or OpAccess.CondWrite or OpAccess.ReadCondWrite;
}
