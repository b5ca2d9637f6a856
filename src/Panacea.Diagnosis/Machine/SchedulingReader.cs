using Panacea.Diagnosis.Rendering;
using Panacea.Kernel;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Diagnosis.Machine;

/// <summary>Run queues, RCU, workqueues and timers for a report.</summary>
internal sealed class SchedulingReader(LinuxKernel kernel, TaskLabels labels, TargetLimits limits)
{
    /// <summary>Tasks that a report shows of one run queue.</summary>
    public const int MaxQueued = 32;

    /// <summary>Waiting work that a report shows of one pool.</summary>
    public const int MaxWork = 16;

    /// <summary>Late timers that a report shows.</summary>
    public const int MaxLate = 20;

    /// <summary>A timer is late after this many milliseconds: the tick comes every 1 to 10, the wheel's coarser levels are one eighth off (kernel/time/timer.c), and a virtual CPU may not
    /// have run for a while.</summary>
    public const long LateMs = 1000;

    /// <summary>Buckets of a level, and by how many bits each level's buckets are wider than those below it (kernel/time/timer.c: LVL_BITS, LVL_CLK_SHIFT).</summary>
    private const int LevelBits = 6, LevelShift = 3;

    private const long NsPerMs = 1_000_000;

    public SchedulingFacts Read(Sections sections)
    {
        KernelClock? clock = sections.Read("the kernel's clock", () => KernelClock.Read(kernel));
        List<RunQueue> queues = sections.Read("run queues", () => RunQueues.ReadAll(kernel, limits)) ?? [];
        ulong furthest = queues.Count == 0 ? 0 : queues.Max(q => q.ClockNs);
        return new SchedulingFacts(
            [.. (clock?.LoadAverage ?? []).Select(l => Math.Round(l, 2))], [.. queues.Select(q => Queue(q, furthest))],
            sections.Read("RCU", () => Rcu(RcuState.Read(kernel, limits), clock)));
    }

    private RunQueueReport Queue(RunQueue queue, ulong furthest) => new(
        queue.Cpu, queue.Running, queue.IsIdle, furthest - queue.ClockNs is var behind && behind < long.MaxValue ? (long)behind / NsPerMs : null,
        [.. queue.Tasks.Items.Where(t => !t.IsDelayed).OrderByDescending(t => t.IsCurrent).Take(MaxQueued).Select(t => new QueuedTaskReport(labels.Of(t.Task), MarkdownReport.Kebab(t.Class), t.IsCurrent))],
        queue.Tasks.Broken);

    private RcuReport Rcu(RcuState rcu, KernelClock? clock) => new(
        rcu.IsInProgress, rcu.IsStalled, rcu.AgeJiffies is { } age ? Ms(clock, age) : null, rcu.WaitsForCpus, [.. rcu.BlockedReaders.Items.Take(MaxQueued).Select(labels.Of)],
        rcu.Cpus.Aggregate(0L, (sum, c) => unchecked(sum + c.Callbacks)));

    public WorkqueueFacts Workqueues(KernelClock? clock)
    {
        List<WorkerPool> pools = Kernel.Subsystems.Workqueues.Pools(kernel, limits);
        return new WorkqueueFacts(
            pools.Count,
            [.. pools.Where(p => p.Pending.Items.Count > 0 || p.Workers.Items.Any(w => w.Current is not null)).Select(p => Pool(p, clock))],
            [.. pools.SelectMany(p => new[] { p.Pending.Broken, p.Workers.Broken }.OfType<string>().Select(b => $"pool {p.Id}: {b}"))]);
    }

    private WorkerPoolReport Pool(WorkerPool pool, KernelClock? clock) => new(
        pool.Id, pool.Cpu < 0 ? null : pool.Cpu, pool.WorkerCount, pool.IdleCount,
        pool.Pending.Items.Count > 0 && pool.LastProgressJiffies is { } last && clock is { } now && unchecked((long)(now.Jiffies - last)) >= 0 ? Ms(clock, unchecked(now.Jiffies - last)) : null,
        [.. pool.Workers.Items.Where(w => w.Current is not null).Select(w => new WorkReport(kernel.Image.Place(w.Current!.Function), w.Current.Queue, w.Task == 0 ? null : labels.Of(w.Task)))],
        [.. pool.Pending.Items.Take(MaxWork).Select(w => new WorkReport(kernel.Image.Place(w.Function), w.Queue, null))], pool.Pending.Items.Count);

    public TimerFacts Timers(KernelClock? clock)
    {
        List<TimerWheel> wheels = Kernel.Subsystems.Timers.Wheels(kernel, limits);
        List<HighResolutionTimers> precise = Kernel.Subsystems.Timers.HighResolution(kernel, limits);
        var late = new List<LateTimer>();
        foreach (TimerWheel wheel in wheels.Where(w => w.Name != "deferrable"))
        {
            foreach (KernelTimer timer in wheel.Timers.Items)
            {
                if (clock is { } now && unchecked((long)(now.Jiffies - Due(wheel, timer))) is > 0 and var by && Ms(now, (ulong)by) is { } ms && ms > LateMs)
                    late.Add(new LateTimer(timer.Cpu, "timer", kernel.Image.Place(timer.Function), For(timer.Task, timer.Work?.ToShortString()), ms));
            }
        }

        foreach (HighResolutionTimer timer in precise.SelectMany(p => p.Timers.Items))
        {
            long? now = unchecked((long?)((timer.Clock & 3) switch { 0 => clock?.MonotonicNs, 1 => clock?.RealtimeNs, 2 => clock?.BoottimeNs, _ => null }));
            if (now is { } at && timer.ExpiresNs > 0 && at > timer.ExpiresNs && (at - timer.ExpiresNs) / NsPerMs is var ms && ms > LateMs)
                late.Add(new LateTimer(timer.Cpu, "hrtimer", kernel.Image.Place(timer.Function), For(timer.Task, null), ms));
        }

        return new TimerFacts(
            wheels.Sum(w => w.Timers.Items.Count), precise.Sum(p => p.Timers.Items.Count), [.. late.OrderByDescending(l => l.LateMs).Take(MaxLate)],
            [.. wheels.Select(w => w.Timers.Broken is { } broken ? $"{w.Name} wheel of CPU {w.Cpu}: {broken}" : null)
                .Concat(precise.Select(p => p.Timers.Broken is { } broken ? $"high-resolution timers of CPU {p.Cpu}: {broken}" : null)).OfType<string>()]);
    }

    /// <summary>When the timer's bucket is due, in jiffies: timers far away share buckets that are up to an eighth of their time wide, and expire late by design. The wheel's clock never passes
    /// a bucket that it has not run, so the bucket's next turn is counted from there.</summary>
    private static ulong Due(TimerWheel wheel, KernelTimer timer)
    {
        int shift = (timer.Bucket >> LevelBits) * LevelShift;
        if (shift > 48)
            return timer.Expires;
        ulong from = unchecked(wheel.Clock + (1UL << shift) - 1) >> shift, mask = (1UL << LevelBits) - 1;
        return unchecked((from + (((ulong)timer.Bucket - from) & mask)) << shift);
    }

    private string? For(ulong task, string? work) => work ?? (task != 0 && labels.Of(task) is { Pid: { } pid, Comm: var comm } ? $"{comm} ({pid})" : null);

    private static long? Ms(KernelClock? clock, ulong jiffies) => clock?.ToNs(jiffies) is { } ns && ns / NsPerMs is var ms && ms <= long.MaxValue ? (long)ms : null;
}
