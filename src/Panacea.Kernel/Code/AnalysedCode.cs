using Panacea.Formats.Orc;

namespace Panacea.Kernel.Code;

/// <summary>Pristine text with what has been found out about its functions: at one crash the same few functions are asked about again and again, frame by frame and rung by rung.</summary>
/// <remarks>Answers are kept for as long as this lives, up to <see cref="MaxInstructions"/> decoded instructions; what is beyond is worked out anew each time. Safe for concurrent use.</remarks>
/// <param name="code">The text; it does not change.</param>
public sealed class AnalysedCode(ICodeSource code) : ICodeSource
{
    /// <summary>Bound on decoded instructions that are kept; an ordinary stack has some ten thousand.</summary>
    public const int MaxInstructions = 200_000;

    private readonly Lock _lock = new();
    private readonly Dictionary<(ulong Entry, IControlFlowHints Hints), FlowGraph> _graphs = [];
    private readonly Dictionary<(ulong Entry, IControlFlowHints Hints, IOrcLookup Orc), FunctionFrames> _frames = [];
    private readonly Dictionary<(ulong Entry, CodePoint Point, IControlFlowHints? Hints), HashSet<ulong>?> _ways = [];
    private int _instructions;

    /// <summary>Instructions that are kept.</summary>
    public int Instructions => Volatile.Read(ref _instructions);

    /// <summary>Functions decoded so far, those that were not kept each time.</summary>
    public int Decoded { get; private set; }

    /// <summary>Functions walked so far, those that were not kept each time.</summary>
    public int Walked { get; private set; }

    /// <inheritdoc/>
    public bool TryReadCode(ulong address, Span<byte> destination) => code.TryReadCode(address, destination);

    internal bool TryGraph(in FunctionParts function, IControlFlowHints hints, out FlowGraph graph, out Decline why)
    {
        lock (_lock)
        {
            why = default;
            if (_graphs.TryGetValue((function.Main.Start, hints), out FlowGraph? known) && IsSame(known.Function, function))
            {
                graph = known;
                return true;
            }

            Decoded++;
            if (!FlowGraph.TryDecode(code, function, hints, out graph, out why))
                return false;
            if (_instructions + graph.Instructions.Count <= MaxInstructions)
            {
                _instructions += graph.Instructions.Count;
                _graphs[(function.Main.Start, hints)] = graph;
            }

            return true;
        }
    }

    internal bool TryLocate(in FunctionParts function, CodePoint point, IOrcLookup orc, IControlFlowHints hints, out RegisterLocations locations, out Decline why)
    {
        // What was walked is asked under the lock, too: it is not made for more than one at a time.
        lock (_lock)
        {
            locations = null!;
            why = default;
            if (!_frames.TryGetValue((function.Main.Start, hints, orc), out FunctionFrames? frames) || !IsSame(frames.Function, function))
            {
                Walked++;
                if (!PrologueAnalysis.TryAnalyse(this, function, orc, hints, out frames, out why))
                    return false;
                if (_graphs.ContainsKey((function.Main.Start, hints)))
                    _frames[(function.Main.Start, hints, orc)] = frames;
            }

            return frames.TryLocate(point, out locations, out why);
        }
    }

    /// <summary>Instructions that lie on a way from the entry of a function to a place in it.</summary>
    /// <returns>Null where they can't be told.</returns>
    internal static HashSet<ulong>? WaysTo(ICodeSource code, in FunctionParts function, CodePoint point, IControlFlowHints? hints) =>
        code is AnalysedCode kept ? kept.WaysTo(function, point, hints) : FindWays(code, function, point, hints);

    private HashSet<ulong>? WaysTo(in FunctionParts function, CodePoint point, IControlFlowHints? hints)
    {
        lock (_lock)
        {
            if (_ways.TryGetValue((function.Main.Start, point, hints), out HashSet<ulong>? ways))
                return ways;
            ways = FindWays(this, function, point, hints);
            int size = 1 + (ways?.Count ?? 0);
            if (_instructions + size <= MaxInstructions)
            {
                _instructions += size;
                _ways.Add((function.Main.Start, point, hints), ways);
            }

            return ways;
        }
    }

    private static HashSet<ulong>? FindWays(ICodeSource code, in FunctionParts function, CodePoint point, IControlFlowHints? hints) =>
        CallSites.TryFind(code, function, function.Main.Start, point, hints, out CallsOnPaths paths, out _) && paths.IsComplete ? [.. paths.Instructions.Select(i => i.IP)] : null;

    private static bool IsSame(in FunctionParts one, in FunctionParts other) => one.Main == other.Main && (one.Fragments ?? []).SequenceEqual(other.Fragments ?? []);
}
