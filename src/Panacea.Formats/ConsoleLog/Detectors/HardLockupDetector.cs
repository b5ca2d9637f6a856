namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>The NMI watchdog: <c>watchdog: Watchdog detected hard LOCKUP on cpu 1</c> (kernel/watchdog.c: watchdog_hardlockup_check; kernel/watchdog_hld.c before 6.5). Fact: cpu.</summary>
internal sealed class HardLockupDetector : ReportDetector
{
    private const string Head = "Watchdog detected hard LOCKUP on cpu ";

    public override LogReportKind Kind => LogReportKind.HardLockup;

    public override bool HasManyStacks => true;

    public override bool Starts(string text, List<LogFact> facts)
    {
        if (!(Is(text, "watchdog: " + Head) || Is(text, "NMI watchdog: " + Head) || Is(text, Head)))
            return false;
        AddNumber(facts, Cpu, Between(text, Head, " "));
        return true;
    }

    public override bool Owns(string text, List<LogFact> facts) =>
        Is(text, "Sending NMI from CPU ") || Is(text, "irq event stamp:") || Is(text, "hardirqs last ") || Is(text, "softirqs last ");
}
