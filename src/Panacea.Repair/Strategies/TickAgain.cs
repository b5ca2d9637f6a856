using Panacea.Diagnosis;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>A CPU that has lost its timer tick has the timer started again, by itself: timers belong to the CPU that starts them.</summary>
internal static class TickAgain
{
    private const string Start = "hrtimer_start_range_ns";

    /// <summary>HRTIMER_MODE_ABS, _PINNED and _HARD (include/linux/hrtimer.h): as the tick is started by the kernel (kernel/time/tick-sched.c).</summary>
    private const ulong Mode = 0x2 | 0x8;

    /// <summary>A plan for the CPU, which stands at the beginning of a function.</summary>
    public static StrategyVerdict Evaluate(CrashEvidence evidence, TickTimer timer)
    {
        if (!evidence.Kernel.Image.TryFindSymbol(Start, out ulong address))
            return StrategyVerdict.Declines($"this kernel has no {Start}()");

        // One that has expired does so at once, and sets itself to the next tick.
        return StrategyVerdict.Applies(InterruptedCpu.Calls(evidence, Start, address, [[timer.Address, timer.Expires, 0, Mode]]) with
        {
            Kind = RepairKind.Heal,
            Explanation = $"the timer of CPU {evidence.Cpu}'s tick, which was in no queue, is started again ({Start}); nothing is lost",
            Lost = [],
            Risks = [],
        });
    }
}
