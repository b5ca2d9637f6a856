using Iced.Intel;
using Panacea.Kernel.Code;
using Panacea.Kernel.Unwind;

namespace Panacea.Kernel.Replay;

/// <summary>How a replay comes by the place of a crash.</summary>
internal enum CrashPlaceKind
{
    /// <summary>It can't be told.</summary>
    None,

    /// <summary>It executes the instruction that trapped.</summary>
    Instruction,

    /// <summary>It comes to the branch behind which there is nothing but the trap (UD2 of a BUG()), and goes the other way.</summary>
    Branch,

    /// <summary>It makes the call that led to no function, and is led to one.</summary>
    Call,
}

/// <summary>Where a crashed stack stands, as code that is executed again can come by it.</summary>
/// <param name="Kind">How.</param>
/// <param name="Level">Index of the frame in whose function it lies.</param>
/// <param name="Ip">Guest-virtual address of the instruction, the branch or the call; of a call, the one that it returns to.</param>
/// <param name="Avoids">Of a branch: where the trap is.</param>
internal readonly record struct CrashPlace(CrashPlaceKind Kind, int Level, ulong Ip, ulong Avoids)
{
    /// <summary>Instructions looked at before a trap.</summary>
    private const int MaxBack = 32;

    /// <summary>One replay may come by it more than once: in its function, or in one further out, there is a way from it back to it, or one that is not known.</summary>
    public bool IsRepeated(ReplayInput input)
    {
        for (int level = Level; level <= input.Index; level++)
        {
            if (ComesBack(input, level, level == Level ? Ip : input.Frames[level].Ip))
                return true;
        }

        return false;
    }

    /// <summary>One replay may call the function of a frame more than once.</summary>
    /// <param name="input">What it is made of.</param>
    /// <param name="level">Index of the frame.</param>
    public static bool IsCalledAgain(ReplayInput input, int level)
    {
        for (int outer = level + 1; outer <= input.Index; outer++)
        {
            if (ComesBack(input, outer, input.Frames[outer].Ip))
                return true;
        }

        return false;
    }

    private static bool ComesBack(ReplayInput input, int level, ulong at) =>
        !input.Analysis.Functions.TryFindFunction(input.Frames[level].Point.LookupAddress, out FunctionParts function)
        || !FlowGraph.TryBuild(input.Analysis.Code, function, input.Analysis.Hints ?? NoHints.Instance, out FlowGraph graph, out _) || IsCyclic(graph, at);

    /// <summary>The place of a crash that began with a trap.</summary>
    public static CrashPlace Of(ReplayInput input)
    {
        StackFrame first = input.Frames[0];
        if (!first.IsTrap || input.MustReturn)
            return default;
        if (!input.Analysis.Functions.TryFindFunction(first.Point.LookupAddress, out FunctionParts function))
        {
            return input.Frames.Count > 1 && input.Frames[1] is { IsTrap: false, Reliability: FrameReliability.Exact } caller && input.Analysis.Functions.TryFindFunction(caller.Point.LookupAddress, out _)
                ? new CrashPlace(CrashPlaceKind.Call, 1, caller.Ip, 0) : default;
        }

        if (!FlowGraph.TryBuild(input.Analysis.Code, function, input.Analysis.Hints ?? NoHints.Instance, out FlowGraph graph, out _) || !graph.Instructions.TryGetValue(first.Ip, out Instruction trapped))
            return default;
        if (trapped.FlowControl is not (FlowControl.Exception or FlowControl.Interrupt))
            return new CrashPlace(CrashPlaceKind.Instruction, 0, first.Ip, 0);
        return Branch(graph, first.Ip);
    }

    /// <summary>The branch that alone leads to a trap, over nothing that could go elsewhere.</summary>
    private static CrashPlace Branch(FlowGraph graph, ulong trap)
    {
        ulong at = trap;
        for (int step = 0; step < MaxBack && graph.Predecessors.TryGetValue(at, out List<ulong>? from) && from.Count == 1; step++)
        {
            if (graph.Instructions[from[0]].FlowControl == FlowControl.ConditionalBranch)
                return new CrashPlace(CrashPlaceKind.Branch, 0, from[0], at);
            at = from[0];
        }

        return default;
    }

    /// <summary>There is a way from an instruction back to it, or a way on that is not known.</summary>
    private static bool IsCyclic(FlowGraph graph, ulong place)
    {
        if (graph.HasUnknownTargets)
            return true;
        var seen = new HashSet<ulong>();
        var pending = new Stack<ulong>([place]);
        var edges = new List<FlowEdge>(4);
        while (pending.TryPop(out ulong at))
        {
            if (!graph.Instructions.TryGetValue(at, out Instruction instruction))
                continue;
            graph.EdgesOf(instruction, edges);
            foreach (FlowEdge edge in edges)
            {
                if (edge.To == place)
                    return true;
                if (seen.Add(edge.To))
                    pending.Push(edge.To);
            }
        }

        return false;
    }
}
