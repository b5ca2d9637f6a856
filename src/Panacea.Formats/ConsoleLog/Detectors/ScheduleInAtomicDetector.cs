namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary><c>BUG: scheduling while atomic: sh/135/0x00000002</c> (kernel/sched/core.c: __schedule_bug). Facts: comm, pid, "preempt".</summary>
internal sealed class ScheduleInAtomicDetector : ReportDetector
{
    private const string Head = "BUG: scheduling while atomic: ";

    public override LogReportKind Kind => LogReportKind.ScheduleInAtomic;

    public override bool Starts(string text, List<LogFact> facts)
    {
        if (!Is(text, Head))
            return false;
        ReadOnlySpan<char> rest = text.AsSpan(Head.Length);
        int last = rest.LastIndexOf('/');
        int middle = last > 0 ? rest[..last].LastIndexOf('/') : -1;
        if (middle > 0)
        {
            Add(facts, Comm, rest[..middle]);
            AddNumber(facts, Pid, rest[(middle + 1)..last]);
            Add(facts, "preempt", rest[(last + 1)..]);
        }

        return true;
    }

    public override bool Owns(string text, List<LogFact> facts) =>
        Is(text, "Preemption disabled at:") || Is(text, "[<") || Has(text, "locks held by") || Is(text, "no locks held") || Is(text, " #");
}
