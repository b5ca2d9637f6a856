namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>khungtaskd: <c>INFO: task sh:135 blocked for more than 120 seconds.</c> (kernel/hung_task.c: check_hung_task). Facts: comm, pid, seconds, "state", "blocker".</summary>
internal sealed class HungTaskDetector : ReportDetector
{
    public override LogReportKind Kind => LogReportKind.HungTask;

    public override bool HasManyStacks => true;

    public override bool Starts(string text, List<LogFact> facts)
    {
        if (!Is(text, "INFO: task ") || !Has(text, " blocked ") || !Has(text, " for more than "))
            return false;

        // The task chooses its name: the last colon before " blocked" is the kernel's.
        ReadOnlySpan<char> who = text.AsSpan("INFO: task ".Length, text.LastIndexOf(" blocked ", StringComparison.Ordinal) - "INFO: task ".Length);
        int colon = who.LastIndexOf(':');
        if (colon < 0)
            return false;
        Add(facts, Comm, who[..colon]);
        AddNumber(facts, Pid, who[(colon + 1)..]);
        AddNumber(facts, Seconds, Between(text, " for more than ", " "));
        return true;
    }

    public override bool Owns(string text, List<LogFact> facts)
    {
        if (Is(text, "task:") && Has(text, " state:"))
        {
            Add(facts, "state", Between(text, " state:", " "));
            return true;
        }

        // The kernel says who holds the lock (CONFIG_DETECT_HUNG_TASK_BLOCKER): a mutex since 6.15 (commit 3cf67d61ff98), a semaphore since 6.16 (commit 194a9b9e843b).
        if (Is(text, "INFO: task ") && Has(text, " is blocked on "))
        {
            Add(facts, "blocker", text);
            return true;
        }

        return Is(text, "\"echo 0 > /proc/sys/kernel/hung_task_timeout_secs\"") || Is(text, "      Tainted:") || Is(text, "      Not tainted") || Is(text, "      Blocked by coredump");
    }
}
