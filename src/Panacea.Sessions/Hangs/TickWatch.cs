using Panacea.Kernel;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Sessions.Hangs;

/// <summary>A CPU that has lost its timer tick.</summary>
/// <param name="Cpu">The kernel's number of the CPU.</param>
/// <param name="Timer">Its timer.</param>
/// <param name="Told">What was seen.</param>
internal sealed record LostTick(int Cpu, TickTimer Timer, IReadOnlyList<string> Told);

/// <summary>
/// Sees from outside that a CPU has lost its timer tick: nothing is going to tick. Its timers do not expire any more, nobody takes it away from who runs on it, and RCU waits for it. Where the tick is set up, its timer is
/// queued but for the moment in which its function runs, which is an interrupt; a CPU that is idle for long or isolated says that it does without, before it takes it out. Or the timer is queued, and its interrupt does not
/// come, because the clock event device was not told, or told something else: it stays the same timer, although the CPU gets on.
/// </summary>
/// <remarks>Looks count only where some vCPU has run since the last that did: memory of a guest whose QEMU is suspended shows that one moment for as long as it takes. Where all CPUs wait for timers that do not come, none
/// runs: then it has to be seen from the host that QEMU may.</remarks>
/// <param name="cpus">Number of CPUs.</param>
/// <param name="elapsed">How long ago a moment of the session's clock was.</param>
/// <param name="now">The session's clock.</param>
/// <param name="vcpuTimes">The processor time that each vCPU has had; null where it can't be told.</param>
/// <param name="isSuspended">The host does not let QEMU run, or that can't be told.</param>
internal sealed class TickWatch(int cpus, Func<long, TimeSpan> elapsed, Func<long> now, Func<IReadOnlyList<TimeSpan>?> vcpuTimes, Func<bool> isSuspended)
{
    private static readonly TimeSpan Step = TimeSpan.FromMilliseconds(200);

    /// <summary>Looks that count, those at a CPU that does not do without; and so many of them have to have found the timer out of its queue. The function of the timer takes a hundredth of the time or so.</summary>
    private const int Looks = 16, Least = 12;

    private readonly Track[] _tracks = [.. Enumerable.Range(0, cpus).Select(_ => new Track())];
    private readonly GuestWork _work = new(cpus);
    private TimeSpan _ran;
    private long _lookedAt;

    private sealed class Track
    {
        /// <summary>It has been seen in its queue: the CPU ticks by it.</summary>
        public bool IsUsed { get; set; }

        public Queue<bool> Seen { get; } = new(Looks + 1);

        /// <summary>When it expires, for as long as that does not change; at how many looks the CPU has got on all the same, and its context switches as of the last of them.</summary>
        public (ulong Expires, int Looks, ulong Switches) Late { get; set; }

        public bool IsLateTold { get; set; }

        public bool IsTold { get; set; }
    }

    /// <summary>Looks, where it is time to.</summary>
    /// <param name="kernel">The kernel over the guest, which runs.</param>
    /// <returns>A CPU that has lost its tick and was not told of before; null in the usual case.</returns>
    public LostTick? Look(LinuxKernel kernel)
    {
        if (elapsed(_lookedAt) < Step)
            return null;
        _lookedAt = now();
        try
        {
            if (PanicState.IsEnding(kernel))
            {
                Array.ForEach(_tracks, Forget);
                return null;
            }

            bool hasRun = HasRun(kernel);
            if (!hasRun && isSuspended())
                return null;
            LostTick? found = null;
            for (int cpu = 0; cpu < cpus; cpu++)
                found ??= Follow(_tracks[cpu], kernel, cpu, hasRun);
            return found;
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException or OverflowException)
        {
            return null;
        }
    }

    /// <summary>It was told of, and nothing could be done: not again until it has ticked.</summary>
    public void Tell(LostTick lost)
    {
        _tracks[lost.Cpu].IsTold |= !lost.Timer.IsQueued;
        _tracks[lost.Cpu].IsLateTold |= lost.Timer.IsQueued;
    }

    /// <summary>It was seen to, or went by itself: what was seen of that CPU was of another time. Another one that has lost its tick, too, is not to wait for as long again.</summary>
    public void Forget(LostTick lost) => Forget(_tracks[lost.Cpu]);

    private static void Forget(Track track)
    {
        track.Seen.Clear();
        track.Late = default;
    }

    /// <summary>Nothing is going to tick.</summary>
    public static bool IsStill(LostTick lost, LinuxKernel kernel) => TickTimer.Read(kernel, lost.Cpu).HasNotTickedSince(lost.Timer);

    /// <summary>One that runs without ticks, and switches to nobody, shows in the host's account alone.</summary>
    private bool HasRun(LinuxKernel kernel)
    {
        _work.Look(kernel);
        TimeSpan ran = vcpuTimes()?.Aggregate(TimeSpan.Zero, (sum, time) => sum + time) ?? _ran;
        bool hasRun = _work.Any || ran != _ran;
        _ran = ran;
        return hasRun;
    }

    private static LostTick? Follow(Track track, LinuxKernel kernel, int cpu, bool hasRun)
    {
        TickTimer timer = TickTimer.Read(kernel, cpu);
        if (timer.Function == 0 || timer.IsStopped || (PerCpu.PreemptCount(kernel, cpu) & PerCpu.InterruptMask) != 0)
            return null;
        if (IsLate(track, timer, CpuProgress.Read(kernel, cpu)))
            return new LostTick(cpu, timer, [$"cpu{cpu}: its tick's timer has been in its queue unchanged, to expire at {timer.Expires} ns, for {Looks} looks at which the CPU had got on or had nothing to do"]);
        if (!hasRun)
            return null;
        track.IsUsed |= timer.IsQueued;
        track.Seen.Enqueue(!timer.IsQueued);
        if (track.Seen.Count <= Looks)
            return null;
        track.Seen.Dequeue();
        int missing = track.Seen.Count(m => m);
        track.IsTold &= missing >= Least;

        // What it is now, too, for a moment's sake.
        return missing >= Least && !timer.IsQueued && track is { IsUsed: true, IsTold: false }
            ? new LostTick(cpu, timer, [$"cpu{cpu}: at {missing} of {Looks} looks its tick's timer was in no queue, and it had not said that it does without"]) : null;
    }

    /// <summary>It is still queued for when it was, and that is not for want of a CPU that takes interrupts: it has switched to others since, or waits for nothing but one.</summary>
    private static bool IsLate(Track track, TickTimer timer, CpuProgress progress)
    {
        if (!timer.IsQueued || timer.Expires != track.Late.Expires)
        {
            track.Late = (timer.IsQueued ? timer.Expires : 0, 0, progress.Switches);
            track.IsLateTold = false;
            return false;
        }

        if (progress.IsIdle || progress.Switches != track.Late.Switches)
            track.Late = track.Late with { Looks = track.Late.Looks + 1, Switches = progress.Switches };
        return track.Late.Looks >= Looks && !track.IsLateTold;
    }
}
