using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Sessions.Control;

/// <summary>What can be told of a guest by looking at it alone.</summary>
public static class GuestLists
{
    /// <summary>The answer to a request that changes nothing; null where it is another.</summary>
    /// <param name="kernel">The kernel over the guest's memory as it is now.</param>
    /// <param name="request">The request.</param>
    /// <param name="limits">Ceilings.</param>
    /// <param name="code">The kernel's code map, where there is one already.</param>
    public static GuestAnswer? Answer(LinuxKernel kernel, GuestRequest request, TargetLimits limits, CodeMap? code = null) => request switch
    {
        FuseListRequest => OfFuses(kernel),
        QuarantineListRequest => OfFrozen(kernel, limits, code),
        QuarantineInspectRequest inspect => OfOne(kernel, inspect.Pid, limits, code),
        _ => null,
    };

    internal static GuestAnswer OfFuses(LinuxKernel kernel)
    {
        var missing = new List<string>();
        IReadOnlyList<Fuse> fuses = Fuses.Enumerate(kernel, missing);
        return new GuestAnswer { Fuses = [.. fuses.Select(FuseLine.Of)], Missing = missing };
    }

    internal static GuestAnswer OfFrozen(LinuxKernel kernel, TargetLimits limits, CodeMap? code) =>
        new() { Frozen = [.. FrozenTasks.Enumerate(kernel, limits, code).Select(FrozenLine.Of)] };

    private static GuestAnswer OfOne(LinuxKernel kernel, int pid, TargetLimits limits, CodeMap? code)
    {
        FrozenTask? frozen = FrozenTasks.Enumerate(kernel, limits, code).FirstOrDefault(f => f.Task.Pid == pid);
        if (frozen is null)
            return GuestAnswer.None(NotFrozen(pid));
        var backtraces = new TaskBacktraces(kernel, limits, code);
        return new GuestAnswer
        {
            Frozen = [FrozenLine.Of(frozen)],
            Stack = [.. backtraces.Of(frozen.Task.Address).Trace.Frames.Select(f => $"{(f.Reliability == FrameReliability.Exact ? "" : "? ")}{backtraces.Locate(f)?.ToString() ?? $"0x{f.Ip:x}"}")],
        };
    }

    internal static string NotFrozen(int pid) => $"{pid} is no frozen task; see 'panacea quarantine list'";
}
