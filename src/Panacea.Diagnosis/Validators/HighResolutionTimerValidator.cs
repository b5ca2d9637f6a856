using Panacea.Kernel;
using Panacea.Kernel.Structures;
using Panacea.Kernel.Subsystems;

namespace Panacea.Diagnosis.Validators;

/// <summary>Trees of high-resolution timers (kernel/time/hrtimer.c).</summary>
public sealed class HighResolutionTimerValidator : IValidator
{
    /// <summary>HRTIMER_STATE_ENQUEUED.</summary>
    private const ulong Enqueued = 1;

    private const int MaxClocks = 32;

    /// <inheritdoc/>
    public string Name => "hrtimers";

    /// <inheritdoc/>
    public string Description => "trees of high-resolution timers: parents, order, the leftmost, each timer's base and state, functions";

    /// <inheritdoc/>
    public ValidatorResult Check(CheckContext context)
    {
        LinuxKernel kernel = context.Kernel;
        var notes = new CheckNotes(context, "hrtimers");
        ulong size = (ulong)kernel.Image.Types.SizeOf("hrtimer_clock_base");
        foreach (HighResolutionTimers cpu in Timers.HighResolution(kernel, context.Limits))
        {
            if (cpu.Timers.Broken is { } broken)
                notes.Structure($"the timers of CPU {cpu.Cpu} do not hold together", broken);
            ulong at = PerCpu.Address(kernel, "hrtimer_bases", cpu.Cpu), bases = unchecked(at + kernel.Offset("hrtimer_cpu_base.clock_base"));
            int clocks = Shapes.Elements(kernel, "hrtimer_cpu_base.clock_base", (int)size, MaxClocks);
            for (int clock = 0; clock < clocks; clock++)
            {
                List<HighResolutionTimer> timers = [.. cpu.Timers.Items.Where(t => t.Clock == clock)];
                ulong own = unchecked(bases + ((ulong)clock * size));
                string where = $"clock {clock} of CPU {cpu.Cpu}";
                notes.Count("trees");
                notes.Guard(where, () => timers.ForEach(timer => Timer(context, notes, timer, own, where)));
                for (int i = 1; i < timers.Count; i++)
                {
                    if (timers[i].ExpiresNs < timers[i - 1].ExpiresNs)
                        notes.Found("order", Confidence.High, $"the timer at 0x{timers[i].Address:x} of {where} lies behind one that expires later, 0x{timers[i - 1].Address:x}");
                }

                if (cpu.Timers.IsWhole)
                    notes.Guard(where, () => Leftmost(kernel, notes, own, timers.Count == 0 ? 0 : unchecked(timers[0].Address + kernel.Offset("hrtimer.node.node")), where));
            }
        }

        return notes.Done();
    }

    private static void Timer(CheckContext context, CheckNotes notes, HighResolutionTimer timer, ulong own, string where)
    {
        LinuxKernel kernel = context.Kernel;
        notes.Count("timers");
        string who = $"the timer at 0x{timer.Address:x} of {where}";
        if (kernel.HasMember("hrtimer.base") && kernel.Read(timer.Address, "hrtimer.base") is var back && back != own)
            notes.Found("back-pointer", Confidence.High, $"{who} says that it belongs to 0x{back:x}, not to 0x{own:x}");
        if (kernel.HasMember("hrtimer.state") && kernel.Read(timer.Address, "hrtimer.state") is var state && (state & Enqueued) == 0)
            notes.Found("state", Confidence.High, $"{who} is in the tree and says state {state}");
        if (!context.Text.Contains(timer.Function))
            notes.Found("function", Confidence.High, $"{who} calls 0x{timer.Function:x}, which is no code");
        if (timer.SoftExpiresNs > timer.ExpiresNs)
            notes.Found("range", Confidence.Medium, $"{who} may expire only after it must");
    }

    private static void Leftmost(LinuxKernel kernel, CheckNotes notes, ulong clock, ulong first, string where)
    {
        ulong root = unchecked(clock + kernel.Offset("hrtimer_clock_base.active") + kernel.Offset("timerqueue_head.rb_root"));
        if (RedBlackTrees.CachedLeftmost(kernel, root) is var kept && kept != first)
            notes.Found("leftmost", Confidence.High, $"the first timer of {where} is 0x{first:x}, and 0x{kept:x} is taken for it");
    }
}
