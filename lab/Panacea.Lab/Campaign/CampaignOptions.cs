using Panacea.Injection;
using Panacea.Lab.Setup;
using Panacea.Lab.Tour;

namespace Panacea.Lab.Campaign;

/// <summary>What a campaign tries.</summary>
public sealed record CampaignOptions
{
    /// <summary>Kernel lines.</summary>
    public required IReadOnlyList<string> Lines { get; init; }

    /// <summary>Workloads.</summary>
    public required IReadOnlyList<CampaignWorkload> Workloads { get; init; }

    /// <summary>Faults for each kernel and workload.</summary>
    public required int Trials { get; init; }

    /// <summary>Its seed: the same one gives the same faults in the same kernels at the same work, as far as what is hot is the same.</summary>
    public required ulong Seed { get; init; }

    /// <summary>Runs of an earlier campaign: their faults are tried again, and none are chosen. Null to choose.</summary>
    public IReadOnlyList<CampaignRecord>? Again { get; init; }

    /// <summary>Numbers of the faults that are tried in a kernel line at a work.</summary>
    /// <param name="line">The line.</param>
    /// <param name="workload">The work.</param>
    public IReadOnlyList<int> TrialsOf(string line, CampaignWorkload workload) =>
        Again is null ? [.. Enumerable.Range(0, Trials)] : [.. Again.Where(r => r.Workload == workload.Name && KernelPackages.IsOf(r.Kernel, line)).Select(r => r.Trial).Distinct().Order()];

    /// <summary>Kinds of faults, which take turns.</summary>
    public IReadOnlyList<FaultType> Types { get; init; } = FaultChoice.Usual;

    /// <summary>Where faults of code are: null to choose by seed.</summary>
    public string? At { get; init; }

    /// <summary>A fault of code stays for ever; else it is taken out when the first crash or hang of it is seen: a mistake that shows once.</summary>
    public bool IsPersistent { get; init; }

    /// <summary>Arms.</summary>
    public IReadOnlyList<CampaignArm> Arms { get; init; } = [CampaignArm.StockPanic, CampaignArm.StockOops, CampaignArm.Quarantine, CampaignArm.Ladder, CampaignArm.Rehearsal];

    /// <summary>Of these: arms that are run only for faults that did something in one of the others. In an arm that differs only in what is done after a crash, a fault that did nothing elsewhere tells nothing.</summary>
    public IReadOnlyList<CampaignArm> WhereManifested { get; init; } = [];

    /// <summary>The executable that guards; null where no arm needs one.</summary>
    public PanaceaProgram? Panacea { get; init; }

    /// <summary>Directory of its results.</summary>
    public required string Directory { get; init; }
}
