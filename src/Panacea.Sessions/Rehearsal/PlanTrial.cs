using System.Diagnostics;
using Panacea.Diagnosis;
using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Repair;
using Panacea.Target;
using Panacea.Target.Qemu;

namespace Panacea.Sessions.Rehearsal;

/// <summary>Carries a plan through on a copy of the crashed machine, lets the copy run for a moment, and looks at it from outside: does it die again, do its CPUs take their ticks, does anybody wait for a lock that nobody
/// will give back?</summary>
/// <param name="kernel">What was armed.</param>
/// <param name="limits">Ceilings.</param>
internal sealed class PlanTrial(ArmedKernel kernel, TargetLimits limits)
{
    /// <summary>For how long a copy has to live, and how long it may take to show that it does.</summary>
    private static readonly TimeSpan Window = TimeSpan.FromMilliseconds(80), Longest = TimeSpan.FromMilliseconds(600), Step = TimeSpan.FromMilliseconds(10);

    /// <summary>Memory that a copy may write: one that writes more takes it from the host's other guests.</summary>
    private const long MaxOwnMemory = 512L << 20;

    /// <summary>Tasks that are looked at for what they wait for.</summary>
    private const int MaxTasks = 4096;

    private static readonly Lock One = new();

    /// <summary>Tries a plan.</summary>
    /// <param name="clone">The copy, standing where the guest stands.</param>
    /// <param name="evidence">The crash.</param>
    /// <param name="point">The death point.</param>
    /// <param name="plan">The plan.</param>
    /// <param name="deadline">When it has to be known (<see cref="Stopwatch"/>).</param>
    /// <returns>The verdict, and what was seen.</returns>
    public (TrialVerdict Verdict, IReadOnlyList<string> Seen) Run(IGuestClone clone, CrashEvidence evidence, DeathPoint point, RepairPlan plan, long deadline)
    {
        IGuestControl guest = clone.Guest;
        if (guest.Stopped is not { } held)
            return (TrialVerdict.Unknown, ["the copy does not stand where the guest stands"]);
        guest.ArmBreakpoints(kernel.Addresses);
        Silence(held, guest.Memory);
        ulong? before = SwitchesOf(guest, evidence.Cpu);
        StopResult stop = new StopWindow(guest, kernel).Carry(held, evidence, point, plan);
        if (stop.Lost is { } lost)
            return (TrialVerdict.Unknown, [lost.Message]);
        if (stop.Applied is null)
            return (TrialVerdict.Dies, [.. stop.Errors.DefaultIfEmpty("it could not be carried through")]);
        var watch = new HealthWatch(kernel.Image, guest.Memory, guest.VcpuCount, null, limits);
        long started = Stopwatch.GetTimestamp();
        while (true)
        {
            GuestWait wait = guest.WaitForStop(Step);
            if (wait.Kind == QemuWaitKind.Gone)
                return (TrialVerdict.Dies, ["the copy's QEMU has ended"]);
            if (wait.Guest is { } again)
                return Death(again, evidence);
            if (clone.OwnMemory > MaxOwnMemory)
                return (TrialVerdict.Unknown, [$"the copy has written more than {MaxOwnMemory >> 20} MiB"]);
            HealthResult health = watch.Look();
            TimeSpan lived = Stopwatch.GetElapsedTime(started);
            bool isLate = lived > Longest || Stopwatch.GetTimestamp() > deadline;

            // The kernel is not done with the crash as soon as it goes on. Where the CPU has run something else since, what was repaired has come to an end, or sleeps.
            bool hasGotOn = before is null || SwitchesOf(guest, evidence.Cpu) != before;
            if (lived >= Window && health.Verified && (hasGotOn || (isLate && IsInUserMode(guest, evidence.Vcpu.Vcpu))))
                return Waiting(guest) is { Count: > 0 } waiting ? (TrialVerdict.Stands, waiting) : (TrialVerdict.Lives, health.Evidence);
            if (isLate && health.Verified)
                return (TrialVerdict.Unknown, [.. health.Evidence, $"CPU {evidence.Cpu} of the copy had not got on from what was repaired"]);
            if (isLate)
                return (lived >= Window ? TrialVerdict.Stands : TrialVerdict.Unknown, health.Evidence);
        }
    }

