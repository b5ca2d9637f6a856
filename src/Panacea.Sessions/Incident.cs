using System.Text.Json.Serialization;
using Panacea.Diagnosis;
using Panacea.Diagnosis.Machine;
using Panacea.Diagnosis.KnownIssues;
using Panacea.Diagnosis.Validators;
using Panacea.Repair;
using Panacea.Sessions.Control;
using Panacea.Sessions.Policy;
using Panacea.Sessions.Rehearsal;

namespace Panacea.Sessions;

/// <summary>One moment of an incident.</summary>
/// <param name="Step">What happened: detected, evidence-read, diagnosed, planned, applied, resumed, machine-read, health-verified …</param>
/// <param name="AtUs">Microseconds since the guest was seen to be stopped.</param>
public sealed record TimelineEntry(string Step, long AtUs);

/// <summary>What one rung of the ladder said.</summary>
/// <param name="Repair">The rung.</param>
/// <param name="Applied">It was chosen.</param>
/// <param name="Explanation">What it did, or why it did not apply.</param>
/// <param name="Risks">What may go wrong after it.</param>
/// <param name="Verdict">What came of it; null in records of earlier versions.</param>
/// <param name="Tried">What else the rung looked at before, and why each was nothing; null in records of earlier versions.</param>
/// <param name="TookUs">Microseconds for which it was thought about, while the guest stood still; null in records of earlier versions.</param>
public sealed record LadderStep(RepairKind Repair, bool Applied, string Explanation, IReadOnlyList<string> Risks, RungVerdict? Verdict = null, IReadOnlyList<string>? Tried = null, long? TookUs = null);

/// <summary>One change that was made to the guest.</summary>
/// <param name="Where">Guest-virtual address or register.</param>
/// <param name="Before">What was there, hex.</param>
/// <param name="After">What was written, hex.</param>
/// <param name="Why">What it is.</param>
public sealed record JournalLine(string Where, string Before, string After, string Why);

/// <summary>What was measured from outside after the guest went on.</summary>
/// <param name="Verified">Every check passed in time.</param>
/// <param name="Evidence">What was seen: counters before and after.</param>
public sealed record HealthResult(bool Verified, IReadOnlyList<string> Evidence)
{
    /// <summary>What was helped and stands as it stood, in a sentence; one of the evidence. Null where it has got on, or where something else is wrong.</summary>
    [JsonIgnore]
    public string? Standing { get; init; }
}

/// <summary>The record of one incident, as stored in <c>incident.json</c>; documented in docs/incident.md.</summary>
public sealed record Incident
{
    /// <summary>Version of this shape.</summary>
    public int Schema { get; init; } = 1;

    /// <summary>Unique id: UTC time and a short random part, sorts by time.</summary>
    public required string Id { get; init; }

    /// <summary>The VM, as the user named it.</summary>
    public required string Vm { get; init; }

    /// <summary>When the guest was seen to be stopped, UTC.</summary>
    public required DateTimeOffset At { get; init; }

    /// <summary>Mode of the guard.</summary>
    public required GuardMode Mode { get; init; }

    /// <summary>What else held for the VM; null in records of earlier versions.</summary>
    public PolicyInForce? Policy { get; init; }

    /// <summary>Symbol of the death point.</summary>
    public required string DeathPoint { get; init; }

    /// <summary>Repair that was applied.</summary>
    public required RepairKind Repair { get; init; }

    /// <summary>What came of it.</summary>
    public required IncidentOutcome Outcome { get; init; }

    /// <summary>Why, in a sentence.</summary>
    public required string OutcomeReason { get; init; }

    /// <summary>Microseconds the guest stood still.</summary>
    public required long StoppedUs { get; init; }

    /// <summary>Where <see cref="StoppedUs"/> comes from: <c>qemu</c> (its STOP and RESUME event timestamps) or <c>panacea</c> (its own clock).</summary>
    public required string StoppedSource { get; init; }

    /// <summary>What the guest lost.</summary>
    public required IReadOnlyList<string> Lost { get; init; }

    /// <summary>The ladder, rung by rung.</summary>
    public required IReadOnlyList<LadderStep> Ladder { get; init; }

    /// <summary>What was written into the guest.</summary>
    public required IReadOnlyList<JournalLine> Journal { get; init; }

    /// <summary>Moments, in order.</summary>
    public required IReadOnlyList<TimelineEntry> Timeline { get; init; }

    /// <summary>Health after resuming; null where nothing was applied.</summary>
    public HealthResult? Health { get; init; }

    /// <summary>What a check-up of the kernel's structures found after the repair, while the guest lived on; null where nothing was applied, or another check-up was under way. It does not bear on
    /// <see cref="Outcome"/>.</summary>
    public StructureReport? CheckUp { get; init; }

    /// <summary>The diagnosis; null where it failed (see <see cref="OutcomeReason"/>).</summary>
    public CrashReport? Report { get; init; }

    /// <summary>The state of the machine, read while it ran again; null where that failed.</summary>
    public MachineState? Machine { get; init; }

    /// <summary>Known issues that the crash looks like, the surest first; empty where the guard has no rules or none matched.</summary>
    public IReadOnlyList<KnownIssue> KnownIssues { get; init; } = [];

    /// <summary>What was done with the guest instead of a repair; null where nothing was asked for, or a repair was applied.</summary>
    public FallbackResult? Fallback { get; init; }

    /// <summary>What came of trying repairs on copies of the machine first; null where none was tried.</summary>
    public RehearsalRecord? Rehearsal { get; init; }

    /// <summary>The fuse that was set with the repair; null where none was.</summary>
    public FuseLine? Fuse { get; init; }

    /// <summary>The last lines of the guest's kernel log as of the crash.</summary>
    public IReadOnlyList<ConsoleLine> Console { get; init; } = [];

    /// <summary>Errors inside Panacea while it handled this, in order; empty where none.</summary>
    public IReadOnlyList<string> Errors { get; init; } = [];
}

/// <summary>JSON shape of <c>incident.json</c>.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true)]
[JsonSerializable(typeof(Incident))]
public sealed partial class IncidentJson : JsonSerializerContext;
