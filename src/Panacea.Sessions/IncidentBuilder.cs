using System.Diagnostics;
using Panacea.Diagnosis;
using Panacea.Diagnosis.KnownIssues;
using Panacea.Diagnosis.Machine;
using Panacea.Diagnosis.Validators;
using Panacea.Kernel.Unwind;
using Panacea.Repair;
using Panacea.Repair.Journal;
using Panacea.Sessions.Control;
using Panacea.Sessions.Policy;
using Panacea.Target;

namespace Panacea.Sessions;

/// <summary>An incident between the stop window and its closing: the guest runs, the report is written, health is being watched.</summary>
internal sealed class PendingIncident
{
    public required string Id { get; init; }

    public required DateTimeOffset At { get; init; }

    public required StopResult Stop { get; init; }

    public required long StoppedUs { get; init; }

    public required string StoppedSource { get; init; }

    public CrashReport? Report { get; init; }

    public IReadOnlyList<ConsoleLine> Console { get; init; } = [];

    public required IReadOnlyList<string> Errors { get; init; }

    /// <summary>Null where nothing was applied.</summary>
    public HealthWatch? Watch { get; init; }

    /// <summary>What came of it is clear already: nothing was repaired, or QEMU is lost. Null while health is being watched.</summary>
    public (IncidentOutcome Outcome, string Why)? Settled { get; init; }

    /// <summary>A check-up of the guest as it lives on; null where there is none.</summary>
    public RunningCheckUp? CheckUp { get; init; }

    /// <summary>What the watch and the check-up read through; must outlive them.</summary>
    public ArmedKernel? Kernel { get; init; }

    /// <summary>Reads the machine around the crash; null where there is no crash to read about.</summary>
    public Aftermath? Aftermath { get; init; }

    /// <summary>When the watch began, by the session's clock.</summary>
    public long WatchStartedTicks { get; init; }

    /// <summary>Repairs that counted for the limit when this crash came.</summary>
    public int RepairsBefore { get; init; }

    /// <summary>For how long an operator has paused the guest since.</summary>
    public TimeSpan Paused { get; set; }

    public RepairKind Repair => Stop.Applied?.Kind ?? RepairKind.None;

    /// <summary>The task that was repaired died elsewhere before it got back to user space: what it was sent on with did not do.</summary>
    /// <remarks>The registers with which user space entered the kernel tell one entry from another: equal ones are the same entry, or one that repeats it to the letter.</remarks>
    public bool Undid(CrashEvidence evidence) => (IsSameEntry(evidence) && !IsSamePlace(evidence)) || (Stop.Evidence?.Hang?.Stall is { } helped && evidence.Hang?.Stall?.IsStill(helped) == true);

    /// <summary>The same task runs into the same place again; of interrupts, which belong to no task, any one that does.</summary>
    public bool IsRepeatedBy(CrashEvidence evidence) =>
        (IsSameTask(evidence) || (Stop.Evidence is { IsTasksOwn: false } && !evidence.IsTasksOwn)) && IsSamePlace(evidence);

    private bool IsSameTask(CrashEvidence evidence) =>
        Stop.Evidence is { IsTasksOwn: true } && evidence.IsTasksOwn && Stop.Evidence.Task is { } task && evidence.Task is { } again && task.Address == again.Address && task.Pid == again.Pid;

    private bool IsSamePlace(CrashEvidence evidence) => Stop.Evidence?.Faulty?.Ip == evidence.Faulty?.Ip && Stop.Evidence?.Kind == evidence.Kind
        && Stop.Evidence?.Hang?.Stall?.Queue.Address == evidence.Hang?.Stall?.Queue.Address && Stop.Evidence?.Hang?.Timer?.Address == evidence.Hang?.Timer?.Address;

    private bool IsSameEntry(CrashEvidence evidence)
    {
        if (!IsSameTask(evidence))
            return false;
        if (Stop.Evidence?.Stack.UserRegs is not { } before || evidence.Stack.UserRegs is not { } now)
            return true;
        Span<byte> first = stackalloc byte[PtRegs.Size], second = stackalloc byte[PtRegs.Size];
        before.Write(first);
        now.Write(second);
        return first.SequenceEqual(second);
    }
}

/// <summary>Makes incident records.</summary>
/// <param name="vm">The VM.</param>
/// <param name="options">How the VM is guarded; has the rules that the incident is held against when everything about it is known.</param>
internal sealed class IncidentBuilder(string vm, GuardOptions options)
{
    /// <summary>UTC time and a random part: sorts by time, unique across guards.</summary>
    public static string NewId(DateTimeOffset at) => $"{at:yyyyMMdd-HHmmss}-{Random.Shared.Next(0x10000):x4}";

