namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>Any trap that the kernel dies of and that no other detector knows. Asked last.</summary>
internal sealed class OtherTrapDetector() : TrapDetector(LogReportKind.OtherTrap)
{
    protected override bool Matches(ReadOnlySpan<char> name) => name.Length is > 2 and < 80;
}
