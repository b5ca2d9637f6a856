namespace Panacea.Formats.ConsoleLog;

/// <summary>One kernel that wrote to a log, from the line at which it began to the line at which the next one did.</summary>
/// <param name="Number">Its number, from 0, in the order of the log: what <see cref="LogReport.Boot"/> says.</param>
/// <param name="Line">Line of the log at which it begins, from 1.</param>
/// <param name="Banner">Its banner, <c>Linux version …</c>; null where the log does not have it: it begins later, or the kernel was told to be quiet.</param>
/// <param name="IsCrashKernel">It was booted to save the memory of the kernel before it, which had died. False also where its command line is not in the log.</param>
public sealed record LogBoot(int Number, long Line, string? Banner, bool IsCrashKernel);
