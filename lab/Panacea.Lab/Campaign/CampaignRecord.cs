using System.Text.Json.Serialization;
using Panacea.Diagnosis;
using Panacea.Injection;

namespace Panacea.Lab.Campaign;

/// <summary>What protects the guest of a run. Every fault is tried in each arm, on the same machine at the same moment.</summary>
[JsonConverter(typeof(KebabEnumConverter<CampaignArm>))]
public enum CampaignArm
{
    /// <summary>Nobody; the kernel panics on an oops, as server fleets have it.</summary>
    StockPanic,

    /// <summary>Nobody; the kernel kills the task that oopses and goes on (panic_on_oops=0).</summary>
    StockOops,

    /// <summary>Panacea, which may take the offending process out and nothing else: what was shown on AIX.</summary>
    Quarantine,

    /// <summary>Panacea with its whole ladder.</summary>
    Ladder,

    /// <summary>The whole ladder, tried on copies first.</summary>
    Rehearsal,
}

/// <summary>What a fault did.</summary>
[JsonConverter(typeof(KebabEnumConverter<TrialOutcome>))]
public enum TrialOutcome
{
    /// <summary>Nobody came by the changed code while it was watched.</summary>
    NotActivated,

    /// <summary>Nothing that could be seen: everything works, and nothing was lost.</summary>
    NoEffect,

    /// <summary>The kernel oopsed or panicked, or the machine reset itself.</summary>
    Crash,

    /// <summary>A CPU, or a task in the kernel, does not get on any more.</summary>
    Hang,

    /// <summary>Something does not work any more, and nothing crashed or hangs: a network that is silent, a file that can't be written.</summary>
    Failure,

    /// <summary>Nothing crashed, and what the workload had been promised does not hold.</summary>
    SilentCorruption,
}

/// <summary>A crash or a hang as the guard of a run tells it.</summary>
/// <param name="Title">In one line.</param>
/// <param name="Repair">The rung that was used: error-return, unwind, …; none.</param>
/// <param name="Outcome">recovered, declined, failed.</param>
/// <param name="StoppedUs">Microseconds for which the guest stood still; null where it never went on.</param>
/// <param name="Lost">What was lost.</param>
public sealed record TrialIncident(string? Title, string? Repair, string? Outcome, long? StoppedUs, IReadOnlyList<string> Lost);

/// <summary>One run: a fault in one arm. A line of JSON; what earlier ones had no member for is empty.</summary>
public sealed record CampaignRecord
{
    /// <summary>The kernel's release.</summary>
    public required string Kernel { get; init; }

    /// <summary>What the guest was doing.</summary>
    public required string Workload { get; init; }

    /// <summary>The seed of the campaign; null in results of before it was kept. Faults of campaigns with different seeds are different ones.</summary>
    public ulong? CampaignSeed { get; init; }

    /// <summary>The fault's number in its campaign, from 0; the same in all arms.</summary>
    public required int Trial { get; init; }

    /// <summary>The fault; null where there was no place for one of its kind.</summary>
    public Fault? Fault { get; init; }

    /// <summary>Where it was to be: <c>hot</c>, the name of a module, null for data and registers.</summary>
    public string? At { get; init; }

    /// <summary>The fault is in code of a driver.</summary>
    public bool IsDriver { get; init; }

    /// <summary>The arm; null where no arm was run, because the fault would not have been activated.</summary>
    public CampaignArm? Arm { get; init; }

    /// <summary>A fault of code that stayed for ever; else it was taken out at its first crash.</summary>
    public bool IsPersistent { get; init; }

    /// <summary>What it did in this arm.</summary>
    public required TrialOutcome Outcome { get; init; }

    /// <summary>The guest lived at the end: it passed the test of the living guest, and the workload lost nothing. For an outcome of crash or hang: it was recovered.</summary>
    public bool Lives { get; init; }

    /// <summary>What the guard told; empty in arms that have none.</summary>
    public IReadOnlyList<TrialIncident> Incidents { get; init => field = value ?? []; } = [];

    /// <summary>What did not work at the end; empty where the guest lives.</summary>
    public IReadOnlyList<string> Failures { get; init => field = value ?? []; } = [];

    /// <summary>What the workload had been promised, and was not so: acknowledged writes that are lost, damaged records.</summary>
    public IReadOnlyList<string> Lost { get; init => field = value ?? []; } = [];

    /// <summary>Processes that are not the workload's and are gone: that keeps no guest from living. Empty in results of before it was looked at.</summary>
    public IReadOnlyList<string> Bystanders { get; init => field = value ?? []; } = [];

    /// <summary>The first lines of the kernel's own words about it, at most some.</summary>
    public IReadOnlyList<string> Console { get; init => field = value ?? []; } = [];

    /// <summary>It was shut down at the end, and its disk checked.</summary>
    public bool WasShutDown { get; init; }

    /// <summary>Directory with what is to be known of it, relative to that of the campaign; null where nothing was kept.</summary>
    public string? Evidence { get; init; }

    /// <summary>Milliseconds that the run took.</summary>
    public long RunMs { get; init; }

    /// <summary>SHA-256 of the executable that guarded, hex; null in arms without one.</summary>
    public string? Panacea { get; init; }
}
