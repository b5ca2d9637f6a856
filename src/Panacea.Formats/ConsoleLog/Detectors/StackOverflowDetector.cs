namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>A stack overflow: the guard page was hit (arch/x86/kernel/traps.c: handle_stack_overflow), or the end of the stack is overwritten (kernel/sched/core.c, arch/x86/mm/fault.c). Facts: address, "stack" (which one).</summary>
internal sealed class StackOverflowDetector() : TrapDetector(LogReportKind.StackOverflow, "stack guard page", "kernel stack overflow", "Kernel stack overflow")
{
    public override bool IsCompletedBy(LogReportKind kind) => kind is LogReportKind.DoubleFault or LogReportKind.OtherTrap;

    public override bool Starts(string text, List<LogFact> facts)
    {
        if (Is(text, "BUG: ") && Has(text, "stack guard page was hit at "))
        {
            Add(facts, "stack", Between(text, "BUG: ", "stack guard page"));
            Add(facts, Address, Between(text, "was hit at ", " "));
            return true;
        }

        return text is "Kernel stack overflow" or "Thread overran stack, or stack corrupted" || base.Starts(text, facts);
    }
}
