using System.Text.Json.Serialization;
using Panacea.Diagnosis;
using Panacea.Repair;

namespace Panacea.Sessions.Rehearsal;

/// <summary>What came of a plan on a copy of the machine.</summary>
[JsonConverter(typeof(KebabEnumConverter<TrialVerdict>))]
public enum TrialVerdict
{
    /// <summary>The copy lived.</summary>
    Lives,

    /// <summary>It died again.</summary>
    Dies,

    /// <summary>It did not get on: a CPU without ticks, a lock that nobody gives back.</summary>
    Stands,

    /// <summary>It could not be told: the copy did not come up, or not in time.</summary>
    Unknown,
}

/// <summary>One plan on one copy.</summary>
/// <param name="Repair">The rung.</param>
/// <param name="Explanation">What the plan does.</param>
/// <param name="Verdict">What came of it.</param>
/// <param name="Seen">What was seen, in sentences.</param>
/// <param name="TookUs">Microseconds that it took, the copy's start included.</param>
public sealed record RehearsedPlan(RepairKind Repair, string Explanation, TrialVerdict Verdict, IReadOnlyList<string> Seen, long TookUs);

/// <summary>The rehearsal of an incident, as its record keeps it.</summary>
/// <param name="Why">Why there was one.</param>
/// <param name="Plans">The plans that were tried, in order.</param>
/// <param name="TookUs">Microseconds that all of it took of the guest's standstill.</param>
/// <param name="WhyNot">Why nothing could be rehearsed; null where something was.</param>
public sealed record RehearsalRecord(string Why, IReadOnlyList<RehearsedPlan> Plans, long TookUs, string? WhyNot);
