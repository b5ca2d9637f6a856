namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>panic(): <c>Kernel panic - not syncing: reason</c> (kernel/panic.c). Fact: message.</summary>
internal sealed class PanicDetector : ReportDetector
{
    public const string Head = "Kernel panic - not syncing: ";

    public override LogReportKind Kind => LogReportKind.Panic;

    public override ReportEnd End => ReportEnd.Mark;

    public override bool Starts(string text, List<LogFact> facts)
    {
        if (!Is(text, Head))
            return false;
        Add(facts, Message, text.AsSpan(Head.Length));
        return true;
    }

    public override bool Owns(string text, List<LogFact> facts)
    {
        if (!Is(text, "Kernel Offset: "))
            return Is(text, "Rebooting in ") || Is(text, "Shutting down cpus") || Is(text, "Dumping ftrace buffer") || Is(text, "Memory Limit:");
        Add(facts, "kernel-offset", Between(text, "Kernel Offset: ", " "));
        return true;
    }
}
