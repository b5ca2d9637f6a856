using System.Diagnostics;
using System.Globalization;
using Panacea.Injection;
using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Repair;
using Panacea.Repair.Journal;
using Panacea.Target;
using Panacea.Target.Qemu;

namespace Panacea.Sessions.Control;

/// <summary>Injects faults into a guest and takes them back. A guest that runs is stopped for as long as it takes; one that stands, stands afterwards.</summary>
/// <param name="target">The guest.</param>
/// <param name="kernel">Its kernel.</param>
/// <param name="limits">Ceilings.</param>
internal sealed class FaultRequests(IGuestControl target, ArmedKernel kernel, TargetLimits limits)
{
    /// <summary>How often a vCPU that runs kernel code is looked for.</summary>
    private const int KernelAttempts = 200;

    private LinuxKernel Live => kernel.Image.KernelOver(target.Memory);

    private FaultPlanner Planner => new(Live, kernel.Capture.CodeMap, limits);

    /// <summary>Answers a request about faults.</summary>
    /// <exception cref="GuestMemoryException">The guest's memory can't be read.</exception>
    /// <exception cref="KernelShapeException">The kernel lacks what is needed.</exception>
    /// <exception cref="JournalException">It can't be written.</exception>
    public GuestAnswer Answer(GuestRequest request) => request switch
    {
        FaultListRequest list => List(list),
        FaultInjectRequest inject => Inject(inject),
        FaultRevertRequest revert => Revert(revert.Changes),
        _ => throw new ArgumentException("no request about faults", nameof(request)),
    };

    private GuestAnswer List(FaultListRequest request)
    {
        if (FunctionNames.Find(kernel.Image, request.Function, out NamedFunction function) is { } wrong)
            return GuestAnswer.None(wrong);
        if (FaultKinds.Of(request.Type).Class is FaultClass.Memory or FaultClass.Register)
            return GuestAnswer.Refused($"{FaultKinds.Of(request.Type).Name} is no fault of a function: where it may be is found when it is injected");
        IReadOnlyList<Fault> faults = Planner.List(request.Type, request.Seed, function, out string whyNone);
        return faults.Count == 0 ? GuestAnswer.Refused(whyNone) : new GuestAnswer { Faults = faults };
    }

    private GuestAnswer Inject(FaultInjectRequest request)
    {
        FaultClass faultClass = FaultKinds.Of(request.Type).Class;
        IReadOnlyList<NamedFunction> functions = [];
        if (request.UntilCrash && faultClass is not (FaultClass.Text or FaultClass.Direct))
            return GuestAnswer.Refused($"{FaultKinds.Of(request.Type).Name} is no fault of code: what the kernel makes of it can't be taken out at its first crash");
        if (faultClass is FaultClass.Text or FaultClass.Direct)
        {
            if (Functions(request.At, out functions) is { } wrong)
                return wrong;
            if (request.At is null && faultClass == FaultClass.Direct)
                return GuestAnswer.Refused($"say with --at where: {FaultKinds.Of(request.Type).Name} is of a function that is known to be called, of a module, or of what is hot");
        }
        else if (request.At is not null)
        {
            return GuestAnswer.Refused($"{FaultKinds.Of(request.Type).Name} is no fault of code: leave --at out");
        }

        // What is of code is chosen while the guest runs.
        string whyNot = "";
        FaultPlan? plan = null;
        if (functions.Count > 0 && !Planner.TryPlan(request.Type, request.Seed, functions, [], out plan, out whyNot))
            return GuestAnswer.Refused(whyNot);
        int attempts = faultClass == FaultClass.Register ? KernelAttempts : 1;
        for (int attempt = 1; ; attempt++)
        {
            bool isOurs = target.Stopped is null;
            IHeldGuest guest = target.Stopped ?? target.Stop();
            if (isOurs && guest.Reason == StopReason.Breakpoint)
                return GuestAnswer.Wrong("the guest has just stopped for another reason; try again");
            bool resume = isOurs && guest.Reason == StopReason.Requested;
            long started = Stopwatch.GetTimestamp();
            try
            {
                bool found = plan is not null || Planner.TryPlan(request.Type, request.Seed, functions, guest.ReadAllRegisters(), out plan, out whyNot);
                if (found && plan!.Fault.Trigger is not null && !IsAsChosen(plan.Fault))
                    return GuestAnswer.Wrong("the code has been changed by somebody else since the fault was chosen: nothing was injected; try again");
                if (found)
                    Apply(guest, plan!);
                else if (!resume || attempt >= attempts)
                    return GuestAnswer.Refused(whyNot);
                else
                    continue;
            }
            finally
            {
                if (resume)
                    guest.Resume();
            }

            return new GuestAnswer { Faults = [plan!.Fault], StoppedUs = resume ? (long)Stopwatch.GetElapsedTime(started).TotalMicroseconds : 0 };
        }
    }

