namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>A stack segment fault: an access through RSP or RBP to a non-canonical address.</summary>
internal sealed class StackSegmentDetector() : TrapDetector(LogReportKind.StackSegment, "stack segment");
