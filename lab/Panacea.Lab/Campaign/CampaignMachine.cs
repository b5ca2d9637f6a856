using System.Diagnostics;
using Panacea.Diagnosis;
using Panacea.Injection;
using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Lab.Guests;
using Panacea.Lab.Workloads;
using Panacea.Repair;
using Panacea.Repair.Journal;
using Panacea.Sessions;
using Panacea.Sessions.Control;
using Panacea.Target;
using Panacea.Target.Qemu;

namespace Panacea.Lab.Campaign;

/// <summary>A guest at work, frozen: every run of a campaign is a copy of it. What is known of its kernel is the same for all copies.</summary>
public sealed class CampaignMachine : IDisposable
{
    private static readonly TimeSpan PrepareLimit = TimeSpan.FromSeconds(30), Settle = TimeSpan.FromSeconds(2), StuckStep = TimeSpan.FromMilliseconds(250);
    private const int StuckLooks = 4;

    /// <summary>Of the time of a vCPU that does nothing else.</summary>
    private const double BusyPart = 0.8;

    private readonly GuestSnapshot _snapshot;
    private readonly RepairImage _image;
    private readonly FaultPlanner _planner;
    private readonly QemuView _view;
    private readonly Guest _first;

    private CampaignMachine(GuestSnapshot snapshot, Guest first, QemuView view, RepairImage image, IReadOnlyList<string> hot, CounterStatus counter)
    {
        Counter = counter;
        _snapshot = snapshot;
        (_first, _view, _image) = (first, view, image);
        _planner = new FaultPlanner(image.KernelOver(view.Memory), new CodeMap(image), TargetLimits.Default);
        Hot = [.. hot.Where(IsUnique).Select(name => FunctionNames.Find(image, name, out NamedFunction function) is null ? function : null).OfType<NamedFunction>()];
    }

    /// <summary>The kernel's release.</summary>
    public string Kernel => _image.Meta.Release;

    /// <summary>The process that is not the work, before it was frozen.</summary>
    public CounterStatus Counter { get; }

    /// <summary>Functions that were being used before it was frozen.</summary>
    public IReadOnlyList<NamedFunction> Hot { get; }

    /// <summary>Boots a guest, puts it to work, looks at what it does, and freezes it.</summary>
    /// <param name="line">The kernel line.</param>
    /// <param name="workload">The work.</param>
    /// <param name="progress">Told what happens.</param>
    /// <param name="cancel">Gives up.</param>
    public static async Task<CampaignMachine> StartAsync(string line, CampaignWorkload workload, Action<string> progress, CancellationToken cancel)
    {
        var spec = new GuestSpec { Line = line, Start = workload.Services, Memory = GuestMemoryBacking.SharedFile, MemoryMiB = 384, PanicOnOops = true };
        Guest guest = await Guest.StartAsync(spec, progress, cancel);
        IReadOnlyList<string> hot;
        CounterStatus counter;
        try
        {
            if (workload.Prepare is { } prepare && await guest.RunAsync(prepare, PrepareLimit, cancel) is { Succeeded: false } failed)
                throw new LabException($"the workload {workload.Name} can't be prepared: {failed.Output.Trim()}");
            await using (IWorkloadRun run = await workload.BeginAsync(guest, cancel))
            {
                await Task.Delay(Settle, cancel);
                progress($"{line} {workload.Name}: looking at what is being used");
                hot = FindHot(guest);
            }

            if (workload.Clear is { } clear && await guest.RunAsync(clear, PrepareLimit, cancel) is { Succeeded: false } left)
                throw new LabException($"what {workload.Name} began can't be ended: {left.Output.Trim()}");
            counter = await CounterStatus.ReadAsync(guest, cancel);
        }
        catch
        {
            await guest.DisposeAsync();
            throw;
        }

        GuestSnapshot snapshot = await GuestSnapshot.TakeAsync(guest, cancel);
        try
        {
            // One copy is never let go: faults are chosen in its memory, which is that of all others when they begin.
            Guest first = await snapshot.StartAsync(run: false, GuestMemoryBacking.Private, cancel);
            QemuView? view = null;
            try
            {
                view = QemuView.Open(new QemuTargetSpec(first.QmpPath, 0));
                RepairImage image = RepairImageBuilder.Build(view.Memory, ControlRegisters.Read(view.Qmp), Path.Combine(first.RunDirectory, "images"), TargetLimits.Default);
                return new CampaignMachine(snapshot, first, view, image, hot, counter);
            }
            catch
            {
                view?.Dispose();
                await first.DisposeAsync();
                throw;
            }
        }
        catch
        {
            snapshot.Dispose();
            throw;
        }
    }

