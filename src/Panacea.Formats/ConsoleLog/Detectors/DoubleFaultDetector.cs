namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>A double fault: <c>traps: PANIC: double fault, error_code: 0x0</c> and the trap's header (arch/x86/kernel/traps.c).</summary>
internal sealed class DoubleFaultDetector() : TrapDetector(LogReportKind.DoubleFault, "double fault")
{
    public override bool Starts(string text, List<LogFact> facts) =>
        Is(text, "PANIC: double fault, error_code:") || Is(text, "traps: PANIC: double fault") || base.Starts(text, facts);
}
