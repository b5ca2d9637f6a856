namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>An opcode that the processor does not know; after <c>kernel BUG at</c> it is the UD2 of that BUG().</summary>
internal sealed class InvalidOpcodeDetector() : TrapDetector(LogReportKind.InvalidOpcode, "invalid opcode");
