using System.Text;
using Panacea.Lab.Bench.Overhead;
using Panacea.Lab.Bench.Scale;
using Panacea.Lab.Bench.Service;
using Panacea.Lab.Workloads;

namespace Panacea.Lab.Bench;

/// <summary>docs/evaluation-figures.md: the parts of the evaluation that are benchmarks. These take long: each workload, and each thing that is made larger, has a part of its own, which can be measured again by itself.</summary>
public static class EvaluationDocument
{
    /// <summary>Its name in docs/.</summary>
    public const string Name = "evaluation-figures.md";

    private const string Service = "service", Overhead = "overhead", Scale = "scale";

    private static string Empty { get; } = Template();

    /// <summary>Replaces the generated parts of <c>bench service</c> that were measured, or makes the document.</summary>
    public static void Update(string path, ServiceReport report)
    {
        Put(path, Service, ServiceRendering.Explanation);
        foreach (var service in report.Services.GroupBy(s => s.Service))
            Put(path, ServiceOf(service.Key), ServiceRendering.Document(report with { Services = [.. service] }));
    }

    /// <summary>Replaces the generated part of <c>bench overhead</c>, or makes the document.</summary>
    public static void Update(string path, OverheadReport report) => Put(path, Overhead, OverheadRendering.Document(report) + OverheadRendering.Explanation.TrimStart('\n'));

    /// <summary>Replaces the generated parts of <c>bench scale</c> that were measured, or makes the document.</summary>
    public static void Update(string path, ScaleReport report)
    {
        Put(path, Scale, ScaleRendering.Explanation);
        foreach (var what in report.Guests.GroupBy(g => g.What))
            Put(path, ScaleOf(what.Key), ScaleRendering.Document(report with { Guests = [.. what], Vms = [] }));
        if (report.Vms.Count > 0)
            Put(path, ScaleOf(ScaleSizes.Names[^1]), ScaleRendering.Document(report with { Guests = [] }));
    }

    private static void Put(string path, string bench, string generated) => GeneratedDocument.Update(path, generated, bench, Empty);

    private static string ServiceOf(string service) => $"{Service} --workloads {service}";

    private static string ScaleOf(string what) => $"{Scale} --only {what}";

    private static string Template()
    {
        var text = new StringBuilder("""
            # Evaluation: figures

            What the [evaluation](evaluation.md) has besides the campaign of faults: time to recover, overhead, scale. Each part says where it was measured and how to measure it again.


            """);
        Section("## Time to recover", Service);
        foreach (MeasuredService service in MeasuredService.All)
            Section($"### {service.Name}", ServiceOf(service.Name));
        Section("## Overhead", Overhead);
        Section("## Scale", Scale);
        foreach (string what in ScaleSizes.Names)
            Section($"### {what}", ScaleOf(what));
        return $"{text.ToString().TrimEnd()}\n";

        void Section(string heading, string bench) => text.Append($"{heading}\n\n{GeneratedDocument.Begin(bench)}\n{GeneratedDocument.End}\n\n");
    }
}
