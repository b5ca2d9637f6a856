using System.Globalization;
using Panacea.Repair;

namespace Panacea.Sessions.Policy;

/// <summary>One value that holds for a VM, for a person.</summary>
/// <param name="Name">Its name in a policy file: <c>repair-limit.count</c>.</param>
/// <param name="Value">As a policy file would have it.</param>
/// <param name="Place">Where it was said; <c>built in</c> where nobody did.</param>
public sealed record PolicyLine(string Name, string Value, string Place);

/// <summary>Policies in words.</summary>
public static class PolicyText
{
    private const string BuiltIn = "built in";

    /// <summary>Everything that holds where some settings are laid over a guard's usual options, in the order of docs/policy.md.</summary>
    public static IReadOnlyList<PolicyLine> Lines(PolicySettings settings, GuardOptions basis)
    {
        GuardOptions o = settings.ApplyTo(basis);
        return
        [
            new("mode", GuardPolicy.Name(o.Mode), settings.Mode?.Place ?? BuiltIn),
            new("rungs", Rungs(o.Rungs), settings.Rungs?.Place ?? BuiltIn),
            new("health-window", Durations.Format(o.HealthWindow), settings.HealthWindow?.Place ?? BuiltIn),
            new("stop-budget", Durations.Format(o.StopBudget), settings.StopBudget?.Place ?? BuiltIn),
            new("repair-limit.count", o.RepairLimit.ToString(CultureInfo.InvariantCulture), settings.RepairLimit?.Place ?? BuiltIn),
            new("repair-limit.window", Durations.Format(o.RepairLimitWindow), settings.RepairLimitWindow?.Place ?? BuiltIn),
            new("check-up", o.CheckUp ? "true" : "false", settings.CheckUp?.Place ?? BuiltIn),
            new("quarantine", GuardPolicy.Name(o.Quarantine), settings.Quarantine?.Place ?? BuiltIn),
            new("fallback.then", GuardPolicy.Name(o.Fallback.Then), settings.FallbackThen?.Place ?? BuiltIn),
            new("fallback.dump", o.Fallback.DumpDirectory ?? "none", settings.FallbackDump?.Place ?? BuiltIn),
            new("hangs.detect", o.Hangs.Detect ? "true" : "false", settings.DetectHangs?.Place ?? BuiltIn),
            new("hangs.after", Durations.Format(o.Hangs.After), settings.HangsAfter?.Place ?? BuiltIn),
            new("hangs.use-fallback", o.Hangs.Fallback ? "true" : "false", settings.HangsFallback?.Place ?? BuiltIn),
            new("fuse.crashes", o.Fuse.After.ToString(CultureInfo.InvariantCulture), settings.FuseAfter?.Place ?? BuiltIn),
            new("fuse.clear-on-detach", o.Fuse.ClearOnDetach ? "true" : "false", settings.FuseClearOnDetach?.Place ?? BuiltIn),
            new("rehearse.when", GuardPolicy.Name(o.Rehearsal.Mode), settings.Rehearse?.Place ?? BuiltIn),
            new("rehearse.below", GuardPolicy.Name(o.Rehearsal.Below), settings.RehearseBelow?.Place ?? BuiltIn),
            new("rehearse.plans", o.Rehearsal.Plans.ToString(CultureInfo.InvariantCulture), settings.RehearsePlans?.Place ?? BuiltIn),
            new("rehearse.budget", Durations.Format(o.Rehearsal.Budget), settings.RehearseBudget?.Place ?? BuiltIn),
        ];
    }

    /// <summary>Rungs with commas; all of them for null.</summary>
    public static string Rungs(IReadOnlyList<RepairKind>? rungs) => string.Join(", ", (rungs ?? GuardPolicy.Rungs).Select(GuardPolicy.Name));
}
