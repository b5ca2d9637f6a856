namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>An RCU stall (kernel/rcu/tree_stall.h, tree_exp.h, kernel/rcu/tasks.h). Facts: type (self-detected, detected, expedited), "flavour" (rcu_preempt, rcu_sched), cpu of the first stalled processor, "task" (P and its pid), "jiffies", "starved".</summary>
internal sealed class RcuStallDetector : ReportDetector
{
    public override LogReportKind Kind => LogReportKind.RcuStall;

    public override bool HasManyStacks => true;

    public override bool Starts(string text, List<LogFact> facts)
    {
        // "rcu: " is the prefix of kernel/rcu's files; old kernels have none. The exact words differ in whitespace only.
        ReadOnlySpan<char> rest = text;
        if (rest.StartsWith("rcu: ", StringComparison.Ordinal))
            rest = rest[5..];
        if (!rest.StartsWith("INFO: rcu", StringComparison.Ordinal))
            return false;
        string type = Has(text, "expedited stalls") ? "expedited" : Has(text, "self-detected stall") ? "self-detected"
            : Has(text, "detected stalls") ? "detected" : Has(text, "tasks stall") ? "tasks" : "";
        if (type.Length == 0)
            return false;
        Add(facts, Type, type);
        Add(facts, "flavour", Between(text, "INFO: ", " "));
        if (type == "expedited")
        {
            AddNumber(facts, Cpu, Between(text, "{ ", " ").TrimStart('P'));
            AddNumber(facts, "jiffies", Between(text, "} ", " "));
        }

        return true;
    }

    public override bool Owns(string text, List<LogFact> facts)
    {
        string plain = Is(text, "rcu: ") ? text[5..] : text;
        if (Has(plain, "kthread starved for") || Has(plain, "kthread timer wakeup didn't happen"))
        {
            Add(facts, "starved", plain);
            return true;
        }

        if (plain.Length == 0 || plain[0] is not ('\t' or ' '))
            return Is(text, "rcu: ") || Is(text, "Sending NMI from CPU ") || Is(text, "task:") || Is(text, "INFO: NMI handler");
        string trimmed = plain.Trim();

        // "	1-...0: (0 ticks this GP) idle=…", "	Tasks blocked on level-0 rcu_node (CPUs 0-1): P135", "	(detected by 0, t=754 jiffies, g=…)"
        if (char.IsAsciiDigit(trimmed.Length > 0 ? trimmed[0] : ' ') && Has(trimmed, "-") && Has(trimmed, " this GP)"))
            AddNumber(facts, Cpu, trimmed);
        else if (Is(trimmed, "Tasks blocked on "))
            AddNumber(facts, "task", Between(trimmed, ": P", " "));
        else if (Has(trimmed, "jiffies"))
            AddNumber(facts, "jiffies", Between(trimmed, "t=", " "));
        else
            return Is(text, "rcu: ") || Is(trimmed, "(") || Is(trimmed, "Unless ") || Is(trimmed, "Possible ") || Is(trimmed, "All QSes");
        return true;
    }

    public override bool Continues(IReadOnlyList<LogFact> had, IReadOnlyList<LogFact> has) => false;
}
