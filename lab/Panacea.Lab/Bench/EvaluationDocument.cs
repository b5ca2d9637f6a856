using Panacea.Lab.Bench.Overhead;
using Panacea.Lab.Bench.Scale;
using Panacea.Lab.Bench.Service;

namespace Panacea.Lab.Bench;

/// <summary>docs/evaluation-figures.md: the parts of the evaluation that are benchmarks.</summary>
public static class EvaluationDocument
{
    /// <summary>Its name in docs/.</summary>
    public const string Name = "evaluation-figures.md";

    private const string ServicePart = "service", OverheadPart = "overhead", ScalePart = "scale";

    private static readonly string Empty = $"""
        # Evaluation: figures

        What the [evaluation](evaluation.md) has besides the campaign of faults: time to recover, overhead, scale. Each part says where it was measured and how to measure it again.

        ## Time to recover

        {GeneratedDocument.Begin(ServicePart)}
        {GeneratedDocument.End}

        ## Overhead

        {GeneratedDocument.Begin(OverheadPart)}
        {GeneratedDocument.End}

        ## Scale

        {GeneratedDocument.Begin(ScalePart)}
        {GeneratedDocument.End}

        """;

    /// <summary>Replaces the generated part of <c>bench overhead</c>, or makes the document.</summary>
    public static void Update(string path, OverheadReport report) => GeneratedDocument.Update(path, OverheadRendering.Document(report), OverheadPart, Empty);

    /// <summary>Replaces the generated part of <c>bench scale</c>, or makes the document.</summary>
    public static void Update(string path, ScaleReport report) => GeneratedDocument.Update(path, ScaleRendering.Document(report), ScalePart, Empty);

    /// <summary>Replaces the generated part of <c>bench service</c>, or makes the document.</summary>
    public static void Update(string path, ServiceReport report) => GeneratedDocument.Update(path, ServiceRendering.Document(report), ServicePart, Empty);
}
