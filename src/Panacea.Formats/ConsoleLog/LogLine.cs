namespace Panacea.Formats.ConsoleLog;

/// <summary>One line of a console log without what was put before it.</summary>
/// <param name="Number">Number of the line in the file, from 1. Two texts that ran together on one line have the same.</param>
/// <param name="Text">What the kernel wrote, or what something else wrote to the same console. As it came: control characters are possible.</param>
/// <param name="TimestampNs">Nanoseconds since boot by the kernel's own stamp, in the precision of the log; null where there is none.</param>
/// <param name="WallClock">The date as syslog, journald or <c>dmesg -T</c> wrote it; null where there is none.</param>
/// <param name="Caller">CONFIG_PRINTK_CALLER: <c>T123</c> for a task, <c>C0</c> for a processor in an interrupt; null where there is none.</param>
/// <param name="Level">0 (emergency) to 7 (debug); null where it is not told.</param>
/// <param name="IsKernel">False where a prefix says that another program wrote it.</param>
public sealed record LogLine(long Number, string Text, ulong? TimestampNs, string? WallClock, string? Caller, int? Level, bool IsKernel);
