using Panacea.Repair;
using Panacea.Sessions.Rehearsal;

namespace Panacea.Sessions.Policy;

/// <summary>What held for a VM when it crashed, beside the mode, as an incident's record keeps it.</summary>
/// <param name="Source">The policy file, and the line of the VM's entry where it has one: <c>/etc/panacea/policy.yaml:12</c>; null where there was no file.</param>
/// <param name="Rungs">The repairs that the policy allows, in the ladder's order; the mode may allow fewer.</param>
/// <param name="HealthWindowMs">Milliseconds for which health is watched.</param>
/// <param name="StopBudgetMs">Milliseconds for which an answer of QEMU is waited for while the guest stands.</param>
/// <param name="RepairLimit">Repairs within <paramref name="RepairLimitWindowMs"/> after which the guest is left alone; 0 for no limit.</param>
/// <param name="RepairLimitWindowMs">Milliseconds that the limit is for.</param>
/// <param name="RepairsBefore">Repairs within those milliseconds before this crash.</param>
/// <param name="CheckUp">Structures are checked after a repair.</param>
/// <param name="Quarantine">What is done with a process that has to be taken out.</param>
/// <param name="Fallback">What is done with a guest that can't be repaired.</param>
/// <param name="DumpDirectory">Where a dump is written before; null for none.</param>
/// <param name="DetectHangs">Hangs are looked for.</param>
/// <param name="HangsAfterMs">Milliseconds after which a standing vCPU or task counts as hanging.</param>
/// <param name="FuseAfter">Crashes that the same function's return has repaired with which its fuse is set; 0 for never, and in records of earlier versions.</param>
/// <param name="FuseClearOnDetach">The guard's fuses are taken away when it lets go of the guest.</param>
/// <param name="HangsFallback">A hang that no repair is for is dealt with by the fallback; false in records of earlier versions.</param>
/// <param name="Rehearse">Repairs are tried on copies of the machine first; never in records of earlier versions.</param>
public sealed record PolicyInForce(
    string? Source, IReadOnlyList<RepairKind> Rungs, long HealthWindowMs, long StopBudgetMs, int RepairLimit, long RepairLimitWindowMs, int RepairsBefore, bool CheckUp, QuarantineKind Quarantine,
    FallbackAction Fallback, string? DumpDirectory, bool DetectHangs, long HangsAfterMs, int FuseAfter = 0, bool FuseClearOnDetach = false, bool HangsFallback = false,
    RehearsalMode Rehearse = RehearsalMode.Never)
{
    /// <summary>Of a guard's options.</summary>
    /// <param name="options">The options.</param>
    /// <param name="repairsBefore">Repairs that count for the limit.</param>
    public static PolicyInForce Of(GuardOptions options, int repairsBefore) => new(
        options.PolicySource, options.Rungs ?? GuardPolicy.Rungs, Ms(options.HealthWindow), Ms(options.StopBudget), options.RepairLimit, Ms(options.RepairLimitWindow), repairsBefore, options.CheckUp,
        options.Quarantine, options.Fallback.Then, options.Fallback.DumpDirectory, options.Hangs.Detect, Ms(options.Hangs.After),
        options.Fuse.After, options.Fuse.ClearOnDetach, options.Hangs.Fallback, options.Rehearsal.Mode);

    private static long Ms(TimeSpan time) => (long)time.TotalMilliseconds;
}
