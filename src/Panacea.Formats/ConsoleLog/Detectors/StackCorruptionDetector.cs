namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>The stack protector: <c>Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in: name+0x1/0x20</c> (kernel/panic.c: __stack_chk_fail). Facts: at, message.</summary>
internal sealed class StackCorruptionDetector : ReportDetector
{
    private const string Reason = "stack-protector: Kernel stack is corrupted in: ";

    public override LogReportKind Kind => LogReportKind.StackCorruption;

    public override ReportEnd End => ReportEnd.Mark;

    public override bool Starts(string text, List<LogFact> facts)
    {
        if (!Is(text, PanicDetector.Head) || !text.AsSpan(PanicDetector.Head.Length).StartsWith(Reason, StringComparison.Ordinal))
            return false;
        AddPlace(facts, At, text.AsSpan(PanicDetector.Head.Length + Reason.Length));
        Add(facts, Message, text.AsSpan(PanicDetector.Head.Length));
        return true;
    }

    public override bool Owns(string text, List<LogFact> facts) => Is(text, "Kernel Offset: ");
}
