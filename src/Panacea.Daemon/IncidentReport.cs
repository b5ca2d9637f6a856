using System.Globalization;
using System.Text;
using Panacea.Diagnosis;
using Panacea.Diagnosis.Rendering;
using Panacea.Diagnosis.Validators;
using Panacea.Repair;
using Panacea.Sessions;
using Panacea.Sessions.Policy;

namespace Panacea.Daemon;

/// <summary>An incident as Markdown: what happened, what was done, what was lost, the timeline; then the diagnosis with its evidence.</summary>
public static class IncidentReport
{
    /// <summary>Lines of the guest's console that the report shows; all that were captured are in console.txt.</summary>
    public const int ConsoleLinesShown = 60;

    /// <summary>The whole document. LF line ends; every string of the guest goes through <see cref="Safe"/>.</summary>
    public static string Render(Incident incident)
    {
        var to = new StringBuilder();
        to.Append("# ").Append(Safe.Markdown(incident.Report?.Title ?? "Crash without a diagnosis")).Append("\n\n");
        to.Append("**").Append(Headline(incident)).Append("**\n\n");
        to.Append(CultureInfo.InvariantCulture, $"VM {Safe.Code(incident.Vm)}, {incident.At.UtcDateTime:yyyy-MM-dd HH:mm:ss.fff} UTC, ")
            .Append(CultureInfo.InvariantCulture, $"incident {Safe.Code(incident.Id)}, mode `{MarkdownReport.Kebab(incident.Mode)}`.\n\n");

        to.Append("## What happened\n\n");
        if (incident.Report is { } report)
            MarkdownReport.AppendSummary(to, report);
        else
            to.Append("The guest died at ").Append(Safe.Code(incident.DeathPoint)).Append("; it could not be diagnosed.\n\n");

        KnownIssueText.AppendMarkdown(to, incident.KnownIssues);
        AppendDone(to, incident);
        AppendLost(to, incident);
        AppendCheckUp(to, incident.CheckUp);
        AppendTimeline(to, incident.Timeline);
        AppendErrors(to, incident.Errors);
        if (incident.Report is { } evidence)
            MarkdownReport.AppendEvidence(to, evidence);
        if (incident.Machine is { } machine)
            MachineMarkdown.AppendState(to, machine);
        AppendJournal(to, incident.Journal);
        AppendConsole(to, incident.Console);
        return to.ToString();
    }

    /// <summary>What came of it, in one sentence, without guest strings.</summary>
    public static string Headline(Incident incident)
    {
        string stopped = Duration(incident.StoppedUs);
        return incident.Outcome switch
        {
            IncidentOutcome.Recovered => $"Recovered by {RepairName(incident.Repair)}; the guest stood still for {stopped}.",
            IncidentOutcome.Declined => incident.Fallback?.Action switch
            {
                FallbackAction.Reset => $"Not repaired; after {stopped} the guest was reset.",
                FallbackAction.KeepStopped => "Not repaired; the guest stays stopped where it died.",
                _ => $"Not repaired; after {stopped} the guest went on to do what it would have done alone.",
            },
            _ => $"The repair failed; the guest was left to do what it would have done alone, after {stopped}.",
        };
    }

    /// <summary>A repair in words.</summary>
    public static string RepairName(RepairKind repair) => repair switch
    {
        RepairKind.None => "nothing",
        RepairKind.Retry => "the same call, made again",
        RepairKind.ErrorReturn => "an error return from the faulty function",
        RepairKind.Heal => "putting right what was wrong",
        RepairKind.GoOn => "going on as without the setting that made it a panic",
        RepairKind.Unwind => "unwinding to a place where returning is safe",
        RepairKind.Kill => "taking the offending process out",
        RepairKind.Freeze => "putting the offending thread to sleep for ever",
        _ => MarkdownReport.Kebab(repair),
    };

