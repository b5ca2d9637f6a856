using System.Globalization;
using Panacea.Diagnosis.Machine;

namespace Panacea.Diagnosis.Rendering;

/// <summary>The state of a machine in words and tables.</summary>
internal static class StateSections
{
    public static IEnumerable<ReportSection> Of(MachineState state)
    {
        if (state.HeldLocks is { Count: > 0 } held)
            yield return Held(held);
        if (state.Scheduling is { } scheduling)
            yield return RunQueues(scheduling);
        if (state.Workqueues is { } work)
            yield return Workqueues(work);
        if (state.Timers is { } timers)
            yield return Timers(timers);
        if (state.Memory is { } memory)
        {
            yield return Memory(memory);
            if (memory.Slabs.Count > 0)
                yield return Slabs(memory.Slabs);
        }

        if (state.Block is { } block)
            yield return Block(block);
        if (state.Mounts is { Count: > 0 } mounts)
            yield return Mounts(mounts);
    }

    private static ReportSection Held(IReadOnlyList<HeldLockReport> held) => new(
        "Locks held", [], ["lock", "kind", "held by", "waited for by", "confidence"],
        [.. held.Select(h => (IReadOnlyList<string>)[
            h.Name ?? $"0x{h.Lock:x}", h.Kind, $"{h.Owner} ({Number(h.OwnerPid)}){(h.IsReader ? ", a reader" : "")}", h.Waiters.Count == 0 ? "nobody" : string.Join(", ", h.Waiters.Take(8).Select(Label)),
            MarkdownReport.Kebab(h.Confidence)])]);

    private static ReportSection RunQueues(SchedulingFacts scheduling)
    {
        var sentences = new List<string>();
        if (scheduling.LoadAverage.Count > 0)
            sentences.Add($"Load average {string.Join(", ", scheduling.LoadAverage.Select(l => l.ToString("0.00", CultureInfo.InvariantCulture)))}.");
        if (scheduling.Rcu is { } rcu)
        {
            string waits = rcu.WaitsForCpus.Count > 0 ? $", waiting for CPU {string.Join(", ", rcu.WaitsForCpus.Select(c => Number(c)))}" : "";
            string readers = rcu.BlockedReaders.Count > 0 ? $", held up by {string.Join(", ", rcu.BlockedReaders.Select(Label))}" : "";
            sentences.Add(!rcu.IsInProgress ? $"No RCU grace period runs; {Count(rcu.Callbacks, "callback waits", "callbacks wait")}."
                : $"An RCU grace period has run{(rcu.AgeMs is { } age ? $" for {Time(age)}" : "")}{waits}{readers}{(rcu.IsStalled ? ": it is stalled" : "")}; {Count(rcu.Callbacks, "callback waits", "callbacks wait")}.");
        }

        return new ReportSection(
            "Run queues", sentences, ["CPU", "ready", "tasks, the running one first", "clock behind"],
            [.. scheduling.RunQueues.Select(q => (IReadOnlyList<string>)[
                Number(q.Cpu), Number(q.Running), q.IsIdle && q.Tasks.Count == 0 ? "idle" : string.Join(", ", q.Tasks.Select(t => Label(t.Task))) + (q.Broken is { } b ? $" (incomplete: {b})" : ""),
                q.ClockBehindMs is { } ms and > 0 ? Time(ms) : "–"])]);
    }

    private static ReportSection Workqueues(WorkqueueFacts work)
    {
        var rows = new List<IReadOnlyList<string>>();
        foreach (WorkerPoolReport pool in work.Active)
        {
            string name = pool.Cpu is { } cpu ? $"{Number(pool.Id)} (CPU {Number(cpu)})" : $"{Number(pool.Id)} (unbound)";
            rows.AddRange(pool.Busy.Select(b => (IReadOnlyList<string>)[name, b.Function, b.Queue ?? "–", b.Worker is { } worker ? $"by {Label(worker)}" : "being done"]));
            rows.AddRange(pool.Pending.Select(p => (IReadOnlyList<string>)[name, p.Function, p.Queue ?? "–", pool.StalledMs is { } ms ? $"waits; the pool last took work {Time(ms)} ago" : "waits"]));
            if (pool.PendingCount > pool.Pending.Count)
                rows.Add([name, $"and {Number(pool.PendingCount - pool.Pending.Count)} more", "", "wait"]);
        }

        return new ReportSection(
            "Workqueues", [rows.Count == 0 ? $"None of {Number(work.Pools)} pools has work." : $"{Number(work.Active.Count)} of {Number(work.Pools)} pools have work.", .. work.Broken],
            ["pool", "work", "workqueue", ""], rows);
    }

