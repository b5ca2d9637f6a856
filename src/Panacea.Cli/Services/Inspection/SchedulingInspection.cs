using Panacea.Diagnosis.Rendering;
using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using KernelTimers = Panacea.Kernel.Subsystems.Timers;

namespace Panacea.Cli.Services.Inspection;

/// <summary>Run queues, locks, workqueues and timers of a kernel.</summary>
internal sealed class SchedulingInspection(KernelLook look) : ISchedulingInspection
{
    /// <summary>Bases of hrtimer_cpu_base in the order of enum hrtimer_base_type (include/linux/hrtimer.h).</summary>
    private static readonly string[] Clocks = ["monotonic", "realtime", "boottime", "tai", "monotonic-soft", "realtime-soft", "boottime-soft", "tai-soft"];

    public IReadOnlyList<RunQueueRow> RunQueues() => look.Settled(kernel => (IReadOnlyList<RunQueueRow>)[.. Kernel.Subsystems.RunQueues.ReadAll(kernel, KernelLook.Limits).Select(q => new RunQueueRow(
        q.Cpu, q.Address, q.Running, unchecked((long)q.Switches), q.IoWait, unchecked((long)q.ClockNs), look.NameOf(kernel, q.Current), q.IsIdle,
        [.. q.Tasks.Items.Select(t => new QueuedRow(
            look.NameOf(kernel, t.Task), Kebab(t.Class), KernelLook.Try<int?>(() => kernel.ReadS32(t.Task, "task_struct.prio"), null), unchecked((long)t.Key), t.Depth, t.IsCurrent, t.IsDelayed))],
        q.Tasks.Broken))]);

    public LocksAnswer Locks() => look.Held((kernel, vcpus) =>
    {
        IReadOnlyList<LinuxTask> tasks = look.TasksOf(kernel);
        var backtraces = new TaskBacktraces(kernel, KernelLook.Limits);
        WaitGraph graph = WaitGraph.Build(kernel, tasks, backtraces, KernelLook.Limits, interruptible: true);

        // A wait queue that a task sleeps on in peace is no lock.
        return new LocksAnswer(
            [.. graph.Chains.Where(c => c.Links.Any(l => l.Wait.Kind is not (LockKind.WaitQueue or LockKind.Unknown)) || c.End == ChainEnd.Deadlock)
                .Select(c => new ChainRow(MarkdownReport.Kebab(c.End), [.. c.Links.Select(l => Wait(kernel, l))]))],
            [.. new SpinningCpus(kernel, KernelLook.Limits, backtraces.Code).Find(vcpus).Select(s => new SpinRow(
                s.Cpu, look.NameOf(kernel, s.Task), s.Lock, s.Symbol?.ToShortString(), s.Caller?.ToString(), s.PossibleHolders))],
            [.. graph.Unexplained.Select(u => new UnexplainedRow(look.NameOf(kernel, u.Task), u.Why))]);
    });

    public WorkqueuesAnswer Workqueues() => look.Settled(kernel => new WorkqueuesAnswer(
        [.. Kernel.Subsystems.Workqueues.Enumerate(kernel, KernelLook.Limits).Select(q => new WorkqueueRow(
            q.Address, q.Name, q.Flags, q.IsUnbound, q.Pools.Items.Sum(p => Math.Clamp(p.Active, 0, 1 << 20)),
            [.. q.Pools.Items.SelectMany(p => p.Inactive.Items).Select(w => look.Image.Place(w.Function))],
            q.Pools.Broken ?? q.Pools.Items.Select(p => p.Inactive.Broken).FirstOrDefault(b => b is not null)))],
        [.. Kernel.Subsystems.Workqueues.Pools(kernel, KernelLook.Limits).Select(p => new PoolRow(
            p.Address, p.Id, p.Cpu < 0 ? null : p.Cpu, p.Nice, p.WorkerCount, p.IdleCount,
            [.. p.Pending.Items.Select(w => new WorkRow(w.Address, look.Image.Place(w.Function), w.Queue, null))],
            [.. p.Workers.Items.Where(w => w.Current is not null).Select(w => new WorkRow(
                w.Current!.Address, look.Image.Place(w.Current.Function), w.Current.Queue, w.Task == 0 ? null : look.NameOf(kernel, w.Task)))],
            p.Pending.Broken ?? p.Workers.Broken))]));

    public TimersAnswer Timers() => look.Settled(kernel =>
    {
        KernelClock clock = KernelClock.Read(kernel);
        List<TimerWheel> wheels = KernelTimers.Wheels(kernel, KernelLook.Limits);
        List<HighResolutionTimers> precise = KernelTimers.HighResolution(kernel, KernelLook.Limits);

        // timer_list.expires counts jiffies, a long; jiffies_64 is the same on 64 bits.
        return new TimersAnswer(
            unchecked((long)clock.Jiffies), clock.Hz, unchecked((long?)clock.MonotonicNs),
            [.. wheels.SelectMany(w => w.Timers.Items.OrderBy(t => unchecked((long)(t.Expires - clock.Jiffies))).Select(t => new TimerRow(
                w.Cpu, w.Name, unchecked((long)t.Expires), unchecked((long)(t.Expires - clock.Jiffies)), t.Address, look.Image.Place(t.Function), For(kernel, t.Task, t.Work))))],
            [.. precise.SelectMany(p => p.Timers.Items.Select(t => new HrtimerRow(
                t.Cpu, t.Clock < Clocks.Length ? Clocks[t.Clock] : $"clock {t.Clock}", t.SoftExpiresNs, t.ExpiresNs, Now(clock, t.Clock) is { } now ? unchecked(t.ExpiresNs - now) : null,
                t.Address, look.Image.Place(t.Function), For(kernel, t.Task, null))))],
            [.. wheels.Select(w => w.Timers.Broken is { } broken ? $"{w.Name} wheel of CPU {w.Cpu}: {broken}" : null)
                .Concat(precise.Select(p => p.Timers.Broken is { } broken ? $"high-resolution timers of CPU {p.Cpu}: {broken}" : null)).OfType<string>()]);
    });

    private static long? Now(KernelClock clock, int number) => unchecked((long?)((number & 3) switch { 0 => clock.MonotonicNs, 1 => clock.RealtimeNs, 2 => clock.BoottimeNs, _ => null }));

    private string? For(LinuxKernel kernel, ulong task, SymbolLocation? work) =>
        work is not null ? work.ToShortString() : task != 0 && look.NameOf(kernel, task) is { Pid: { } pid } name ? $"{name.Comm} ({pid})" : null;

    private WaitRow Wait(LinuxKernel kernel, LockEdge edge) => new(
        look.NameOf(kernel, edge.Wait.Task), MarkdownReport.Kebab(edge.Wait.Kind), edge.Wait.Lock, edge.Symbol?.ToShortString(), edge.Wait.Function, edge.Wait.IsExclusive,
        edge.State is { Owner: var owner and not 0 } ? look.NameOf(kernel, owner) : null);

    private static string Kebab(SchedulingClass kind) => MarkdownReport.Kebab(kind);
}
