namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>The watchdog: <c>watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [sh:135]</c> (kernel/watchdog.c: watchdog_timer_fn). Facts: cpu, seconds, comm, pid.</summary>
internal sealed class SoftLockupDetector : ReportDetector
{
    private const string Head = "BUG: soft lockup - CPU#";

    public override LogReportKind Kind => LogReportKind.SoftLockup;

    public override bool HasManyStacks => true;

    public override bool Starts(string text, List<LogFact> facts)
    {
        if (!(Is(text, Head) || Is(text, "watchdog: " + Head) || Is(text, "NMI watchdog: " + Head)))
            return false;
        AddNumber(facts, Cpu, Between(text, Head, " "));
        AddNumber(facts, Seconds, Between(text, "stuck for ", "s!"));
        int open = text.LastIndexOf('['), colon = text.LastIndexOf(':'), close = text.LastIndexOf(']');
        if (open > 0 && colon > open && close > colon)
        {
            Add(facts, Comm, text.AsSpan(open + 1, colon - open - 1));
            AddNumber(facts, Pid, text.AsSpan(colon + 1, close - colon - 1));
        }

        return true;
    }

    public override bool Owns(string text, List<LogFact> facts) =>
        Is(text, "CPU#") || Is(text, "Sending NMI from CPU ") || Is(text, "irq event stamp:") || Is(text, "hardirqs last ") || Is(text, "softirqs last ");
}
