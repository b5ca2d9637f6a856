using System.Diagnostics;
using Panacea.Diagnosis;
using Panacea.Kernel;
using Panacea.Kernel.Code;
using Panacea.Kernel.Image;
using Panacea.Repair;
using Panacea.Repair.Journal;
using Panacea.Target;
using Panacea.Target.Qemu;

namespace Panacea.Sessions;

/// <summary>What was done while a guest stood still at a death point.</summary>
internal sealed record StopResult
{
    public required DeathPoint Point { get; init; }

    public required long StartedTicks { get; init; }

    public required IReadOnlyList<TimelineEntry> Timeline { get; init; }

    /// <summary>Null where reading it failed.</summary>
    public CrashEvidence? Evidence { get; init; }

    /// <summary>The repair that was applied; null where none was.</summary>
    public RepairPlan? Applied { get; init; }

    public IReadOnlyList<LadderVerdict> Ladder { get; init; } = [];

    public IReadOnlyList<JournalEntry> Journal { get; init; } = [];

    /// <summary>Errors inside Panacea.</summary>
    public IReadOnlyList<string> Errors { get; init; } = [];

    /// <summary>The stops it took: one, or two where a repair has a second step.</summary>
    public required IReadOnlyList<QemuStoppedGuest> Stops { get; init; }

    /// <summary>Microseconds by our own clock.</summary>
    public long StoppedUs { get; init; }
}

/// <summary>The stop window: read, decide, write, resume. Whatever fails, the guest goes on; where nothing was applied, to what it would have done alone.</summary>
/// <param name="target">The guest.</param>
/// <param name="kernel">What was armed.</param>
internal sealed class StopWindow(QemuTarget target, ArmedKernel kernel)
{
    private readonly List<TimelineEntry> _timeline = new(8);
    private static readonly TimeSpan SecondStep = TimeSpan.FromMilliseconds(500);
    private readonly List<string> _errors = [];
    private readonly List<QemuStoppedGuest> _stops = new(2);
    private long _start;

    /// <summary>Handles one death and resumes the guest.</summary>
    /// <param name="guest">The guest, standing at <paramref name="point"/>.</param>
    /// <param name="vcpu">The vCPU that stands there.</param>
    /// <param name="point">The death point.</param>
    /// <param name="allowed">The rungs that may be used.</param>
    /// <param name="detectedTicks">When the stop was seen (<see cref="Stopwatch"/>).</param>
    /// <exception cref="TargetException">QEMU does not answer: the guest may still stand, and the caller must let go of it.</exception>
    public StopResult Handle(QemuStoppedGuest guest, int vcpu, DeathPoint point, Func<RepairKind, CrashEvidence, bool> allowed, long detectedTicks)
    {
        _start = detectedTicks;
        Mark("detected");
        CrashEvidence? evidence = null;
        RepairPlan? applied = null;
        IReadOnlyList<LadderVerdict> ladder = [];
        IReadOnlyList<JournalEntry> journal = [];
        try
        {
            VcpuRegisters registers = guest.ReadRegisters(vcpu);
            DeathPoint live = Checked(point);
            evidence = kernel.Capture.Capture(target.Memory, registers, live, Mark);
            Mark("diagnosed");
            RepairPlan? plan = Ladder.Choose(evidence, allowed, out ladder);
            Mark("planned");
            kernel.Capture.TouchForReport(evidence);
            if (plan is not null)
            {
                (applied, journal) = Apply(guest, evidence, plan);
                Mark("applied");

                // Resume steps over a breakpoint that was just hit; a guest that was found standing at one has to be stepped here.
                if (live.EntryNopLength == 0 && live.Symbol == "oops_end" && guest.Reason != StopReason.Breakpoint)
                    guest.StepOver(vcpu);
            }
        }
        catch (Exception e) when (e is not TargetException)
        {
            // A bug of ours or a guest that lies: either way the guest must go on.
            _errors.Add($"{e.GetType().Name}: {e.Message}");
        }

        if (applied is null)
            PassBy(guest, vcpu, point);
        if (applied?.Continuation is { } next)
            target.ArmBreakpoints([.. kernel.Addresses, next.Address]);
        evidence?.Memory.Seal();
        guest.Resume();
        _stops.Add(guest);
        if (applied?.Continuation is { } continuation)
        {
            (bool reached, IReadOnlyList<JournalEntry> more) = Continue(continuation);
            journal = [.. journal, .. more];
            if (!reached)
                applied = null;
        }

        Mark("resumed");
        return new StopResult
        {
            Point = point, StartedTicks = _start, Timeline = _timeline, Evidence = evidence, Applied = applied, Ladder = ladder, Journal = journal, Errors = _errors,
            StoppedUs = _timeline[^1].AtUs, Stops = _stops,
        };
    }

