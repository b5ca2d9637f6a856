using System.Globalization;

namespace Panacea.Diagnosis.Machine;

/// <summary>What in the state of a machine is not as it should be.</summary>
internal static class StateFindings
{
    /// <summary>A pool that takes no work for so long is what the kernel calls a lockup (kernel/workqueue.c, wq_watchdog_thresh: 30 s).</summary>
    private const long StalledWorkMs = 30_000;

    /// <summary>The time after which the SCSI and NVMe layers give up a request (SD_TIMEOUT, nvme_io_timeout: 30 s); virtio has none.</summary>
    private const long StuckRequestMs = 30_000;

    /// <summary>A timer that late has not been delayed by a busy host.</summary>
    private const long LateTimerMs = 10_000;

    public static IEnumerable<Finding> Of(MachineState state, int? crashed)
    {
        foreach (HeldLockReport held in (state.HeldLocks ?? []).Where(h => h.OwnerPid == crashed && !h.IsReader && crashed > 0))
        {
            string waiters = held.Waiters.Count == 0 ? "nobody waits for it yet" : $"{Number(held.Waiters.Count)} task{(held.Waiters.Count == 1 ? " waits" : "s wait")} for it";
            yield return new Finding(
                "locks.held-by-crashed", $"the task that crashed holds the {held.Kind} {held.Name ?? $"0x{held.Lock:x}"}; {waiters}",
                [$"owner of the {held.Kind} at 0x{held.Lock:x}: {held.Owner} ({Number(held.OwnerPid)})", .. held.Waiters.Take(8).Select(w => $"waits: {w.Comm} ({w.Pid})")], held.Confidence);
        }

        if (state.Scheduling?.Rcu is { IsStalled: true } rcu)
        {
            yield return new Finding(
                "rcu.stalled", $"an RCU grace period does not end{(rcu.WaitsForCpus.Count > 0 ? $": CPU {string.Join(", ", rcu.WaitsForCpus.Select(c => Number(c)))} has not let go of it" : "")}",
                [rcu.AgeMs is { } age ? $"running for {Number(age)} ms" : "its age is not known", .. rcu.BlockedReaders.Select(r => $"reader: {r.Comm} ({r.Pid})")], Confidence.High);
        }

        foreach (WorkerPoolReport pool in (state.Workqueues?.Active ?? []).Where(p => p.StalledMs >= StalledWorkMs && p.PendingCount > 0))
        {
            yield return new Finding(
                "workqueues.stalled", $"worker pool {Number(pool.Id)} has taken no work for {Number(pool.StalledMs!.Value / 1000)} s while {Number(pool.PendingCount)} wait",
                [.. pool.Busy.Select(b => $"being done: {b.Function}"), .. pool.Pending.Take(4).Select(p => $"waits: {p.Function}")], Confidence.Medium);
        }

        List<BlockRequestReport> stuck = [.. (state.Block?.InFlight ?? []).Where(r => r is { AgeMs: >= StuckRequestMs, IsComplete: false })];
        if (stuck.Count > 0)
        {
            yield return new Finding(
                "block.stuck", $"{Number(stuck.Count)} block request{(stuck.Count == 1 ? " has" : "s have")} been in flight for more than {Number(StuckRequestMs / 1000)} s",
                [.. stuck.Take(8).Select(r => $"{r.Disk}: {r.Operation} at sector {Number(r.Sector)}, {Number(r.AgeMs!.Value / 1000)} s")], Confidence.High);
        }

        List<LateTimer> late = [.. (state.Timers?.Late ?? []).Where(t => t.LateMs >= LateTimerMs)];
        if (late.Count > 0)
        {
            yield return new Finding(
                "timers.late", $"timers are late by up to {Number(late[0].LateMs / 1000)} s on CPU {string.Join(", ", late.Select(t => t.Cpu).Distinct().Order().Select(c => Number(c)))}",
                [.. late.Take(8).Select(t => $"CPU {Number(t.Cpu)}: {t.Kind} {t.Function}, {Number(t.LateMs)} ms late")], Confidence.Medium);
        }

        if (state.Memory is { } memory)
        {
            if (memory.IsBelowMinimum)
            {
                yield return new Finding(
                    "memory.below-minimum", "a memory zone is below its minimum watermark",
                    [.. memory.Zones.Where(z => z.FreeKib < z.MinKib).Select(z => $"{z.Name} of node {Number(z.Node)}: {Number(z.FreeKib)} KiB free, minimum {Number(z.MinKib)} KiB")], Confidence.High);
            }

            if (memory.OomVictims > 0)
                yield return new Finding("memory.oom-victim", "a task that the OOM killer has killed has not died yet", [$"oom_victims = {Number(memory.OomVictims.Value)}"], Confidence.High);
        }

        foreach (MountReport frozen in (state.Mounts ?? []).Where(m => m.IsFrozen).DistinctBy(m => m.Device))
            yield return new Finding("mounts.frozen", $"the file system at {frozen.Point} is frozen: whoever writes to it waits", [$"{frozen.Device}, {frozen.Type}"], Confidence.High);
    }

    private static string Number(long number) => number.ToString(CultureInfo.InvariantCulture);
}
