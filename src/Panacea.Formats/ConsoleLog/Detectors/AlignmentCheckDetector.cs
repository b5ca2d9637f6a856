namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>An alignment check, which split locks raise too.</summary>
internal sealed class AlignmentCheckDetector() : TrapDetector(LogReportKind.AlignmentCheck, "alignment check");
