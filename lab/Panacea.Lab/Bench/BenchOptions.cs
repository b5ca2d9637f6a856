using Panacea.Lab.Bench.Scale;
using Panacea.Lab.Setup;
using Panacea.Lab.Tour;
using Panacea.Lab.Workloads;

namespace Panacea.Lab.Bench;

/// <summary>What to measure.</summary>
public sealed record BenchOptions
{
    /// <summary>The executable.</summary>
    public required PanaceaProgram Panacea { get; init; }

    /// <summary>The kernel lines.</summary>
    public IReadOnlyList<string> Lines { get; init; } = KernelPackages.Lines;

    /// <summary>Crashes per kernel.</summary>
    public int Crashes { get; init; } = 30;

    /// <summary>RAM of the guests of <c>bench rehearsal</c>, MiB.</summary>
    public IReadOnlyList<int> MemoryMiB { get; init; } = [512, 16384];

    /// <summary>How large the guests of <c>bench scale</c> are.</summary>
    public ScaleSizes Sizes { get; init; } = new();

    /// <summary>Reboots per kernel to compare with.</summary>
    public int Reboots { get; init; } = 3;

    /// <summary>What the guests of <c>bench service</c> and <c>bench overhead</c> do; null for all that there is.</summary>
    public IReadOnlyList<MeasuredService>? Services { get; init; }

    /// <summary>How often each program reads each dump; how often each crash is made for each service, or a guard comes and goes.</summary>
    public int Rounds { get; init; } = 5;

    /// <summary>How long work is measured at a time by <c>bench overhead</c>.</summary>
    public TimeSpan Window { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Starts of <c>panacea --version</c>.</summary>
    public int ColdStarts { get; init; } = 20;

    /// <summary>How long the idle guard is watched.</summary>
    public TimeSpan Idle { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How long a repaired guest is watched before the next crash.</summary>
    public TimeSpan HealthWindow { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Install what is missing without asking.</summary>
    public bool AssumeYes { get; init; }

    /// <summary>Shows what is missing and asks whether to install it; null where nobody can be asked.</summary>
    public Func<IReadOnlyList<Prerequisite>, bool>? Ask { get; init; }

    /// <summary>The kinds of crashes, in the order in which they are made, over and over. Nine: the first and the tenth crash are of the same kind.</summary>
    internal static IReadOnlyList<string> Kinds { get; } =
        ["null-write", "null-call", "wild-read", "null-read", "divide-by-zero", "bug", "void-null-write", "pointer-null-read", "panic"];

    /// <summary>The option that repeats the choice of services; empty where it is all of them.</summary>
    /// <param name="all">All that there is to choose from.</param>
    internal string NamedServices(IReadOnlyList<MeasuredService> all) => Services is { } some && !some.SequenceEqual(all) ? $" --workloads {string.Join(',', some.Select(s => s.Name))}" : "";
}
