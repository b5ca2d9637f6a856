namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>A breakpoint that nobody had set.</summary>
internal sealed class Int3Detector() : TrapDetector(LogReportKind.Int3, "int3");
