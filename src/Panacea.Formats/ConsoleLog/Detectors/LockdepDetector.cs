namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>lockdep (kernel/locking/lockdep.c). Facts: type (what stands after WARNING), "wants" and "holds" (the lock lines), comm, pid.</summary>
internal sealed class LockdepDetector : ReportDetector
{
    private static readonly string[] Types =
    [
        "possible circular locking dependency detected", "possible recursive locking detected", "possible irq lock inversion dependency detected", "inconsistent lock state",
        "bad unlock balance detected!", "held lock freed!", "lock held when returning to user space!", "Nested lock was not taken", "bad contention detected!",
        "HARDIRQ-safe -> HARDIRQ-unsafe lock order detected", "SOFTIRQ-safe -> SOFTIRQ-unsafe lock order detected", "RECLAIM_FS-safe -> RECLAIM_FS-unsafe lock order detected",
    ];

    public override LogReportKind Kind => LogReportKind.Lockdep;

    public override bool HasManyStacks => true;

    public override bool Starts(string text, List<LogFact> facts)
    {
        if (text.AsSpan().Trim() is "[ BUG: Invalid wait context ]" or "BUG: Invalid wait context")
        {
            Add(facts, Type, "invalid wait context");
            return true;
        }

        if (!Is(text, "WARNING: ") && !Is(text, "INFO: "))
            return false;
        ReadOnlySpan<char> rest = text.AsSpan(text.IndexOf(' ') + 1).Trim();
        foreach (string type in Types)
        {
            if (!rest.SequenceEqual(type))
                continue;
            Add(facts, Type, rest.TrimEnd('!').ToString().Replace(" detected", "", StringComparison.Ordinal));
            return true;
        }

        return false;
    }

    public override bool Owns(string text, List<LogFact> facts)
    {
        if (Has(text, " is trying to acquire lock:") || Has(text, " is trying to lock:") || Has(text, " just changed the state of lock:") || Has(text, " is trying to release lock"))
        {
            ReadOnlySpan<char> who = text.AsSpan(0, text.IndexOf(" is ", StringComparison.Ordinal) is > 0 and int at ? at : Math.Max(0, text.IndexOf(" just ", StringComparison.Ordinal)));
            int slash = who.LastIndexOf('/');
            if (slash > 0)
            {
                Add(facts, Comm, who[..slash]);
                AddNumber(facts, Pid, who[(slash + 1)..]);
            }

            Add(facts, "pending", "wants");
            return true;
        }

        if (Is(text, "but task is already holding lock:") || Is(text, "but this lock took another") || Is(text, "but now in "))
        {
            Add(facts, "pending", "holds");
            return true;
        }

        // "ffff888… (&lock){+.+.}-{3:3}, at: name+0x1/0x20"
        int pending = facts.FindIndex(f => f.Name == "pending");
        if (pending >= 0 && Has(text, "(") && Has(text, "){"))
        {
            string name = facts[pending].Value;
            facts.RemoveAt(pending);
            Add(facts, name, text.AsSpan(text.IndexOf('(', StringComparison.Ordinal)));
            return true;
        }

        return text.Length > 0 && text[0] is ' ' or '-' or '#' or '\t' || Has(text, "lock") || Is(text, "the existing ") || Is(text, "other info ") || Is(text, "which ") || Is(text, "to a ")
            || Is(text, "Chain exists of:") || Is(text, "inconsistent {") || Is(text, "{") || Is(text, "irq event stamp:") || Is(text, "hardirqs ") || Is(text, "softirqs ") || Is(text, "context-{")
            || Is(text, "and this task ") || Is(text, "stack backtrace");
    }
}
