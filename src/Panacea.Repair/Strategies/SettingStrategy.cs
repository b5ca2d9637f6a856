using Panacea.Diagnosis;
using Panacea.Kernel.Unwind;

namespace Panacea.Repair.Strategies;

/// <summary>
/// The kernel has found something, has said so, and would have gone on; but a setting (panic_on_warn, panic_on_rcu_stall, unknown_nmi_panic, …) makes a panic of it. The function that asks for
/// the setting returns, and the kernel goes on as it does without it. Nothing is lost.
/// </summary>
public sealed class SettingStrategy : IRepairStrategy
{
    /// <summary>Frames of panic() itself and of what leads to it.</summary>
    private const int MaxFrames = 4;

    /// <summary>Functions that return nothing and call panic() for a setting alone: kernel/panic.c, kernel/rcu/tree_stall.h, arch/x86/kernel/nmi.c.</summary>
    private static readonly Dictionary<string, string> Settings = new(StringComparer.Ordinal)
    {
        ["check_panic_on_warn"] = "panic_on_warn",
        ["panic_on_rcu_stall"] = "panic_on_rcu_stall",
        ["unknown_nmi_error"] = "unknown_nmi_panic or panic_on_unrecovered_nmi",
        ["io_check_error"] = "panic_on_io_nmi",
        ["pci_serr_error"] = "panic_on_unrecovered_nmi",
    };

    /// <inheritdoc/>
    public RepairKind Kind => RepairKind.GoOn;

    /// <inheritdoc/>
    public StrategyVerdict Evaluate(CrashEvidence evidence)
    {
        if (evidence.Point.Symbol == "oops_end")
            return StrategyVerdict.Declines("it is no panic that a setting asked for");
        IReadOnlyList<StackFrame> frames = evidence.Stack.Frames;
        for (int i = 0; i < frames.Count && i < MaxFrames && frames[i].Reliability == FrameReliability.Exact; i++)
        {
            string function = evidence.LocationOf(frames[i])?.Name ?? "";
            int dot = function.IndexOf('.', StringComparison.Ordinal);
            if (!Settings.TryGetValue(dot > 0 ? function[..dot] : function, out string? setting))
                continue;
            StrategyVerdict verdict = ReturnCandidate.Plan(evidence, i, new ReturnResult(function, null, "", null), Kind, acceptsDoubt: true);
            return verdict.Plan is not { } plan ? verdict : StrategyVerdict.Applies(plan with
            {
                Explanation = $"{function} returns, as it does where {setting} is not set; nothing is lost",
                Lost = [],
                Risks = ["what the kernel has warned of is as it was"],
            });
        }

        return StrategyVerdict.Declines("it is no panic that a setting asked for");
    }
}
