using System.Diagnostics.CodeAnalysis;
using Iced.Intel;

namespace Panacea.Kernel.Code;

/// <summary>The instructions of a function that control can reach from its entry, by address.</summary>
/// <remarks>Padding, literal pools and dead code are never among them. Immutable.</remarks>
public sealed class FunctionListing
{
    private readonly FlowGraph _graph;
    private readonly Instruction[] _instructions;

    private FunctionListing(FlowGraph graph)
    {
        _graph = graph;
        _instructions = [.. graph.Instructions.OrderBy(i => i.Key).Select(i => i.Value)];
    }

    /// <summary>The function.</summary>
    public FunctionParts Function => _graph.Function;

    /// <summary>The instructions, ascending.</summary>
    public IReadOnlyList<Instruction> Instructions => _instructions;

    /// <summary>A jump leads to that instruction, or control comes in there.</summary>
    public bool IsLeader(ulong address) => _graph.IsLeader(address);

    /// <summary>Decodes a function.</summary>
    /// <param name="code">Text.</param>
    /// <param name="function">The function.</param>
    /// <param name="hints">What is known beyond the instructions.</param>
    /// <param name="listing">The listing.</param>
    /// <param name="why">Why there is none.</param>
    /// <returns>False where the entry can't be decoded, or the function is too large.</returns>
    public static bool TryDecode(ICodeSource code, in FunctionParts function, IControlFlowHints hints, [NotNullWhen(true)] out FunctionListing? listing, out Decline why)
    {
        listing = FlowGraph.TryBuild(code, function, hints, out FlowGraph graph, out why) ? new FunctionListing(graph) : null;
        return listing is not null;
    }
}