    private static ReportSection Timers(TimerFacts timers) => new(
        "Timers",
        [$"{Number(timers.Pending)} timers and {Number(timers.HighResolution)} high-resolution timers are set; {(timers.Late.Count == 0 ? "none is late." : $"{Count(timers.Late.Count, "is late", "are late")}.")}", .. timers.Broken],
        ["CPU", "kind", "function", "for", "late by"],
        [.. timers.Late.Select(t => (IReadOnlyList<string>)[Number(t.Cpu), t.Kind, t.Function, t.For ?? "–", Time(t.LateMs)])]);

    private static ReportSection Memory(MemoryFacts m)
    {
        string killed = m.OomKills switch { null => "", 0 => "The OOM killer has not killed anything.", 1 => "The OOM killer has killed one task.", { } n => $"The OOM killer has killed {Number(n)} tasks." };
        if (m.OomVictims > 0)
            killed += $" {Number(m.OomVictims.Value)} of its victims have not died yet.";
        List<IReadOnlyList<string>> rows =
        [
            Row("total", m.TotalKib, m.TotalKib), Row("free", m.FreeKib, m.TotalKib), Row("available", m.AvailableKib, m.TotalKib), Row("anonymous", m.AnonymousKib, m.TotalKib), Row("page cache", m.CachedKib, m.TotalKib),
            Row("dirty", m.DirtyKib, m.TotalKib), Row("under writeback", m.WritebackKib, m.TotalKib), Row("slab", m.SlabKib, m.TotalKib), Row("page tables", m.PageTablesKib, m.TotalKib),
            Row("kernel stacks", m.KernelStacksKib, m.TotalKib),
        ];
        if (m.SwapTotalKib > 0)
            rows.Add(Row("swap in use", m.SwapTotalKib - m.SwapFreeKib, m.SwapTotalKib));
        if (m.CommittedKib is { } committed)
            rows.Add(Row("committed", committed, m.TotalKib));
        rows.AddRange(m.Zones.Select(z => (IReadOnlyList<string>)[$"zone {z.Name} of node {Number(z.Node)}", Kib(z.FreeKib) + " free", $"min {Kib(z.MinKib)}, low {Kib(z.LowKib)}, in all {Kib(z.ManagedKib)}"]));
        List<string> sentences = [];
        if (m.IsBelowMinimum)
            sentences.Add("A zone is below its minimum watermark: what may not wait can't allocate there.");
        if (killed.Length > 0)
            sentences.Add(killed);
        return new ReportSection("Memory", sentences, ["", "", ""], rows);
    }

    private static ReportSection Slabs(IReadOnlyList<SlabReport> slabs) => new(
        "Largest slab caches", [], ["cache", "memory", "objects in use", "objects", "bytes each"],
        [.. slabs.Select(s => (IReadOnlyList<string>)[s.Name, Kib(s.Kib), Number(s.ActiveObjects), Number(s.Objects), Number(s.ObjectBytes)])]);

    private static ReportSection Block(BlockFacts block) => new(
        "Block devices",
        [block.Disks.Count == 0 ? "There are no disks." : $"Disks: {string.Join(", ", block.Disks)}. {(block.InFlight.Count == 0 ? "No request is in flight." : $"{Count(block.InFlight.Count, "request is", "requests are")} in flight.")}", .. block.Broken],
        ["disk", "operation", "sector", "bytes", "for"],
        [.. block.InFlight.Select(r => (IReadOnlyList<string>)[r.Disk, r.Operation, Number(r.Sector), Number(r.Bytes), (r.AgeMs is { } ms ? Time(ms) : "–") + (r.IsComplete ? ", answered" : "")])]);

    private static ReportSection Mounts(IReadOnlyList<MountReport> mounts) => new(
        "Mounts", [], ["device", "at", "type", "options"], [.. mounts.Select(m => (IReadOnlyList<string>)[m.Device, m.Point, m.Type, string.Join(',', m.Options) + (m.IsFrozen ? ", frozen" : "")])]);

    private static IReadOnlyList<string> Row(string name, long kib, long of) =>
        [name, Kib(kib), of > 0 ? string.Create(CultureInfo.InvariantCulture, $"{100.0 * kib / of:0.0} %") : "–"];

    private static string Kib(long kib) => kib >= 10 << 10 ? string.Create(CultureInfo.InvariantCulture, $"{kib / 1024.0:0.0} MiB") : string.Create(CultureInfo.InvariantCulture, $"{kib} KiB");

    private static string Time(long ms) => ms >= 1000 ? string.Create(CultureInfo.InvariantCulture, $"{ms / 1000.0:0.0} s") : string.Create(CultureInfo.InvariantCulture, $"{ms} ms");

    private static string Number(long number) => number.ToString(CultureInfo.InvariantCulture);

    private static string Count(long count, string one, string more) => $"{Number(count)} {(count == 1 ? one : more)}";

    private static string Label(TaskLabel task) => task.Pid is { } pid ? $"{task.Comm} ({Number(pid)})" : "a task that could not be read";
}
