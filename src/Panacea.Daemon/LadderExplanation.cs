using System.Globalization;
using System.Text;
using System.Text.Json.Serialization;
using Panacea.Diagnosis.Rendering;
using Panacea.Repair;
using Panacea.Sessions;
using Panacea.Sessions.Policy;

namespace Panacea.Daemon;

/// <summary>What came of one rung at a crash, and why.</summary>
/// <param name="Repair">The rung.</param>
/// <param name="Verdict">A <see cref="RungVerdict"/> in kebab-case, or <c>not-asked</c>: a rung before it was chosen.</param>
/// <param name="Why">What it did, or why it was not used.</param>
/// <param name="Risks">What may go wrong after it.</param>
/// <param name="Tried">What else the rung looked at before, and why each was nothing.</param>
public sealed record ExplainedRung(RepairKind Repair, string Verdict, string Why, IReadOnlyList<string> Risks, IReadOnlyList<string> Tried);

/// <summary>Why a crash was repaired as it was: the policy that held, and the ladder as it was gone through.</summary>
/// <param name="Id">The incident.</param>
/// <param name="Vm">The VM.</param>
/// <param name="At">When, UTC.</param>
/// <param name="Title">One line about the crash.</param>
/// <param name="Mode">The guard's mode.</param>
/// <param name="Policy">What else held; null in records of earlier versions.</param>
/// <param name="Repair">The repair that was used.</param>
/// <param name="Outcome">What came of it.</param>
/// <param name="OutcomeReason">Why, in a sentence.</param>
/// <param name="StoppedUs">Microseconds for which the guest stood.</param>
/// <param name="Lost">What it lost.</param>
/// <param name="Rungs">The ladder, the rung that loses least first.</param>
/// <param name="Errors">Errors inside Panacea.</param>
public sealed record LadderExplanation(
    string Id, string Vm, DateTimeOffset At, string Title, GuardMode Mode, PolicyInForce? Policy, RepairKind Repair, IncidentOutcome Outcome, string OutcomeReason, long StoppedUs, IReadOnlyList<string> Lost,
    IReadOnlyList<ExplainedRung> Rungs, IReadOnlyList<string> Errors)
{
    private const string NotAsked = "not-asked";

    /// <summary>Of an incident's record.</summary>
    public static LadderExplanation Of(Incident incident)
    {
        var rungs = incident.Ladder.Select(s => new ExplainedRung(s.Repair, GuardPolicy.Name(VerdictOf(s)), s.Explanation, s.Risks, s.Tried ?? [])).ToList();
        if (incident.Ladder is [.., { } last] && VerdictOf(last) is RungVerdict.Taken or RungVerdict.NotApplied)
        {
            // Only those behind it: records of before do not have every rung of today.
            foreach (RepairKind kind in Ladder.All.Select(s => s.Kind).Distinct().Where(k => k > last.Repair && incident.Ladder.All(s => s.Repair != k)))
                rungs.Add(new ExplainedRung(kind, NotAsked, $"{GuardPolicy.Name(last.Repair)} loses less and was chosen", [], []));
        }

        return new LadderExplanation(
            incident.Id, incident.Vm, incident.At, incident.Report?.Title ?? $"crash at {incident.DeathPoint} that could not be diagnosed", incident.Mode, incident.Policy, incident.Repair, incident.Outcome,
            incident.OutcomeReason, incident.StoppedUs, incident.Lost, rungs, incident.Errors);
    }

    /// <summary>In sentences; LF line ends. Every string of the guest goes through <see cref="Safe"/>.</summary>
    /// <param name="headline">What came of it, in one sentence: <see cref="IncidentReport.Headline"/>.</param>
    public string Render(string headline)
    {
        var to = new StringBuilder();
        to.Append(Safe.Text(Title)).Append('\n');
        to.Append(CultureInfo.InvariantCulture, $"Incident {Safe.Text(Id)} of {Safe.Text(Vm)}, {At.UtcDateTime:yyyy-MM-dd HH:mm:ss} UTC.\n");
        to.Append(headline.TrimEnd('.')).Append(": ").Append(Sentence(OutcomeReason)).Append("\n\n");
        to.Append("What held: ").Append(Held()).Append(".\n\n");
        if (Rungs.Count == 0)
            to.Append("No repair was considered.\n");
        for (int i = 0; i < Rungs.Count; i++)
        {
            to.Append(CultureInfo.InvariantCulture, $"{i + 1}. {Said(Rungs[i])}\n");
            foreach (string tried in Rungs[i].Tried)
                to.Append("   - ").Append(Sentence(tried)).Append('\n');
        }

        to.Append('\n').Append("Lost: ").Append(Lost.Count == 0 ? (Outcome == IncidentOutcome.Recovered ? "nothing" : "not known, for the guest was left to itself") : string.Join("; ", Lost.Select(l => Safe.Text(l).TrimEnd('.')))).Append(".\n");
        foreach (string error in Errors)
            to.Append("Error inside Panacea: ").Append(Sentence(error)).Append('\n');
        return to.ToString();
    }

    private static RungVerdict VerdictOf(LadderStep step) => step.Verdict ?? (step.Applied ? RungVerdict.Taken : RungVerdict.Declined);

    private static string Said(ExplainedRung rung)
    {
        string name = GuardPolicy.Name(rung.Repair), why = Sentence(rung.Why);
        string risks = rung.Risks.Count == 0 ? "" : $" It risks: {string.Join("; ", rung.Risks.Select(r => Safe.Text(r).TrimEnd('.')))}.";
        return rung.Verdict switch
        {
            "taken" => $"{name} was taken: {why}{risks}",
            "not-applied" => $"{name} was chosen and could not be carried through: {why}{risks}",
            "not-allowed" => $"{name} was {why}",
            "failed-before" => $"{name} had {why}",
            "failed-rehearsal" => $"{name} was tried and not used: {why}{risks}",
            NotAsked => $"{name} was not asked: {why}",
            _ => $"{name} does not apply: {why}",
        };
    }

    private string Held()
    {
        string mode = $"mode {GuardPolicy.Name(Mode)}";
        if (Policy is not { } p)
            return $"{mode}; the record is of a version that did not keep more";
        string limit = p.RepairLimit == 0 ? "repairs without limit" : string.Create(
            CultureInfo.InvariantCulture, $"at most {p.RepairLimit} repairs within {Durations.Format(TimeSpan.FromMilliseconds(p.RepairLimitWindowMs))}, of which there had been {p.RepairsBefore}");
        return $"{mode}; rungs {PolicyText.Rungs(p.Rungs)}; {limit}; by {(p.Source is { } source ? Safe.Text(source) : "the command line, without a policy file")}";
    }

    private static string Sentence(string text) => text.Length == 0 ? "nothing was said." : $"{Safe.Text(text).TrimEnd('.')}.";
}

/// <summary>JSON shape of <c>panacea policy explain --json</c>.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true)]
[JsonSerializable(typeof(LadderExplanation))]
public sealed partial class LadderExplanationJson : JsonSerializerContext;
