namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>A general protection fault (arch/x86/kernel/traps.c: exc_general_protection, kernel_exc_vmm_communication). Facts: address, and "certainty": probably or maybe.</summary>
internal sealed class GeneralProtectionDetector() : TrapDetector(LogReportKind.GeneralProtection, "general protection fault")
{
    public override bool Owns(string text, List<LogFact> facts)
    {
        // Written between the header and the registers by kernels with KASAN.
        if (!Is(text, "KASAN: "))
            return false;
        Add(facts, Message, text);
        return true;
    }

    protected override void Read(string text, List<LogFact> facts)
    {
        Add(facts, Address, Between(text, " address 0x", ":"));
        Add(facts, "certainty", Between(text, "fault, ", " "));
    }
}
