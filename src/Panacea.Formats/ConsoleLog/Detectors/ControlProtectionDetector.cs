namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>Control-flow enforcement: <c>Missing ENDBR: name+0x0/0x10</c> before a BUG() (arch/x86/kernel/cet.c, traps.c before 6.6: commit 2da5b91fe409), <c>CFI failure at</c> (kernel/cfi.c), or the trap itself. Fact "other": the target.</summary>
internal sealed class ControlProtectionDetector() : TrapDetector(LogReportKind.ControlProtection, "control protection", "unexpected #CP")
{
    public override bool IsCompletedBy(LogReportKind kind) => kind is LogReportKind.KernelBug or LogReportKind.Warning or LogReportKind.InvalidOpcode;

    public override bool Starts(string text, List<LogFact> facts)
    {
        if (Is(text, "Missing ENDBR: "))
        {
            AddPlace(facts, Other, text);
            Add(facts, Message, text);
            return true;
        }

        if (Is(text, "CFI failure at "))
        {
            AddPlace(facts, At, Between(text, "CFI failure at ", " (target"));
            AddPlace(facts, Other, Between(text, "(target: ", ";"));
            Add(facts, Message, text);
            return true;
        }

        return base.Starts(text, facts);
    }
}
