using Panacea.Diagnosis;
using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Kernel.Unwind;
using Panacea.Target;
using Panacea.Target.Qemu;

namespace Panacea.Sessions.Control;

/// <summary>Which functions of a kernel are being used: those on the stack of some vCPU at one of many moments.</summary>
public static class UsedFunctions
{
    /// <summary>How often a guest is stopped to see what it is doing, and how long it runs in between.</summary>
    private const int Samples = 100;

    private static readonly TimeSpan Between = TimeSpan.FromMilliseconds(10);

    /// <summary>Looks. A guest that runs is stopped a hundred times, each time for as long as its registers take to be read; one that stands is looked at once.</summary>
    /// <param name="target">The guest.</param>
    /// <param name="image">Its kernel.</param>
    /// <param name="capture">What unwinds its stacks.</param>
    /// <param name="functions">The functions, by address.</param>
    /// <returns>What was wrong; null where nothing was.</returns>
    /// <exception cref="TargetException">QEMU does not answer.</exception>
    public static string? Find(IGuestControl target, RepairImage image, CrashCapture capture, out IReadOnlyList<NamedFunction> functions)
    {
        var seen = new SortedDictionary<ulong, NamedFunction>();
        functions = [];
        for (int sample = 0; sample < Samples; sample++)
        {
            bool isOurs = target.Stopped is null;
            IHeldGuest guest = target.Stopped ?? target.Stop();
            if (isOurs && guest.Reason == StopReason.Breakpoint)
                return "the guest has just stopped for another reason; try again";
            bool resume = isOurs && guest.Reason == StopReason.Requested;
            try
            {
                foreach (VcpuRegisters registers in guest.ReadAllRegisters().Where(r => !r.IsUserMode))
                    Note(image, capture, target.Memory, registers, seen);
            }
            finally
            {
                if (resume)
                    guest.Resume();
            }

            if (!resume)
                break;
            Thread.Sleep(Between);
        }

        functions = [.. seen.Values];
        return functions.Count == 0 ? "the guest was in the kernel at no moment when it was looked at" : null;
    }

    private static void Note(RepairImage image, CrashCapture capture, IGuestMemory memory, VcpuRegisters registers, SortedDictionary<ulong, NamedFunction> seen)
    {
        try
        {
            foreach (StackFrame frame in capture.StackOf(memory, registers).Frames.Where(f => f.Reliability == FrameReliability.Exact))
            {
                if (image.Symbolize(frame.Point.LookupAddress) is { } at && !at.Name.EndsWith(".cold", StringComparison.Ordinal))
                    seen.TryAdd(frame.Point.LookupAddress - at.Offset, new NamedFunction(at.Name, at.Module, frame.Point.LookupAddress - at.Offset));
            }
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException or OverflowException or CaptureException)
        {
            // One moment of many.
        }
    }
}
