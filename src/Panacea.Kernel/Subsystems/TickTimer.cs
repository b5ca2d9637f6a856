using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>The timer that a CPU takes its tick from in high-resolution mode: tick_cpu_sched.sched_timer (kernel/time/tick-sched.c).</summary>
/// <param name="Address">Guest-virtual address of the hrtimer.</param>
/// <param name="Function">Guest-virtual address of its function; 0 before high-resolution mode.</param>
/// <param name="IsQueued">It is going to expire; false also while its function runs.</param>
/// <param name="IsStopped">The CPU does without a tick: it is idle, or isolated (nohz_full).</param>
/// <param name="Expires">When it expires or has expired, nanoseconds of the monotonic clock.</param>
public readonly record struct TickTimer(ulong Address, ulong Function, bool IsQueued, bool IsStopped, ulong Expires)
{
    /// <summary>HRTIMER_STATE_ENQUEUED (include/linux/hrtimer.h), TS_FLAG_STOPPED (kernel/time/tick-sched.h).</summary>
    private const ulong Queued = 1, Stopped = 2;

    /// <summary>It is as it was when the CPU had lost its tick: in no queue, or queued for the same time. Always of a CPU that does not do without.</summary>
    public bool HasNotTickedSince(TickTimer lost) => !IsStopped && IsQueued == lost.IsQueued && (!IsQueued || Expires == lost.Expires);

    /// <summary>Reads one CPU's.</summary>
    /// <exception cref="KernelShapeException">The kernel has no such timer.</exception>
    /// <exception cref="GuestMemoryException">It can't be read.</exception>
    public static TickTimer Read(LinuxKernel kernel, int cpu)
    {
        ulong tick = PerCpu.Address(kernel, "tick_cpu_sched", cpu);

        // A bit of flags since 6.9 (commit 3ce74f1a8566, "tick: Use IS_ENABLED() whenever possible" and those around it), a bit-field before.
        bool stopped = kernel.ReadIfPresent(tick, "tick_sched.tick_stopped") is { } bit ? bit != 0 : (kernel.Read(tick, "tick_sched.flags") & Stopped) != 0;
        return new TickTimer(
            unchecked(tick + kernel.Offset("tick_sched.sched_timer")), kernel.Read(tick, "tick_sched.sched_timer.function"), (kernel.Read(tick, "tick_sched.sched_timer.state") & Queued) != 0, stopped,
            kernel.Read(tick, "tick_sched.sched_timer.node.expires"));
    }
}
