using System.Globalization;
using System.Text;
using Panacea.Diagnosis.Rendering;

namespace Panacea.Lab.Bench;

/// <summary>docs/performance.md: how fast and how large.</summary>
public static class PerformanceDocument
{
    /// <summary>Its name in docs/.</summary>
    public const string Name = "performance.md";

    private const string Recovery = "recovery", Diagnosis = "diagnosis", Rehearsal = "rehearsal";

    private static readonly string Empty = $"""
        # Performance

        Speed and size, measured. Never a timed test: figures depend on the machine, so every table says where it was made and how to make it again.

        ## Recovery

        {GeneratedDocument.Begin(Recovery)}
        {GeneratedDocument.End}

        ## Rehearsal

        {GeneratedDocument.Begin(Rehearsal)}
        {GeneratedDocument.End}

        ## Diagnosis of dumps

        {GeneratedDocument.Begin(Diagnosis)}
        {GeneratedDocument.End}

        """;

    /// <summary>Replaces the generated part of <c>bench recovery</c>, or makes the document.</summary>
    public static void Update(string path, BenchReport report) => GeneratedDocument.Update(path, Render(report), Recovery, Empty);

    /// <summary>Replaces the generated part of <c>bench diagnosis</c>, or makes the document.</summary>
    public static void Update(string path, DiagnosisReport report) => GeneratedDocument.Update(path, DiagnosisRendering.Document(report), Diagnosis, Empty);

    /// <summary>Replaces the generated part of <c>bench rehearsal</c>, or makes the document.</summary>
    public static void Update(string path, RehearsalReport report) => GeneratedDocument.Update(path, RehearsalRendering.Document(report), Rehearsal, Empty);

    /// <summary>The generated part.</summary>
    public static string Render(BenchReport report)
    {
        var text = new StringBuilder();
        BenchMarkdown.Heading(text, report.At, report.Host, report.Command);
        text.Append("Guests: ").AppendJoin("; ", report.Kernels.Select(k => $"{Safe.Markdown($"Linux {k.Kernel}")} under {(k.Accelerator == "kvm" ? "KVM" : "emulation (TCG)")}"));
        text.Append(". 2 vCPUs, 512 MiB, redis (`appendfsync always`), a recorder on ext4 and a counter at work; a client on the host INCRs redis without a pause. ");
        text.Append("Time stopped is the time between QEMU's own STOP and RESUME. At a panic without Panacea the guest reboots at once.\n\n");
        BenchMarkdown.Row(text, ["", .. report.Kernels.Select(k => k.Line), "goal"]);
        BenchMarkdown.Row(text, ["---", .. report.Kernels.Select(_ => "---:"), "---"]);
        foreach (BenchRow row in BenchRows.Of(report))
            BenchMarkdown.Row(text, [row.What, .. row.Values, row.Goal]);
        text.Append("\nBy kind of crash, median time stopped:\n\n");
        BenchMarkdown.Row(text, ["crash", "repair", .. report.Kernels.Select(k => k.Line)]);
        BenchMarkdown.Row(text, ["---", "---", .. report.Kernels.Select(_ => "---:")]);
        foreach ((string kind, string repair) in report.Kernels.SelectMany(k => k.Kinds).Select(k => (k.Kind, k.Repair)).Distinct())
        {
            BenchMarkdown.Row(text,
            [
                kind, repair,
                .. report.Kernels.Select(k => BenchRows.Time(k.Kinds.FirstOrDefault(f => f.Kind == kind && f.Repair == repair)?.StoppedUs.Median)),
            ]);
        }

        text.Append('\n');
        BenchMarkdown.Failures(text, report.Kernels.SelectMany(k => k.Failures.Select(f => $"{k.Line}: {f}")));
        return text.ToString();
    }
}
