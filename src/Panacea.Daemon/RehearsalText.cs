using System.Globalization;
using System.Text;
using Panacea.Diagnosis.Rendering;
using Panacea.Sessions.Rehearsal;

namespace Panacea.Daemon;

/// <summary>A rehearsal in words.</summary>
internal static class RehearsalText
{
    /// <summary>As Markdown; nothing where there was none.</summary>
    public static void Append(StringBuilder to, RehearsalRecord? rehearsal)
    {
        if (rehearsal is null)
            return;
        to.Append(CultureInfo.InvariantCulture, $"Repairs were tried on copies of the machine first ({Safe.Markdown(rehearsal.Why)}), which took {IncidentReport.Duration(rehearsal.TookUs)} of the standstill");
        to.Append(rehearsal.WhyNot is { } whyNot ? $"; {Safe.Markdown(whyNot)}.\n\n" : rehearsal.Plans.Count == 0 ? ".\n\n" : ":\n\n");
        if (rehearsal.Plans.Count == 0)
            return;
        to.Append("| rung | the copy | what was seen | took |\n|---|---|---|---:|\n");
        foreach (RehearsedPlan plan in rehearsal.Plans)
        {
            to.Append("| `").Append(MarkdownReport.Kebab(plan.Repair)).Append("` | ").Append(Verdict(plan.Verdict)).Append(" | ").AppendJoin("; ", plan.Seen.Select(s => Safe.Markdown(s)))
                .Append(" | ").Append(IncidentReport.Duration(plan.TookUs)).Append(" |\n");
        }

        to.Append('\n');
    }

    private static string Verdict(TrialVerdict verdict) => verdict switch
    {
        TrialVerdict.Lives => "lived",
        TrialVerdict.Dies => "died again",
        TrialVerdict.Stands => "did not get on",
        _ => "could not be told",
    };
}
