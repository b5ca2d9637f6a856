using System.Diagnostics;
using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Repair;
using Panacea.Repair.Journal;
using Panacea.Target;
using Panacea.Target.Qemu;

namespace Panacea.Sessions.Control;

/// <summary>Answers requests about a guest that runs, on the thread that guards it. What changes the guest stops it for as long as some bytes take to be written.</summary>
/// <param name="target">The guest.</param>
/// <param name="kernel">Its kernel.</param>
/// <param name="limits">Ceilings.</param>
internal sealed class GuestRequests(IGuestControl target, ArmedKernel kernel, TargetLimits limits)
{
    private const string Busy = "the guest has just stopped for another reason; try again";

    /// <summary>Fuses that were set by the last request; empty for other requests.</summary>
    public IReadOnlyList<Fuse> Set { get; private set; } = [];

    /// <summary>Fuses that were taken away by the last request.</summary>
    public IReadOnlyList<Fuse> Cleared { get; private set; } = [];

    private LinuxKernel Live => kernel.Image.KernelOver(target.Memory);

    /// <summary>Answers one. A guest that stands still is only looked at.</summary>
    /// <exception cref="TargetException">QEMU does not answer.</exception>
    public GuestAnswer Answer(GuestRequest request)
    {
        (Set, Cleared) = ([], []);
        bool isPaused = target.Stopped is { Reason: StopReason.Other } && request is FaultInjectRequest or FaultRevertRequest;
        if (request is not (FuseListRequest or QuarantineListRequest or QuarantineInspectRequest or FaultListRequest) && target.Stopped is not null && !isPaused)
            return GuestAnswer.Wrong("the guest stands still: let it go on first");
        try
        {
            return request switch
            {
                FaultListRequest or FaultInjectRequest or FaultRevertRequest => new FaultRequests(target, kernel, limits).Answer(request),
                FuseSetRequest set => SetFuse(set),
                FuseClearRequest clear => ClearFuses(clear.Function),
                QuarantineKillRequest kill => Kill(kill.Pid),
                _ => GuestLists.Answer(Live, request, limits, kernel.Capture.CodeMap) ?? GuestAnswer.Wrong("this guard does not know the request: it is of an older version"),
            };
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException or JournalException or OverflowException)
        {
            return GuestAnswer.Wrong($"the guest can't be read or written: {e.Message}");
        }
    }

    /// <summary>Takes fuses away.</summary>
    /// <param name="fuses">The fuses.</param>
    /// <param name="stoppedUs">Microseconds for which the guest was stopped.</param>
    /// <returns>What was wrong; null where nothing was.</returns>
    public string? Clear(IReadOnlyList<Fuse> fuses, out long stoppedUs)
    {
        string? error = Write([.. fuses.SelectMany(FusePlan.Clear)], out stoppedUs);
        if (error is null)
            Cleared = fuses;
        return error;
    }

    private GuestAnswer ListFuses(long stoppedUs) => GuestLists.OfFuses(Live) with { StoppedUs = stoppedUs };

    private GuestAnswer SetFuse(FuseSetRequest request)
    {
        if (FunctionNames.Find(kernel.Image, request.Function, out NamedFunction named) is { } wrong)
            return GuestAnswer.None(wrong);
        (string function, string? module, ulong entry) = named;
        LinuxKernel live = Live;
        if (FusePlan.WhyNot(live, function, entry) is { } unsafeThere)
            return GuestAnswer.Refused(unsafeThere);
        if (module is null && !request.Force)
            return GuestAnswer.Refused($"{function} is of the kernel itself, where anything may call it: say --force where that is meant");
        int? value = 0;
        if (request.Value is { } text)
        {
            if (!FuseValue.TryParse(text, out value))
                return GuestAnswer.Refused($"'{text}' is nothing that a function returns: write an errno as -EIO, a number, NULL, true, false or nothing");
            if (FusePlan.WhyNotValue(live, function, module, value) is { } unfit)
                return GuestAnswer.Refused(unfit);
        }
        else if (FusePlan.TryError(live, function, module, out int error, out string whyNone))
        {
            value = error;
        }
        else
        {
            return GuestAnswer.Refused($"{whyNone}; say with --return what it is to return");
        }

        if (!FusePlan.TrySet(live, function, module, entry, value ?? 0, out Fuse fuse, out IReadOnlyList<PlannedWrite> writes, out string whyNot))
            return GuestAnswer.Refused(whyNot);
        if (Write(writes, out long stoppedUs) is { } failed)
            return GuestAnswer.Wrong(failed);
        Set = [fuse];
        return ListFuses(stoppedUs);
    }

    private GuestAnswer ClearFuses(string? function)
    {
        var missing = new List<string>();
        IReadOnlyList<Fuse> all = Fuses.Enumerate(Live, missing);
        if (function is not null)
        {
            (string? module, string name) = FunctionNames.Split(function);
            all = [.. all.Where(f => f.Function == name && (module is null || f.Module == module))];
            if (all.Count == 0)
                return GuestAnswer.None($"{function} has no fuse{(missing.Count > 0 ? $" that could be read ({missing[0]})" : "")}; see 'panacea fuse list'");
        }

        if (all.Count == 0)
            return new GuestAnswer { Missing = missing };
        return Clear(all, out long stoppedUs) is { } failed ? GuestAnswer.Wrong(failed) : ListFuses(stoppedUs);
    }

    private GuestAnswer ListFrozen(long stoppedUs) => GuestLists.OfFrozen(Live, limits, kernel.Capture.CodeMap) with { StoppedUs = stoppedUs };

    private GuestAnswer Kill(int pid)
    {
        FrozenTask? frozen = FrozenTasks.Enumerate(Live, limits, kernel.Capture.CodeMap).FirstOrDefault(f => f.Task.Pid == pid);
        if (frozen is null)
            return GuestAnswer.None(GuestLists.NotFrozen(pid));
        if (frozen.Task.Tgid == 1)
            return GuestAnswer.Refused($"{pid} is a thread of init, which the kernel can't live without: it stays frozen");
        return new StopWindow(target, kernel).KillFrozen(frozen.Task, out long stoppedUs) is { } failed ? GuestAnswer.Wrong(failed) : ListFrozen(stoppedUs);
    }

    /// <returns>What was wrong; null where nothing was.</returns>
    private string? Write(IReadOnlyList<PlannedWrite> writes, out long stoppedUs)
    {
        stoppedUs = 0;
        IHeldGuest guest = target.Stop();
        if (guest.Reason != StopReason.Requested)
            return Busy;
        long started = Stopwatch.GetTimestamp();
        try
        {
            var journal = new RepairJournal(guest, kernel.Image.SpaceOver(target.Memory));
            journal.Apply(new RepairPlan { Kind = RepairKind.None, Explanation = "", Writes = writes, Registers = [], Lost = [], Risks = [] });
            return null;
        }
        finally
        {
            guest.Resume();
            stoppedUs = (long)Stopwatch.GetElapsedTime(started).TotalMicroseconds;
        }
    }
}
