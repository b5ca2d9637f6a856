namespace Panacea.Lab.Campaign;

/// <summary>What is said of a campaign: by a file, or by a command line, which wins over it member by member. Null is what nobody says.</summary>
public sealed record CampaignSettings
{
    /// <summary>Faults for each kernel and workload where nothing is said, and the most that may be.</summary>
    public const int UsualTrials = 100, MaxTrials = 100_000;

    /// <summary>The seed where nothing is said.</summary>
    public const ulong UsualSeed = 1;

    /// <summary>Nothing is said.</summary>
    public static CampaignSettings None { get; } = new();

    /// <summary>Full path of the directory of its results.</summary>
    public string? Output { get; init; }

    /// <summary>Kernel lines, of <see cref="Setup.KernelPackages.Lines"/>.</summary>
    public IReadOnlyList<string>? Kernels { get; init; }

    /// <summary>Names of workloads.</summary>
    public IReadOnlyList<string>? Workloads { get; init; }

    /// <summary>Faults for each kernel and workload.</summary>
    public int? Trials { get; init; }

    /// <summary>What is chosen.</summary>
    public ulong? Seed { get; init; }

    /// <summary>Names of kinds of faults.</summary>
    public IReadOnlyList<string>? Faults { get; init; }

    /// <summary>Where faults of code are.</summary>
    public string? At { get; init; }

    /// <summary>Names of arms.</summary>
    public IReadOnlyList<string>? Arms { get; init; }

    /// <summary>Names of arms that are run only for faults that did something in one of the others.</summary>
    public IReadOnlyList<string>? WhereManifested { get; init; }

    /// <summary>Faults of code stay for ever.</summary>
    public bool? IsPersistent { get; init; }

    /// <summary>These, and where they say nothing, others.</summary>
    public CampaignSettings Over(CampaignSettings others) => new()
    {
        Output = Output ?? others.Output,
        Kernels = Kernels ?? others.Kernels,
        Workloads = Workloads ?? others.Workloads,
        Trials = Trials ?? others.Trials,
        Seed = Seed ?? others.Seed,
        Faults = Faults ?? others.Faults,
        At = At ?? others.At,
        Arms = Arms ?? others.Arms,
        WhereManifested = WhereManifested ?? others.WhereManifested,
        IsPersistent = IsPersistent ?? others.IsPersistent,
    };
}