    /// <summary>The last change of a fault is the one by which others come to it: that one has to be as it was written. Code that it led to stays where it is, for somebody may have been interrupted within it; and so does
    /// data that the kernel has gone on with.</summary>
    private GuestAnswer Revert(IReadOnlyList<FaultChange> changes)
    {
        var writes = new List<PlannedWrite>();
        for (int i = 0; i < changes.Count; i++)
        {
            FaultChange change = changes[i];
            if (!TryBytes(change, out ulong address, out byte[] before, out byte[] after))
                return GuestAnswer.Refused($"the record of the fault says {change.Before} and {change.After} of {change.Address}, which are no bytes of an address");
            byte[] now = new byte[after.Length];
            Live.Space.Read(new VirtualAddress(address), now, change.What);
            bool isEntry = i == changes.Count - 1, isSame = now.AsSpan().SequenceEqual(after);
            if (!isEntry && (!isSame || kernel.Image.IsText(address)))
                continue;
            if (!isSame)
                return GuestAnswer.Refused($"0x{address:x} does not hold any more what the fault wrote ({change.What}): nothing was changed");
            writes.Add(new PlannedWrite(new VirtualAddress(address), before, $"what was there before the fault: {change.What}"));
        }

        if (writes.Count == 0)
            return GuestAnswer.Refused("this fault changed no memory: there is nothing to take back");
        writes.Reverse();
        IHeldGuest? standing = target.Stopped;
        IHeldGuest guest = standing ?? target.Stop();
        if (standing is null && guest.Reason == StopReason.Breakpoint)
            return GuestAnswer.Wrong("the guest has just stopped for another reason; try again");
        bool resume = standing is null && guest.Reason == StopReason.Requested;
        long started = Stopwatch.GetTimestamp();
        try
        {
            Journal(guest).Apply(new RepairPlan { Kind = RepairKind.None, Explanation = "", Writes = writes, Registers = [], Lost = [], Risks = [] });
        }
        finally
        {
            if (resume)
                guest.Resume();
        }

        return new GuestAnswer { StoppedUs = resume ? (long)Stopwatch.GetElapsedTime(started).TotalMicroseconds : 0 };
    }

    private bool IsAsChosen(Fault fault) => fault.Changes.All(change =>
    {
        byte[] now = new byte[change.Before.Length / 2];
        return TryBytes(change, out ulong address, out byte[] before, out _) && Live.Space.TryRead(new VirtualAddress(address), now, out _) && now.AsSpan().SequenceEqual(before);
    });

    private void Apply(IHeldGuest guest, FaultPlan plan)
    {
        RepairJournal journal = Journal(guest);
        journal.Apply(new RepairPlan { Kind = RepairKind.None, Explanation = plan.Fault.Explanation, Writes = plan.Writes, Registers = plan.Registers, Lost = [], Risks = [] });
    }

    private RepairJournal Journal(IHeldGuest guest) => new(guest, kernel.Image.SpaceOver(target.Memory));

    /// <returns>What was wrong; null where nothing was.</returns>
    private GuestAnswer? Functions(string? at, out IReadOnlyList<NamedFunction> functions)
    {
        functions = [];
        if (at is null)
        {
            functions = FunctionNames.All(kernel.Image, null);
            return null;
        }

        if (at == FaultPlanner.Hot)
        {
            return UsedFunctions.Find(target, kernel.Image, kernel.Capture, out functions) is { } failed ? GuestAnswer.Wrong(failed) : null;
        }

        if (kernel.Image.Meta.Modules.Any(m => m.Name == at))
        {
            functions = FunctionNames.All(kernel.Image, at);
            return functions.Count == 0 ? GuestAnswer.None($"the module {at} has no functions") : null;
        }

        if (at.EndsWith('*'))
        {
            functions = FunctionNames.Matching(kernel.Image, at);
            return functions.Count == 0 ? GuestAnswer.None($"no function's name begins with {at[..^1]}") : null;
        }

        if (FunctionNames.Find(kernel.Image, at, out NamedFunction one) is { } wrong)
            return GuestAnswer.None($"{wrong}, nor a module of that name");
        functions = [one];
        return null;
    }

    private static bool TryBytes(FaultChange change, out ulong address, out byte[] before, out byte[] after)
    {
        (address, before, after) = (0, [], []);
        try
        {
            (before, after) = (Convert.FromHexString(change.Before), Convert.FromHexString(change.After));
        }
        catch (FormatException)
        {
            return false;
        }

        return change.Address.StartsWith("0x", StringComparison.Ordinal) && ulong.TryParse(change.Address.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out address)
            && before.Length == after.Length && before.Length > 0;
    }
}
