using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Unwind;

namespace Panacea.Diagnosis.Machine;

/// <summary>Stacks and tasks as reports show them.</summary>
internal static class Frames
{
    public static IReadOnlyList<ReportFrame> Of(RepairImage image, Backtrace stack) => [.. stack.Frames.Select(f => new ReportFrame(
        Locate(image, f), f.Sp, f.Reliability == FrameReliability.Exact, f.IsTrap, f.Stack.ToString().ToLowerInvariant()))];

    /// <summary>Why the proved part of a stack ends too early; null where it is whole.</summary>
    public static string? WhyIncomplete(Backtrace stack) => stack.IsComplete ? null : $"{stack.End} at 0x{stack.EndAddress:x} {stack.Detail}".TrimEnd();

    public static ReportTask Task(LinuxKernel kernel, CrashedTask task)
    {
        string? commandLine = null;
        try
        {
            if (!task.IsKernelThread && !Tasks.TryReadCommandLine(kernel, Tasks.ReadTask(kernel, task.Address), 4096, out commandLine, out _))
                commandLine = null;
        }
        catch (Exception e) when (ReportInputs.IsReadFailure(e))
        {
            // The report says null: it could not be read.
        }

        return new ReportTask(task.Address, task.Pid, task.Tgid, task.Comm, commandLine, task.IsKernelThread);
    }

    public static ReportTask Task(LinuxTask task) => new(task.Address, task.Pid, task.Tgid, task.Comm, null, task.IsKernelThread);

    private static CodeLocation Locate(RepairImage image, StackFrame frame) => image.Symbolize(frame.Point.LookupAddress) is { } l
        ? new CodeLocation(frame.Ip, l.Name, l.Offset + unchecked(frame.Ip - frame.Point.LookupAddress), l.Size, l.Module)
        : new CodeLocation(frame.Ip, null, 0, 0, null);
}
