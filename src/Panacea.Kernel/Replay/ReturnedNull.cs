using Iced.Intel;
using Panacea.Kernel.Code;
using Panacea.Kernel.Types;
using Panacea.Target;

namespace Panacea.Kernel.Replay;

/// <summary>A call whose result a function has used although it was NULL, as an allocation's that has failed: from where the call is set up to where the function crashed, nothing is done that could not be done once more.</summary>
/// <param name="Start">Guest-virtual address of the first instruction that sets up the call, or of the call.</param>
/// <param name="Call">Guest-virtual address of the call.</param>
/// <param name="Callee">What it calls; null where that is in a register or in memory.</param>
public readonly record struct ReturnedNull(ulong Start, ulong Call, ulong? Callee)
{
    /// <summary>Instructions between the call and the crash.</summary>
    private const int MaxBetween = 32;

    /// <summary>Finds it.</summary>
    /// <param name="code">Pristine text.</param>
    /// <param name="function">The function that crashed.</param>
    /// <param name="hints">What else is known of control flow, or null.</param>
    /// <param name="crash">The instruction that trapped.</param>
    /// <param name="bad">The register that was NULL there.</param>
    /// <param name="nameOf">The function that begins at an address; null where none does.</param>
    /// <param name="found">The result.</param>
    /// <param name="whyNot">Why there is none.</param>
    public static bool TryFind(ICodeSource code, in FunctionParts function, IControlFlowHints? hints, ulong crash, Gpr bad, Func<ulong, string?> nameOf, out ReturnedNull found, out string whyNot)
    {
        found = default;
        if (!ValueOrigins.TryFind(code, function, crash, bad, hints, TypeCatalog.Empty, out ValueOrigin origin) || !origin.IsReturned
            || !FlowGraph.TryBuild(code, function, hints ?? NoHints.Instance, out FlowGraph graph, out _) || !graph.Instructions.TryGetValue(origin.Address, out Instruction call))
        {
            whyNot = "what was NULL was not returned by a call";
            return false;
        }

        if (!CallSetup.TryFind(code, function, hints, call.NextIP, nameOf, out CallSetup setup))
        {
            whyNot = "the call that returned NULL can't be found";
            return false;
        }

        if (!IsRepeatable(graph, setup.Start, call, crash, out whyNot))
            return false;
        found = new ReturnedNull(setup.Start, call.IP, setup.Target);
        return true;
    }

    /// <summary>All ways from the set-up of the call to the crash go forward, store nothing, call nothing else, and leave what they began with: a register that a callee keeps is written only where nobody before has read it.</summary>
    private static bool IsRepeatable(FlowGraph graph, ulong start, in Instruction call, ulong crash, out string whyNot)
    {
        whyNot = "between the call that returned NULL and the crash more was done than can be done again";
        if (Between(graph, call.NextIP, crash) is not { } between)
            return false;
        var factory = new InstructionInfoFactory();
        var read = new HashSet<Register>();
        for (ulong at = start; at != call.IP; at = graph.Instructions[at].NextIP)
        {
            if (!graph.Instructions.ContainsKey(at))
                return false;
            read.UnionWith(factory.GetInfo(graph.Instructions[at]).GetUsedRegisters().Select(r => r.Register.GetFullRegister()));
        }

        foreach (Instruction instruction in between)
        {
            InstructionInfo info = factory.GetInfo(instruction);
            foreach (UsedMemory memory in info.GetUsedMemory())
            {
                if (memory.Access is not (OpAccess.Read or OpAccess.CondRead or OpAccess.NoMemAccess))
                    return false;
            }

            foreach (UsedRegister used in info.GetUsedRegisters())
            {
                Register whole = used.Register.GetFullRegister();
                if (used.Access is OpAccess.Read or OpAccess.ReadWrite or OpAccess.CondRead or OpAccess.ReadCondWrite)
                    read.Add(whole);
                bool isWritten = used.Access is OpAccess.Write or OpAccess.ReadWrite or OpAccess.CondWrite or OpAccess.ReadCondWrite;
                if (isWritten && (whole == Register.RSP || (IsKept(whole) && read.Contains(whole))))
                    return false;
            }
        }

        whyNot = "";
        return true;
    }

    /// <summary>The instructions on ways from one to another, in the order of their addresses, without the latter; null where they call, go back, or are too many.</summary>
    private static List<Instruction>? Between(FlowGraph graph, ulong from, ulong to)
    {
        var seen = new SortedDictionary<ulong, Instruction>();
        var pending = new Stack<ulong>([from]);
        var edges = new List<FlowEdge>(4);
        while (pending.TryPop(out ulong at))
        {
            // What lies behind it does not lead to it: ways go forward.
            if (at >= to || seen.ContainsKey(at))
                continue;
            if (!graph.Instructions.TryGetValue(at, out Instruction instruction) || seen.Count >= MaxBetween || at < from)
                return null;
            if (instruction.FlowControl is not (FlowControl.Next or FlowControl.ConditionalBranch or FlowControl.UnconditionalBranch))
                return null;
            seen.Add(at, instruction);
            graph.EdgesOf(instruction, edges);
            foreach (FlowEdge edge in edges)
                pending.Push(edge.To);
        }

        return [.. seen.Values];
    }

    private static bool IsKept(Register register) => register is Register.RBX or Register.RBP or Register.R12 or Register.R13 or Register.R14 or Register.R15;
}