    /// <summary>Chooses a fault.</summary>
    /// <param name="choice">Its kind, its seed, where.</param>
    /// <returns>Null where there is no place for it.</returns>
    public FaultPlan? Choose(FaultChoice choice)
    {
        IReadOnlyList<NamedFunction> functions = choice.At switch
        {
            null => [],
            FaultPlanner.Hot => Hot,
            var names when names.EndsWith('*') => [.. FunctionNames.Matching(_image, names).Where(f => IsUnique(NameOf(f)))],
            var module => [.. FunctionNames.All(_image, module).Where(f => IsUnique(NameOf(f)))],
        };
        return _planner.TryPlan(choice.Type, choice.Seed, functions, MonitorRegistersOf(), out FaultPlan plan, out _) ? plan : null;
    }

    /// <summary>Chooses a fault of another guest again: the same change at the same place of the same function, where the kernel is the same; of data and registers, what the same seed chooses now.</summary>
    /// <param name="fault">The fault.</param>
    /// <returns>Null where there is no place for it.</returns>
    public FaultPlan? ChooseAgain(Fault fault)
    {
        NamedFunction[] functions = fault.Place is not { } place ? [] : FunctionNames.Find(_image, NameOf(new NamedFunction(place.Function, place.Module, 0)), out NamedFunction function) is null ? [function] : [];
        return (functions.Length > 0 || fault.Trigger is null) && _planner.TryPlan(fault.Type, fault.Seed, functions, MonitorRegistersOf(), out FaultPlan plan, out _) ? plan : null;
    }

    /// <summary>Starts a copy that stands at the moment of the freezing.</summary>
    /// <param name="isShared">Its memory is a file of its own that others may map, so that copies of it can be made.</param>
    /// <param name="cancel">Gives up.</param>
    public Task<Guest> CopyAsync(bool isShared, CancellationToken cancel) => _snapshot.StartAsync(run: false, isShared ? GuestMemoryBacking.SharedFile : GuestMemoryBacking.Private, cancel);

    /// <summary>Which of some faults does somebody come by first, while the guest does its work? Tried on a copy that has none of them.</summary>
    /// <param name="plans">Faults of code, at most <see cref="QemuTarget.MaxHardwareBreakpoints"/>.</param>
    /// <param name="workload">The work.</param>
    /// <param name="window">How long is waited for.</param>
    /// <param name="cancel">Gives up.</param>
    /// <returns>Null where nobody came by any.</returns>
    public async Task<FaultPlan?> FirstActivatedAsync(IReadOnlyList<FaultPlan> plans, CampaignWorkload workload, TimeSpan window, CancellationToken cancel)
    {
        ulong[] triggers = [.. plans.Select(p => Convert.ToUInt64(p.Fault.Trigger, 16))];
        await using Guest guest = await CopyAsync(isShared: false, cancel);
        using QemuTarget target = QemuTarget.Attach(new QemuTargetSpec(guest.QmpPath, 0));
        target.ArmBreakpoints([.. triggers.Distinct()]);
        target.Stopped?.Resume();

        // Who does the work waits for the guest, and is not waited for here.
        using var over = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        Task<IWorkloadRun> work = workload.BeginAsync(guest, over.Token);
        QemuStoppedGuest? hit = await Task.Run(() => target.WaitForStop(window).Guest, cancel);
        ulong? at = hit?.ReadRegisters(hit.StoppedVcpu).Rip;
        await over.CancelAsync();
        await EndAsync(work);
        return plans.FirstOrDefault(p => Convert.ToUInt64(p.Fault.Trigger, 16) == at);
    }

    /// <summary>Writes a fault into a copy. One that stands, stands afterwards; one that runs is stopped for as long as it takes.</summary>
    /// <param name="guest">The copy.</param>
    /// <param name="plan">The fault.</param>
    public void Inject(Guest guest, FaultPlan plan) => Write(guest, plan.Writes, plan.Registers);

    /// <summary>Takes a fault of code back.</summary>
    /// <param name="guest">The copy.</param>
    /// <param name="plan">The fault.</param>
    public void Revert(Guest guest, FaultPlan plan) => Write(
        guest, [.. plan.Fault.Changes.Reverse().Select(c => new PlannedWrite(new VirtualAddress(Convert.ToUInt64(c.Address, 16)), Convert.FromHexString(c.Before), c.What))], []);

    /// <summary>Lets a copy go on after an oops, as far as it can: what oops=panic and kernel.panic_on_oops set (kernel/panic.c).</summary>
    /// <param name="guest">The copy.</param>
    public void LetOopsesPass(Guest guest) => Write(guest, [new PlannedWrite(new VirtualAddress(_image.KernelOver(_view.Memory).Symbol("panic_on_oops")), new byte[4], "panic_on_oops")], []);

