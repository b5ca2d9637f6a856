using Panacea.Lab.Bench;

namespace Panacea.Cli.Services;

/// <summary>The benchmarks, by their names on the command line.</summary>
internal enum BenchKind
{
    Recovery,
    Rehearsal,
    Service,
    Overhead,
    Scale,
    Diagnosis,
}

/// <summary>Options of <c>bench</c>.</summary>
/// <param name="Kind">Which benchmark.</param>
/// <param name="Json">One JSON object instead of a table.</param>
/// <param name="Yes">Install what is missing without asking.</param>
/// <param name="Count">Crashes or rounds.</param>
/// <param name="Kernels">Kernel lines.</param>
/// <param name="UpdateDocs">Write the figures into the document.</param>
internal sealed record BenchRequest(BenchKind Kind, bool Json, bool Yes, int Count, IReadOnlyList<string> Kernels, bool UpdateDocs)
{
    /// <summary>Names of workloads, where the benchmark has a choice of them.</summary>
    public IReadOnlyList<string> Workloads { get; init; } = [];

    /// <summary>What is made larger, where the benchmark has a choice of that.</summary>
    public IReadOnlyList<string> Only { get; init; } = [];

    /// <summary>The document in docs/ that a benchmark is in.</summary>
    public static string DocumentOf(BenchKind kind) => kind is BenchKind.Service or BenchKind.Overhead or BenchKind.Scale ? EvaluationDocument.Name : PerformanceDocument.Name;
}
