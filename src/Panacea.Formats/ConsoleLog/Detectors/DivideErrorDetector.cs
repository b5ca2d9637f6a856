namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>A divide error.</summary>
internal sealed class DivideErrorDetector() : TrapDetector(LogReportKind.DivideError, "divide error");