    private void Write(Guest guest, IReadOnlyList<PlannedWrite> writes, IReadOnlyList<PlannedRegister> registers)
    {
        using QemuTarget target = QemuTarget.Attach(new QemuTargetSpec(guest.QmpPath, 0));
        QemuStoppedGuest held = target.Stopped ?? target.Stop();
        new RepairJournal(held, _image.SpaceOver(target.Memory)).Apply(new RepairPlan { Kind = RepairKind.None, Explanation = "", Writes = writes, Registers = registers, Lost = [], Risks = [] });
        if (held.Reason == StopReason.Requested)
            held.Resume();
    }

    /// <summary>How a function is written where it is asked for.</summary>
    public static string NameOf(NamedFunction function) => function.Module is null ? function.Name : $"{function.Module}:{function.Name}";

    private bool IsUnique(string name) => FunctionNames.Find(_image, name, out _) is null;

    /// <summary>A CPU that runs a task, or a task in uninterruptible sleep, has not got on for a second; or a CPU has nothing to run, does not let anything else run, and yet uses all of its vCPU's time, in an interrupt perhaps. Nobody else may be
    /// connected to the guest.</summary>
    /// <param name="guest">A copy that runs.</param>
    /// <param name="cancel">Gives up.</param>
    public async Task<bool> IsStuckAsync(Guest guest, CancellationToken cancel)
    {
        try
        {
            using QemuView view = QemuView.Open(new QemuTargetSpec(guest.QmpPath, 0));
            LinuxKernel live = _image.KernelOver(view.Memory);
            HashSet<(ulong, ulong)> before = Standing(live);
            CpuProgress[] idle = Progress(live);
            IReadOnlyList<TimeSpan>? times = view.VcpuTimes();
            long started = Stopwatch.GetTimestamp();
            for (int look = 0; look < StuckLooks; look++)
            {
                await Task.Delay(StuckStep, cancel);
                before.IntersectWith(Standing(live));
            }

            TimeSpan busy = Stopwatch.GetElapsedTime(started) * BusyPart;
            CpuProgress[] now = Progress(live);
            return before.Count > 0 || (times is not null && view.VcpuTimes() is { } after && after.Count == times.Count
                && Enumerable.Range(0, Math.Min(now.Length, after.Count)).Any(cpu => now[cpu].IsIdleTask && idle[cpu].IsIdleTask && now[cpu].Switches == idle[cpu].Switches && after[cpu] - times[cpu] >= busy));
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException or OverflowException or TargetException)
        {
            return false;
        }
    }

    private CpuProgress[] Progress(LinuxKernel live) => [.. Enumerable.Range(0, _image.Meta.PerCpuBases.Count).Select(cpu => CpuProgress.Read(live, cpu))];

    /// <summary>Tasks that are on a CPU, or sleep uninterruptibly, each with how often it was switched away from.</summary>
    private static HashSet<(ulong Task, ulong Switches)> Standing(LinuxKernel live)
    {
        // TASK_UNINTERRUPTIBLE and TASK_NOLOAD (include/linux/sched.h): the latter are workers that have nothing to do.
        const uint uninterruptible = 2, noLoad = 0x400;
        return [.. Tasks.Enumerate(live, TargetLimits.Default).Select(t => t.Address)
            .Where(t => (TaskDetails.RawStateOf(live, t) & (uninterruptible | noLoad)) == uninterruptible || (TaskDetails.IsRunning(live, t) && live.Read(t, "task_struct.pid") != 0))
            .Select(t => (t, unchecked(live.Read(t, "task_struct.nvcsw") + live.Read(t, "task_struct.nivcsw"))))];
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _view.Dispose();
        _image.Dispose();
        _first.DisposeAsync().AsTask().GetAwaiter().GetResult();
        _snapshot.Dispose();
    }

    /// <summary>Ends what may still be beginning.</summary>
    internal static async Task EndAsync(Task<IWorkloadRun> work)
    {
        try
        {
            await (await work).DisposeAsync();
        }
        catch (Exception e) when (e is LabException or IOException or TimeoutException or OperationCanceledException)
        {
            // It never began.
        }
    }

    private IReadOnlyList<VcpuRegisters> MonitorRegistersOf() => MonitorRegisters.Read(_view.Qmp);

    private static IReadOnlyList<string> FindHot(Guest guest)
    {
        using QemuTarget target = QemuTarget.Attach(new QemuTargetSpec(guest.QmpPath, 0));
        using RepairImage image = RepairImageBuilder.Build(target.Memory, ControlRegisters.Read(target.Qmp), Path.Combine(guest.RunDirectory, "images"), TargetLimits.Default);
        return UsedFunctions.Find(target, image, new CrashCapture(image, TargetLimits.Default), out IReadOnlyList<NamedFunction> functions) is { } wrong
            ? throw new LabException(wrong) : [.. functions.Select(NameOf)];
    }
}
