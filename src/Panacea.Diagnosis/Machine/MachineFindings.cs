using System.Globalization;

namespace Panacea.Diagnosis.Machine;

/// <summary>What the state of a machine says beyond its crash.</summary>
internal static class MachineFindings
{
    /// <summary>The kernel's own detector waits that long before it calls a task hung (kernel/hung_task.c, CONFIG_DEFAULT_HUNG_TASK_TIMEOUT).</summary>
    private const long HungTaskMs = 120_000;

    public static IReadOnlyList<Finding> Of(MachineReport report)
    {
        var findings = new List<Finding>();
        foreach (LockChain chain in report.Locks?.Chains ?? [])
        {
            if (chain.Ends == "deadlock" && chain.Links.Count > 0 && IsRing(chain))
                findings.Add(new Finding("locks.deadlock", $"{chain.Links.Count} tasks wait for each other: {Names(chain)}", [.. chain.Links.Select(Line)], Confidence.High));
            else if (chain.Ends == "owner-gone")
                findings.Add(new Finding("locks.owner-gone", $"{Names(chain)} waits for a lock whose owner is gone: nobody will let go of it", [.. chain.Links.Select(Line)], Confidence.High));
        }

        foreach (SpinReport spin in report.Locks?.Spinning ?? [])
        {
            string name = spin.Name ?? $"0x{spin.Lock:x}";
            findings.Add(spin.IsSelfDeadlock
                ? new Finding("locks.self-deadlock", $"CPU {spin.Cpu} spins for the spinlock {name}, which nobody but itself can hold", [$"lock 0x{spin.Lock:x}, wanted by {spin.Caller}"], spin.Confidence)
                : new Finding("locks.spinning", $"CPU {spin.Cpu} spins for the spinlock {name}", [$"lock 0x{spin.Lock:x}, wanted by {spin.Caller}; could be held by CPU {string.Join(", ", spin.PossibleHolders)}"], spin.Confidence));
        }

        List<WaitingTask> hung = [.. report.Tasks?.Uninterruptible.Where(w => w is { SleptMs: >= HungTaskMs, SleptIs: not "at-most" }) ?? []];
        if (hung.Count > 0)
        {
            findings.Add(new Finding(
                "tasks.hung", $"{hung.Count} task{(hung.Count == 1 ? " has" : "s have")} waited uninterruptibly for more than two minutes",
                [.. hung.Select(w => string.Create(CultureInfo.InvariantCulture, $"pid {w.Task.Pid} {w.Task.Comm}: {w.SleptMs / 1000} s"))], Confidence.High));
        }

        return findings;
    }

    private static bool IsRing(LockChain chain) => chain.Links[^1].OwnerPid is { } last && last == chain.Links[0].Pid;

    private static string Names(LockChain chain) => string.Join(" → ", chain.Links.Select(l => l.Comm is null ? "a task" : $"{l.Comm} ({l.Pid})"));

    private static string Line(LockWaitReport link) =>
        $"pid {link.Pid} {link.Comm} waits for {link.Kind} {link.Name ?? $"0x{link.Lock:x}"}{(link.OwnerPid is { } owner ? $", held by pid {owner} {link.OwnerComm}" : "")}";
}
