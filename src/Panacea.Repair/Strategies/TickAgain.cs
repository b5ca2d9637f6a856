using Panacea.Diagnosis;
using Panacea.Kernel;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>A CPU that has lost its timer tick has the timer started again, by itself: timers belong to the CPU that starts them. One whose timer is queued, and whose interrupt does not come, is told that it has come: it runs
/// what has expired, and sets its clock event device to what is next (kernel/time/hrtimer.c, hrtimer_interrupt()).</summary>
internal static class TickAgain
{
    private const string Start = "hrtimer_start_range_ns", Interrupt = "hrtimer_interrupt";

    /// <summary>HRTIMER_MODE_ABS, _PINNED and _HARD (include/linux/hrtimer.h): as the tick is started by the kernel (kernel/time/tick-sched.c).</summary>
    private const ulong Mode = 0x2 | 0x8;

    /// <summary>A plan for the CPU, which stands at the beginning of a function.</summary>
    public static StrategyVerdict Evaluate(CrashEvidence evidence, TickTimer timer)
    {
        if (timer.IsQueued)
            return TakeInterrupt(evidence);
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

    /// <summary>The CPU stands where it enters an interrupt: the device's function is called as from there.</summary>
    private static StrategyVerdict TakeInterrupt(CrashEvidence evidence)
    {
        try
        {
            LinuxKernel kernel = evidence.Kernel;
            if (evidence.Cpu is not { } cpu)
                return StrategyVerdict.Declines("which CPU it is can't be told");
            ulong device = kernel.Read(PerCpu.Address(kernel, "tick_cpu_device", cpu), "tick_device.evtdev");
            if (!kernel.Image.TryFindSymbol(Interrupt, out ulong address) || device == 0 || kernel.Read(device, "clock_event_device.event_handler") != address)
                return StrategyVerdict.Declines($"the clock event device of CPU {cpu} is not served by {Interrupt}()");
            return StrategyVerdict.Applies(InterruptedCpu.Calls(evidence, Interrupt, address, [[device]]) with
            {
                Kind = RepairKind.Heal,
                Explanation = $"CPU {cpu}, whose timer has expired without an interrupt, takes the interrupt now ({Interrupt}); nothing is lost",
                Lost = [],
                Risks = [],
            });
        }
        catch (Exception e) when (e is KernelShapeException or GuestMemoryException or OverflowException)
        {
            return StrategyVerdict.Declines($"the clock event device can't be read: {e.Message}");
        }
    }
}
