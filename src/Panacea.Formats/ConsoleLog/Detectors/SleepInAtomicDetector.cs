namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary><c>BUG: sleeping function called from invalid context at mm/slab.h:494</c> (kernel/sched/core.c: __might_resched). Facts: file, line, comm, pid, "in_atomic", "irqs_disabled", "preempt".</summary>
internal sealed class SleepInAtomicDetector : ReportDetector
{
    private const string Head = "BUG: sleeping function called from invalid context at ";

    public override LogReportKind Kind => LogReportKind.SleepInAtomic;

    public override bool Starts(string text, List<LogFact> facts)
    {
        if (!Is(text, Head))
            return false;
        AddSource(facts, text.AsSpan(Head.Length));
        return true;
    }

    public override bool Owns(string text, List<LogFact> facts)
    {
        if (Is(text, "in_atomic(): "))
        {
            AddNumber(facts, "in_atomic", text.AsSpan("in_atomic(): ".Length));
            AddNumber(facts, "irqs_disabled", Between(text, "irqs_disabled(): ", ","));
            AddNumber(facts, Pid, Between(text, " pid: ", ","));
            Add(facts, Comm, Between(text, " name: ", "\n"));
            return true;
        }

        if (Is(text, "preempt_count: "))
        {
            Add(facts, "preempt", Between(text, "preempt_count: ", ","));
            return true;
        }

        return Is(text, "RCU nest depth:") || Is(text, "Preemption disabled at:") || Is(text, "[<") || Has(text, " lock") || Is(text, " #") || Is(text, "irq event stamp") || Is(text, "hardirqs ") || Is(text, "softirqs ");
    }
}
