using System.Text.Json.Serialization;
using Panacea.Diagnosis;
using Panacea.Repair;
using Panacea.Sessions.Rehearsal;

namespace Panacea.Sessions.Policy;

/// <summary>What is done with a process that has to be taken out.</summary>
[JsonConverter(typeof(KebabEnumConverter<QuarantineKind>))]
public enum QuarantineKind
{
    /// <summary>It is killed.</summary>
    Kill,

    /// <summary>It sleeps for ever; its stack and memory stay for inspection.</summary>
    Freeze,
}

/// <summary>Whether and when a guest counts as hanging.</summary>
public sealed record HangPolicy
{
    /// <summary>Hangs are looked for.</summary>
    public bool Detect { get; init; } = true;

    /// <summary>How long a vCPU or a task must stand before it counts.</summary>
    public TimeSpan After { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>A CPU that hangs, that no repair is for, and that hangs still ten times <see cref="After"/> later, is dealt with as a death is: by the fallback.</summary>
    public bool Fallback { get; init; }
}

/// <summary>When a function that crashes again and again is made to return at once.</summary>
public sealed record FusePolicy
{
    /// <summary>Crashes that the same function's return has repaired within <see cref="GuardOptions.RepairLimitWindow"/>, the one at hand included, with which its fuse is set; 0 for never.</summary>
    public int After { get; init; } = 10;

    /// <summary>Fuses that the guard has set are taken away when it lets go of the guest.</summary>
    public bool ClearOnDetach { get; init; }
}

/// <summary>What one place says of how a VM is to be guarded: an entry of a policy file, its defaults, or a command line. Null is what it does not say.</summary>
public sealed record PolicySettings
{
    /// <summary>Nothing is said.</summary>
    public static PolicySettings None { get; } = new();

    /// <summary><see cref="GuardOptions.Mode"/>.</summary>
    public Setting<GuardMode>? Mode { get; init; }

    /// <summary><see cref="GuardOptions.Rungs"/>, in the ladder's order.</summary>
    public Setting<IReadOnlyList<RepairKind>>? Rungs { get; init; }

    /// <summary><see cref="GuardOptions.HealthWindow"/>.</summary>
    public Setting<TimeSpan>? HealthWindow { get; init; }

    /// <summary><see cref="GuardOptions.StopBudget"/>.</summary>
    public Setting<TimeSpan>? StopBudget { get; init; }

    /// <summary><see cref="GuardOptions.RepairLimit"/>.</summary>
    public Setting<int>? RepairLimit { get; init; }

    /// <summary><see cref="GuardOptions.RepairLimitWindow"/>.</summary>
    public Setting<TimeSpan>? RepairLimitWindow { get; init; }

    /// <summary><see cref="GuardOptions.CheckUp"/>.</summary>
    public Setting<bool>? CheckUp { get; init; }

    /// <summary><see cref="GuardOptions.Quarantine"/>.</summary>
    public Setting<QuarantineKind>? Quarantine { get; init; }

    /// <summary><see cref="FallbackPolicy.Then"/>.</summary>
    public Setting<FallbackAction>? FallbackThen { get; init; }

    /// <summary><see cref="FallbackPolicy.DumpDirectory"/>; the setting <c>none</c> is a null in it.</summary>
    public Setting<string?>? FallbackDump { get; init; }

    /// <summary><see cref="HangPolicy.Detect"/>.</summary>
    public Setting<bool>? DetectHangs { get; init; }

    /// <summary><see cref="HangPolicy.After"/>.</summary>
    public Setting<TimeSpan>? HangsAfter { get; init; }

    /// <summary><see cref="HangPolicy.Fallback"/>.</summary>
    public Setting<bool>? HangsFallback { get; init; }

    /// <summary><see cref="FusePolicy.After"/>.</summary>
    public Setting<int>? FuseAfter { get; init; }

    /// <summary><see cref="FusePolicy.ClearOnDetach"/>.</summary>
    public Setting<bool>? FuseClearOnDetach { get; init; }

    /// <summary><see cref="RehearsalPolicy.Mode"/>.</summary>
    public Setting<RehearsalMode>? Rehearse { get; init; }