    /// <summary>The second step of a repair. Where it is not reached in time, the guest goes on as the first step left it, and the incident says so.</summary>
    private (bool Reached, IReadOnlyList<JournalEntry> Journal) Continue(PlannedContinuation next)
    {
        bool reached = false;
        IReadOnlyList<JournalEntry> entries = [];
        long deadline = Environment.TickCount64 + (long)SecondStep.TotalMilliseconds;
        while (true)
        {
            TimeSpan left = TimeSpan.FromMilliseconds(Math.Max(0, deadline - Environment.TickCount64));
            QemuWait wait = target.WaitForStop(left);
            if (wait.Kind == QemuWaitKind.Gone)
                return (false, entries);
            if (wait.Kind == QemuWaitKind.Woken && left > TimeSpan.Zero)
                continue;
            QemuStoppedGuest guest = wait.Guest ?? target.Stop();
            VcpuRegisters registers = guest.ReadRegisters(next.Vcpu);
            bool isHere = guest.Reason == StopReason.Breakpoint && registers.Rip == next.Address && registers.Gpr[Gpr.Rsp] == next.StackPointer;
            bool isStray = !isHere && guest.Reason == StopReason.Breakpoint && guest.ReadRegisters(guest.StoppedVcpu).Rip == next.Address;
            if (isStray)
            {
                guest.Resume();
                continue;
            }

            if (isHere)
            {
                var journal = new RepairJournal(guest, kernel.Image.SpaceOver(target.Memory));
                try
                {
                    journal.Apply(new RepairPlan { Kind = RepairKind.None, Explanation = "", Writes = [], Registers = next.Registers, Lost = [], Risks = [] });
                    reached = true;
                    entries = journal.Entries;
                }
                catch (JournalException e)
                {
                    _errors.Add(e.Message);
                }
            }
            else
            {
                _errors.Add("the second step of the repair was not reached in time: the process was left to the trap handler, which sends it a signal");
            }

            target.ArmBreakpoints(kernel.Addresses);

            // Another death point that was hit meanwhile stays hit: the session finds the guest standing there.
            if (isHere || guest.Reason != StopReason.Breakpoint)
                guest.Resume();
            _stops.Add(guest);
            return (reached, entries);
        }
    }

    private (RepairPlan?, IReadOnlyList<JournalEntry>) Apply(QemuStoppedGuest guest, CrashEvidence evidence, RepairPlan plan)
    {
        // Over live memory, not over the capture: what is read back must be what is there.
        var journal = new RepairJournal(guest, evidence.Kernel.Space.Over(target.Memory));
        try
        {
            journal.Apply(plan);
            return (plan, journal.Entries);
        }
        catch (JournalException e)
        {
            _errors.Add(e.IsUndone ? e.Message : $"{e.Message}; not everything could be put back");
            return (null, journal.Entries);
        }
    }

    /// <summary>The point as it is now: a NOP at its entry may have been patched since (ftrace, kprobes).</summary>
    private DeathPoint Checked(DeathPoint point)
    {
        Span<byte> code = stackalloc byte[16];
        AddressSpace space = kernel.Image.SpaceOver(target.Memory);
        int length = space.TryRead(new VirtualAddress(point.Address), code, out _) && Nops.TryLengthOfLeadingNop(code, out int nop) ? nop : 0;
        return point with { EntryNopLength = length };
    }

    /// <summary>Lets the kernel go on dying: past the NOP at the breakpoint where there is one, which saves a single step.</summary>
    private void PassBy(QemuStoppedGuest guest, int vcpu, DeathPoint point)
    {
        DeathPoint now = Checked(point);
        if (now.EntryNopLength > 0)
            guest.WriteRegister(vcpu, WritableRegister.Rip, now.Address + (ulong)now.EntryNopLength);
        else if (vcpu != guest.StoppedVcpu || guest.Reason != StopReason.Breakpoint)
            guest.StepOver(vcpu);
    }

    private void Mark(string step) => _timeline.Add(new TimelineEntry(step, (long)Stopwatch.GetElapsedTime(_start).TotalMicroseconds));
}