    /// <summary>What a copy writes to its console nobody reads, and an emulated serial port takes longer than all else: console_loglevel is 0, which an oops leaves as it is (include/linux/printk.h,
    /// console_verbose).</summary>
    private void Silence(IHeldGuest held, IGuestMemory memory)
    {
        if (kernel.Image.TryFindSymbol("console_printk", out ulong level) && kernel.Image.SpaceOver(memory).TryTranslate(new VirtualAddress(level), out var page, out _))
            held.TryWrite(page.Physical, new byte[4], out _);
    }

    private ulong? SwitchesOf(IGuestControl guest, int? cpu)
    {
        try
        {
            return cpu is { } number ? CpuProgress.Read(kernel.Image.KernelOver(guest.Memory), number).Switches : null;
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException or OverflowException)
        {
            return null;
        }
    }

    /// <summary>It runs a program, and has nothing else to run.</summary>
    private static bool IsInUserMode(IGuestControl guest, int vcpu) => guest.Stop().ReadRegisters(vcpu).IsUserMode;

    /// <summary>The copy has come to a death point. Another CPU and task than the ones that were repaired may have been on its way there all the time, whatever is done for this one: that says nothing of the plan.</summary>
    private (TrialVerdict Verdict, IReadOnlyList<string> Seen) Death(IHeldGuest guest, CrashEvidence repaired)
    {
        VcpuRegisters registers = guest.ReadRegisters(guest.StoppedVcpu);
        string at = $"at {kernel.PointAt(registers.Rip)?.Symbol ?? kernel.Image.Symbolize(registers.Rip)?.ToString() ?? $"0x{registers.Rip:x}"}";
        try
        {
            // Several trials may run at once; what they share of the kernel is for one thread.
            using Lock.Scope one = One.EnterScope();
            CrashEvidence? evidence = kernel.PointAt(registers.Rip) is { } point ? kernel.Capture.Capture(guest.Memory, registers, point) : null;
            if (evidence?.Faulty is { } faulty && evidence.LocationOf(faulty) is { } location)
                at = $"in {location} ({at[3..]})";
            if (evidence?.Cpu is { } cpu && cpu != repaired.Cpu && !(evidence.IsTasksOwn && repaired.IsTasksOwn && evidence.Task?.Address == repaired.Task?.Address))
                return (TrialVerdict.Unknown, [$"CPU {cpu} of the copy dies, {at}, which was not repaired"]);
        }
        catch (Exception e) when (e is CaptureException or GuestMemoryException or KernelShapeException or OverflowException)
        {
            // That it died again is what counts.
        }

        return (TrialVerdict.Dies, [$"the copy dies again, {at}"]);
    }

    /// <summary>CPUs that spin for a lock that nobody can hold, and tasks that wait in a ring or for somebody who is gone.</summary>
    private List<string> Waiting(IGuestControl guest)
    {
        var found = new List<string>();
        IHeldGuest held = guest.Stop();
        try
        {
            using Lock.Scope one = One.EnterScope();
            LinuxKernel live = kernel.Image.KernelOver(guest.Memory);
            IReadOnlyList<SpinningCpu> spinning = new SpinningCpus(live, limits, kernel.Capture.CodeMap).Find(held.ReadAllRegisters());
            found.AddRange(spinning.Where(s => s is { IsSure: true, State.IsLocked: true } && s.PossibleHolders.All(cpu => spinning.Any(o => o.Cpu == cpu)))
                .Select(s => $"CPU {s.Cpu} of the copy spins for {s.Symbol?.ToString() ?? $"the lock 0x{s.Lock:x}"}, which nobody gives back"));
            List<LinuxTask> tasks = Tasks.Enumerate(live, limits);
            if (tasks.Count <= MaxTasks)
            {
                found.AddRange(WaitGraph.Build(live, tasks, new TaskBacktraces(live, limits, kernel.Capture.CodeMap), limits).Chains
                    .Where(c => c.End is ChainEnd.OwnerGone or ChainEnd.Deadlock).Select(c => $"{c.Links.Count} {(c.Links.Count == 1 ? "task" : "tasks")} of the copy wait{(c.Links.Count == 1 ? "s" : "")} for ever for a lock ({c.End})"));
            }
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException or OverflowException)
        {
            // What does not fit together says nothing.
        }

        return found;
    }
}