    /// <summary><see cref="RehearsalPolicy.Below"/>.</summary>
    public Setting<Confidence>? RehearseBelow { get; init; }

    /// <summary><see cref="RehearsalPolicy.Plans"/>.</summary>
    public Setting<int>? RehearsePlans { get; init; }

    /// <summary><see cref="RehearsalPolicy.Budget"/>.</summary>
    public Setting<TimeSpan>? RehearseBudget { get; init; }

    /// <summary>What of two places holds: every value is looked up on its own.</summary>
    /// <param name="other">Holds where this says nothing.</param>
    public PolicySettings Over(PolicySettings other) => new()
    {
        Mode = Mode ?? other.Mode, Rungs = Rungs ?? other.Rungs, HealthWindow = HealthWindow ?? other.HealthWindow, StopBudget = StopBudget ?? other.StopBudget,
        RepairLimit = RepairLimit ?? other.RepairLimit, RepairLimitWindow = RepairLimitWindow ?? other.RepairLimitWindow, CheckUp = CheckUp ?? other.CheckUp, Quarantine = Quarantine ?? other.Quarantine,
        FallbackThen = FallbackThen ?? other.FallbackThen, FallbackDump = FallbackDump ?? other.FallbackDump, DetectHangs = DetectHangs ?? other.DetectHangs, HangsAfter = HangsAfter ?? other.HangsAfter,
        HangsFallback = HangsFallback ?? other.HangsFallback,
        FuseAfter = FuseAfter ?? other.FuseAfter, FuseClearOnDetach = FuseClearOnDetach ?? other.FuseClearOnDetach,
        Rehearse = Rehearse ?? other.Rehearse, RehearseBelow = RehearseBelow ?? other.RehearseBelow, RehearsePlans = RehearsePlans ?? other.RehearsePlans, RehearseBudget = RehearseBudget ?? other.RehearseBudget,
    };

    /// <summary>Options with what is said here.</summary>
    /// <param name="basis">Holds where nothing is said.</param>
    public GuardOptions ApplyTo(GuardOptions basis) => basis with
    {
        Mode = Mode?.Value ?? basis.Mode,
        Rungs = Rungs?.Value ?? basis.Rungs,
        HealthWindow = HealthWindow?.Value ?? basis.HealthWindow,
        StopBudget = StopBudget?.Value ?? basis.StopBudget,
        RepairLimit = RepairLimit?.Value ?? basis.RepairLimit,
        RepairLimitWindow = RepairLimitWindow?.Value ?? basis.RepairLimitWindow,
        CheckUp = CheckUp?.Value ?? basis.CheckUp,
        Quarantine = Quarantine?.Value ?? basis.Quarantine,
        Fallback = new FallbackPolicy { Then = FallbackThen?.Value ?? basis.Fallback.Then, DumpDirectory = FallbackDump is { } dump ? dump.Value : basis.Fallback.DumpDirectory },
        Fuse = new FusePolicy { After = FuseAfter?.Value ?? basis.Fuse.After, ClearOnDetach = FuseClearOnDetach?.Value ?? basis.Fuse.ClearOnDetach },
        Rehearsal = new RehearsalPolicy
        {
            Mode = Rehearse?.Value ?? basis.Rehearsal.Mode, Below = RehearseBelow?.Value ?? basis.Rehearsal.Below, Plans = RehearsePlans?.Value ?? basis.Rehearsal.Plans,
            Budget = RehearseBudget?.Value ?? basis.Rehearsal.Budget,
        },
        Hangs = new HangPolicy { Detect = DetectHangs?.Value ?? basis.Hangs.Detect, After = HangsAfter?.Value ?? basis.Hangs.After, Fallback = HangsFallback?.Value ?? basis.Hangs.Fallback },
    };
}

/// <summary>A value and where it was said.</summary>
/// <param name="Value">The value.</param>
/// <param name="Place">In words: <c>line 12</c>, <c>defaults, line 3</c>, <c>the command line</c>.</param>
public sealed record Setting<T>(T Value, string Place);