    /// <summary>Microseconds for a person: <c>870 µs</c>, <c>4.2 ms</c>, <c>3.15 s</c>.</summary>
    public static string Duration(long microseconds) => microseconds switch
    {
        < 1000 => string.Create(CultureInfo.InvariantCulture, $"{microseconds} µs"),
        < 1_000_000 => string.Create(CultureInfo.InvariantCulture, $"{microseconds / 1000.0:0.0} ms"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{microseconds / 1e6:0.00} s"),
    };

    /// <summary>A console line as dmesg prints it: <c>[   12.345678] text</c>.</summary>
    public static string Line(ConsoleLine line) => string.Create(
        CultureInfo.InvariantCulture, $"[{line.TimestampNs / 1_000_000_000,5}.{line.TimestampNs / 1000 % 1_000_000:000000}] {Safe.Text(line.Text)}");

    private static void AppendDone(StringBuilder to, Incident incident)
    {
        to.Append("## What was done\n\n").Append(Safe.Markdown(incident.OutcomeReason)).Append("\n\n");
        if (incident.Ladder.Count > 0)
        {
            to.Append("| rung | chosen | why | risk | took |\n|---|---|---|---|---:|\n");
            foreach (LadderStep step in incident.Ladder)
            {
                to.Append("| `").Append(MarkdownReport.Kebab(step.Repair)).Append("` | ").Append(step.Applied ? "yes" : "no").Append(" | ")
                    .Append(Safe.Markdown(step.Explanation)).Append(" | ")
                    .Append(step.Risks.Count == 0 ? Safe.Nothing : string.Join("; ", step.Risks.Select(risk => Safe.Markdown(risk)))).Append(" | ")
                    .Append(step.TookUs is { } us ? string.Create(CultureInfo.InvariantCulture, $"{us / 1000.0:0.00} ms") : Safe.Nothing).Append(" |\n");
            }

            to.Append('\n');
        }

        RehearsalText.Append(to, incident.Rehearsal);
        FallbackText.Append(to, incident.Fallback);
        if (incident.Health is not { } health)
            return;
        to.Append(health.Verified ? "Health after resuming was verified:\n\n" : "Health after resuming was **not** verified:\n\n");
        foreach (string each in health.Evidence)
            to.Append("- ").Append(Safe.Markdown(each)).Append('\n');
        to.Append('\n');
    }

    private static void AppendLost(StringBuilder to, Incident incident)
    {
        to.Append("## What was lost\n\n");
        if (incident.Outcome == IncidentOutcome.Recovered && incident.Lost.Count == 0)
            to.Append("Nothing.\n");
        else if (incident.Lost.Count == 0)
            to.Append("Not known: the guest was not repaired, and what it lost is for its own recovery to say.\n");
        foreach (string each in incident.Lost)
            to.Append("- ").Append(Safe.Markdown(each)).Append('\n');
        to.Append('\n');
    }

    private static void AppendCheckUp(StringBuilder to, StructureReport? structures)
    {
        if (structures is null)
            return;
        StructureSummary.Markdown(to, structures.Checks);
        foreach (Finding finding in structures.Findings)
        {
            to.Append("- **").Append(Safe.Markdown(finding.Text)).Append("** (").Append(Safe.Code(finding.Id)).Append(", confidence ").Append(MarkdownReport.Kebab(finding.Confidence)).Append(")\n");
            foreach (string evidence in finding.Evidence)
                to.Append("  - ").Append(Safe.Code(evidence)).Append('\n');
        }

        foreach (string each in structures.NotChecked)
            to.Append("- not checked: ").Append(Safe.Markdown(each)).Append('\n');
        to.Append(structures.Findings.Count + structures.NotChecked.Count > 0 ? "\n" : "");
    }

    private static void AppendTimeline(StringBuilder to, IReadOnlyList<TimelineEntry> timeline)
    {
        if (timeline.Count == 0)
            return;
        to.Append("## Timeline\n\n| step | at (µs) | took (µs) |\n|---|---:|---:|\n");
        long before = 0;
        foreach (TimelineEntry entry in timeline)
        {
            long took = unchecked(entry.AtUs - before);
            to.Append(CultureInfo.InvariantCulture, $"| {Safe.Markdown(entry.Step)} | {entry.AtUs} | {took} |\n");
            before = entry.AtUs;
        }

        to.Append('\n');
    }

    private static void AppendErrors(StringBuilder to, IReadOnlyList<string> errors)
    {
        if (errors.Count == 0)
            return;
        to.Append("## Errors inside Panacea\n\n");
        foreach (string each in errors)
            to.Append("- ").Append(Safe.Markdown(each)).Append('\n');
        to.Append('\n');
    }

    private static void AppendJournal(StringBuilder to, IReadOnlyList<JournalLine> journal)
    {
        if (journal.Count == 0)
            return;
        to.Append("## What was written into the guest\n\n| where | before | after | what it is |\n|---|---|---|---|\n");
        foreach (JournalLine line in journal)
        {
            to.Append(CultureInfo.InvariantCulture, $"| {Safe.Code(line.Where, true)} | {Safe.Code(line.Before, true, 128)} ")
                .Append(CultureInfo.InvariantCulture, $"| {Safe.Code(line.After, true, 128)} | {Safe.Markdown(line.Why)} |\n");
        }

        to.Append('\n');
    }

    private static void AppendConsole(StringBuilder to, IReadOnlyList<ConsoleLine> console)
    {
        to.Append("## Console\n\n");
        if (console.Count == 0)
        {
            to.Append("No line of the guest's kernel log was captured.\n");
            return;
        }

        int skipped = Math.Max(0, console.Count - ConsoleLinesShown);
        if (skipped > 0)
            to.Append(CultureInfo.InvariantCulture, $"The last {ConsoleLinesShown} of {console.Count} lines; all are in `console.txt`.\n\n");
        to.Append(Safe.Block(console.Skip(skipped).Select(Line))).Append('\n');
    }
}
