using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Diagnosis;

/// <summary>What a report holds beyond what deciding on a repair needs. Read twice: while the guest stands still, so that its pages are captured, and again from the capture.</summary>
internal sealed record ReportInputs(string? CommandLine, string? Taint, IReadOnlyList<ConsoleLine> Console, string? PanicMessage)
{
    private const int ConsoleLines = 60;

    public static ReportInputs Read(CrashEvidence evidence, TargetLimits limits, List<string> unavailable)
    {
        LinuxKernel kernel = evidence.Kernel;
        string? commandLine = null;
        if (evidence.Task is { IsKernelThread: false } task)
        {
            try
            {
                if (!Tasks.TryReadCommandLine(kernel, Tasks.ReadTask(kernel, task.Address), 4096, out commandLine, out string why))
                {
                    commandLine = null;
                    unavailable.Add($"command line: {why}");
                }
            }
            catch (Exception e) when (IsReadFailure(e))
            {
                unavailable.Add($"command line: {e.Message}");
            }
        }

        string? taint = null;
        try
        {
            taint = Taints.Letters(kernel.ReadSymbolU64("tainted_mask"));
        }
        catch (Exception e) when (IsReadFailure(e))
        {
            unavailable.Add($"taint: {e.Message}");
        }

        IReadOnlyList<ConsoleLine> console = [];
        try
        {
            console = [.. Printk.Tail(kernel, ConsoleLines, limits).Select(r => new ConsoleLine(r.TimestampNs, r.Text))];
        }
        catch (Exception e) when (IsReadFailure(e))
        {
            unavailable.Add($"kernel log: {e.Message}");
        }

        return new ReportInputs(commandLine, taint, console, evidence.Kind != CrashKind.Panic ? null : evidence.IsPast ? PrintedReason(console) : ReadPanicFormat(evidence));
    }

    /// <summary>What panic() has printed (kernel/panic.c).</summary>
    private static string? PrintedReason(IReadOnlyList<ConsoleLine> console)
    {
        const string prefix = "Kernel panic - not syncing: ";
        return console.LastOrDefault(line => line.Text.StartsWith(prefix, StringComparison.Ordinal)) is { } line ? line.Text[prefix.Length..].TrimEnd() : null;
    }

    internal static bool IsReadFailure(Exception e) => e is GuestMemoryException or KernelShapeException or OverflowException or ArgumentException or InvalidDataException;

    /// <summary>panic(const char *fmt, …) and vpanic(const char *fmt, va_list): the format is the first argument, still in RDI at the entry.</summary>
    private static string? ReadPanicFormat(CrashEvidence evidence) =>
        evidence.Kernel.Space.TryReadString(new VirtualAddress(evidence.Vcpu.Gpr[Gpr.Rdi]), 512, out string text, out _)
            ? text.TrimEnd('\n')
            : null;
}