    public Incident Close(PendingIncident pending, IncidentOutcome outcome, string reason, HealthResult? health)
    {
        StopResult stop = pending.Stop;
        var timeline = new List<TimelineEntry>(stop.Timeline);
        var errors = new List<string>(pending.Errors);
        CrashReport? report = pending.Report;
        MachineReading? machine = null;
        if (pending.Aftermath is { } aftermath)
        {
            machine = aftermath.Take(out long doneTicks, out string? error);
            if (machine is not null)
                timeline.Add(new TimelineEntry("machine-read", (long)Stopwatch.GetElapsedTime(stop.StartedTicks, doneTicks).TotalMicroseconds));
            if (error is not null)
                errors.Add(error);
        }

        if (machine is not null && report is not null)
        {
            report = report with
            {
                Values = machine.Values,
                Surroundings = machine.Surroundings,
                Findings = [.. report.Findings, .. machine.Findings],
                Unavailable = [.. report.Unavailable, .. machine.Missing],
            };
        }

        StructureReport? checkUp = pending.CheckUp?.Finish();
        IReadOnlyList<KnownIssue> known = Known(report, pending, checkUp, errors);
        if (health is { Verified: true })
            timeline.Add(new TimelineEntry("health-verified", (long)Stopwatch.GetElapsedTime(stop.StartedTicks).TotalMicroseconds));
        return new Incident
        {
            Id = pending.Id, Vm = vm, At = pending.At, Mode = options.Mode, Policy = PolicyInForce.Of(options, pending.RepairsBefore), DeathPoint = stop.Point.Symbol, Repair = pending.Repair, Outcome = outcome, OutcomeReason = reason,
            StoppedUs = pending.StoppedUs, StoppedSource = pending.StoppedSource, Lost = stop.Applied?.Lost ?? [],
            Ladder = [.. stop.Ladder.Select(v => Step(v, stop.Applied))],
            Journal = [.. stop.Journal.Select(Line)], Timeline = timeline, Health = health, CheckUp = checkUp, Report = report, Machine = machine?.State, KnownIssues = known,
            Fallback = stop.Fallback, Rehearsal = stop.Rehearsal, Fuse = stop.Fuse is { } fuse ? FuseLine.Of(fuse) : null,
            Console = pending.Console, Errors = errors,
        };
    }

    public static IncidentEvent EventOf(Incident incident, string? record) => new(
        incident.Vm, incident.Id, incident.Report?.Title ?? $"crash at {incident.DeathPoint} that could not be diagnosed", incident.Report?.Bucket ?? "",
        incident.Report?.Context ?? CrashContext.Unknown, incident.Repair, incident.Outcome, incident.StoppedUs, incident.Lost, record);

    private IReadOnlyList<KnownIssue> Known(CrashReport? report, PendingIncident pending, StructureReport? checkUp, List<string> errors)
    {
        if (report is null)
            return [];
        try
        {
            return options.KnownIssues.Find(report, pending.Kernel?.Image.Meta.Banner, checkUp?.Findings ?? []);
        }
        catch (Exception e)
        {
            // A record without them is better than none.
            errors.Add($"known issues: {e.GetType().Name}: {e.Message}");
            return [];
        }
    }

    private static LadderStep Step(LadderVerdict v, RepairPlan? applied)
    {
        bool taken = v.Verdict.Plan is { } plan && ReferenceEquals(plan, applied);
        RungVerdict verdict = v.Bar?.Verdict ?? (taken ? RungVerdict.Taken : v.Verdict.Plan is null ? RungVerdict.Declined : RungVerdict.NotApplied);
        string said = v.Verdict.Plan?.Explanation ?? v.Verdict.WhyNot ?? "";
        return new LadderStep(v.Kind, taken, v.Bar is { Verdict: RungVerdict.FailedRehearsal } bar ? $"{said}; {bar.Why}" : said, v.Verdict.Plan?.Risks ?? [], verdict, v.Verdict.Tried, (long)v.Took.TotalMicroseconds);
    }

    private static JournalLine Line(JournalEntry entry) =>
        new(entry.Where, Convert.ToHexStringLower(entry.Before.Span), Convert.ToHexStringLower(entry.After.Span), entry.Why);
}
