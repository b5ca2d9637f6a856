namespace Panacea.Sessions.Policy;

/// <summary>Between which bounds a guard's values may lie, on a command line and in a policy file alike.</summary>
public static class PolicyLimits
{
    /// <summary>Bounds of <see cref="GuardOptions.HealthWindow"/>.</summary>
    public static (TimeSpan Least, TimeSpan Most) HealthWindow { get; } = (TimeSpan.FromMilliseconds(100), TimeSpan.FromMinutes(10));

    /// <summary>Bounds of <see cref="GuardOptions.StopBudget"/>.</summary>
    public static (TimeSpan Least, TimeSpan Most) StopBudget { get; } = (TimeSpan.FromMilliseconds(50), TimeSpan.FromMinutes(1));

    /// <summary>Bounds of <see cref="GuardOptions.RepairLimitWindow"/>.</summary>
    public static (TimeSpan Least, TimeSpan Most) RepairLimitWindow { get; } = (TimeSpan.FromSeconds(1), TimeSpan.FromDays(1));

    /// <summary>Bounds of <see cref="HangPolicy.After"/>: below half a second, a host that is busy looks like a guest that hangs.</summary>
    public static (TimeSpan Least, TimeSpan Most) HangsAfter { get; } = (TimeSpan.FromMilliseconds(500), TimeSpan.FromMinutes(10));

    /// <summary>Bounds of <see cref="Rehearsal.RehearsalPolicy.Budget"/>.</summary>
    public static (TimeSpan Least, TimeSpan Most) RehearsalBudget { get; } = (TimeSpan.FromMilliseconds(200), TimeSpan.FromMinutes(1));

    /// <summary>The most that <see cref="Rehearsal.RehearsalPolicy.Plans"/> may be.</summary>
    public const int MaxRehearsedPlans = 7;

    /// <summary>The most that <see cref="GuardOptions.RepairLimit"/> may be.</summary>
    public const int MaxRepairLimit = 1_000_000;

    /// <summary>The most that <see cref="FusePolicy.After"/> may be.</summary>
    public const int MaxFuseAfter = 10_000;
}
