namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>The OOM killer (mm/oom_kill.c): from <c>sh invoked oom-killer: …</c> to <c>Out of memory: Killed process 135 (tail) …</c>. Facts: comm (who asked), "gfp", "order", "victim", "victim-pid", "rss" (anon-rss of the victim), "constraint", "cgroup", and
/// one "task" for each row of the table, "free" for each zone's free memory.</summary>
internal sealed class OutOfMemoryDetector : ReportDetector
{
    private const int MostTasks = 100;

    public override LogReportKind Kind => LogReportKind.OutOfMemory;

    public override ReportEnd End => ReportEnd.Line;

    public override bool Starts(string text, List<LogFact> facts)
    {
        int invoked = text.IndexOf(" invoked oom-killer: ", StringComparison.Ordinal);
        if (invoked > 0)
        {
            Add(facts, Comm, text.AsSpan(0, invoked));
            Add(facts, "gfp", Between(text, "gfp_mask=", ", order"));
            AddNumber(facts, "order", Between(text, "order=", ","));
            return true;
        }

        return ReadVictim(text, facts);
    }

    public override bool Owns(string text, List<LogFact> facts)
    {
        if (ReadVictim(text, facts))
            return true;
        if (Is(text, "oom-kill:constraint="))
        {
            Add(facts, "constraint", Between(text, "constraint=", ","));
            Add(facts, "cgroup", Between(text, "task_memcg=", ","));
            return true;
        }

        // "[    135]     0   135    12345 …", the table's rows.
        if (text.Length > 20 && text[0] == '[' && IdentityText.Number(text.AsSpan(1).TrimStart(' ')) is not null && text.IndexOf(']', StringComparison.Ordinal) is > 1 and < 12)
        {
            if (facts.Count(f => f.Name == "task") < MostTasks)
                Add(facts, "task", text);
            return true;
        }

        if (Has(text, " free:") && (Is(text, "Node ") || Is(text, "DMA") || Is(text, "Normal")))
        {
            Add(facts, "free", text.AsSpan(0, text.IndexOf(" free:", StringComparison.Ordinal) + 6 + Between(text, " free:", " ").Length));
            return true;
        }

        return MemoryText.IsMemoryLine(text) || Is(text, "oom_reaper: ") || Is(text, "Tasks state") || Is(text, "[  pid  ]") || Is(text, "Memory cgroup ") || Is(text, "memory: usage ") || Is(text, "swap: usage ")
            || Is(text, "Unreclaimable slab info:") || Is(text, "Tasks in ") || Is(text, "Out of memory") || Is(text, "anon ") || Is(text, "file ");
    }

    public override bool Continues(IReadOnlyList<LogFact> had, IReadOnlyList<LogFact> has) => !had.Any(f => f.Name == "victim") && has.Any(f => f.Name == "victim");

    private static bool ReadVictim(string text, List<LogFact> facts)
    {
        // "Out of memory: Killed process 135 (tail) total-vm:…"; before 5.1 "Kill process … or sacrifice child" (commit bbbe48029720).
        if (!(Is(text, "Out of memory") || Is(text, "Memory cgroup out of memory")) || !Has(text, " process "))
            return false;
        ReadOnlySpan<char> rest = Between(text, " process ", "\n");
        int open = rest.IndexOf('('), close = rest.LastIndexOf(") ", StringComparison.Ordinal);
        AddNumber(facts, "victim-pid", rest);
        if (open > 0 && close > open)
            Add(facts, "victim", rest[(open + 1)..close]);
        Add(facts, "rss", Between(text, "anon-rss:", ","));
        return true;
    }
}
