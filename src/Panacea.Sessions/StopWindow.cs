using System.Buffers.Binary;
using System.Diagnostics;
using Panacea.Diagnosis;
using Panacea.Kernel;
using Panacea.Kernel.Code;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Repair;
using Panacea.Repair.Journal;
using Panacea.Sessions.Policy;
using Panacea.Sessions.Rehearsal;
using Panacea.Target;
using Panacea.Target.Qemu;
using Panacea.Target.Qemu.Gdb;

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

    /// <summary>The fuse that was set with the repair, whatever came of that; null where none was.</summary>
    public Fuse? Fuse { get; init; }

    /// <summary>What was done instead of a repair; null where nothing was asked for, or a repair was applied.</summary>
    public FallbackResult? Fallback { get; init; }

    /// <summary>What came of trying plans on copies first; null where none was tried.</summary>
    public RehearsalRecord? Rehearsal { get; init; }

    /// <summary>Errors inside Panacea.</summary>
    public IReadOnlyList<string> Errors { get; init; } = [];

    /// <summary>The stops it took: one, one more for each further step of the repair, and one where another vCPU died meanwhile, which is then held while the first runs on: that counts as running.</summary>
    public required IReadOnlyList<IHeldGuest> Stops { get; init; }

    /// <summary>QEMU stopped answering: the guest may still stand, and the caller must let go of it. Null in the usual case.</summary>
    public TargetException? Lost { get; init; }

    /// <summary>Microseconds by our own clock.</summary>
    public long StoppedUs { get; init; }
}

/// <summary>The stop window: read, decide, write, resume. Whatever fails, the guest goes on; where nothing was applied, to what it would have done alone.</summary>
/// <param name="target">The guest.</param>
/// <param name="kernel">What was armed.</param>
internal sealed partial class StopWindow(IGuestControl target, ArmedKernel kernel)
{
    /// <summary>Called where no repair was applied, while the guest stands: what is done instead. Null, or a result of null, for leaving it to its panic.</summary>
    public Func<IHeldGuest, CrashEvidence?, FallbackResult?>? Declined { get; init; }

    /// <summary>How often the guest was repaired of late after it had come to the same place in the same way.</summary>
    public Func<CrashEvidence, int>? EarlierRepairs { get; init; }

    /// <summary>Ranges of code that count as what the kernel was built with; see <see cref="CrashEvidence.Injected"/>.</summary>
    public IReadOnlyList<(ulong Start, int Length)> Injected { get; init; } = [];

    /// <summary>Called with the plan that was chosen, while the guest stands: it may do more than the ladder says.</summary>
    public Func<RepairPlan, CrashEvidence, RepairPlan>? Refine { get; init; }

    /// <summary>Tries plans on copies of the guest before one is applied; null for taking the first.</summary>
    public Rehearser? Rehearser { get; init; }

    /// <summary>PREEMPT_NEED_RESCHED (arch/x86/include/asm/preempt.h).</summary>
    private const uint NeedResched = 0x8000_0000;

    private readonly List<TimelineEntry> _timeline = new(8);

    /// <summary>Other activations that are let through while a step is waited for that the repair holds without: a stop each.</summary>
    private const int MaxOthers = 16;

    /// <summary>How long a further step of a repair is waited for. The guest runs meanwhile, and on a host that has too much to do a vCPU may not get to run for a while.</summary>
    private static readonly TimeSpan StepPatience = TimeSpan.FromSeconds(3), OptionalPatience = TimeSpan.FromMilliseconds(250);

    /// <summary>How long a vCPU may take to its step while another one is held, which it may have to wait for.</summary>
    private static readonly TimeSpan AlonePatience = TimeSpan.FromMilliseconds(100);

    private readonly List<string> _errors = [];
    private readonly List<IHeldGuest> _stops = new(2);
    private IReadOnlyList<JournalEntry> _journal = [];
    private RehearsalRecord? _rehearsal;
    private TargetException? _lost;

    /// <summary>QEMU has been asked for a stop, and is suspended or busy: the session finds the guest standing some time, arms the death points alone and lets it go.</summary>
    private bool _isLate;
    private long _start;

    /// <summary>The vCPU of a crash that is led on in steps; -1 where it may be any.</summary>
    private int _vcpu = -1;

    /// <summary>Handles one death and resumes the guest. Throws nothing: what failed stands in the result.</summary>
    /// <param name="guest">The guest, standing at <paramref name="point"/>.</param>
    /// <param name="vcpu">The vCPU that stands there.</param>
    /// <param name="point">The death point.</param>
    /// <param name="bars">The rungs that may not be used, and why.</param>
    /// <param name="detectedTicks">When the stop was seen (<see cref="Stopwatch"/>).</param>
    public StopResult Handle(IHeldGuest guest, int vcpu, DeathPoint point, Func<RepairKind, CrashEvidence, RungBar?> bars, long detectedTicks)
    {
        _start = detectedTicks;
        Mark("detected");
        CrashEvidence? evidence = null;
        RepairPlan? applied = null;
        IReadOnlyList<LadderVerdict> ladder = [];
        try
        {
            VcpuRegisters registers = guest.ReadRegisters(vcpu);
            DeathPoint live = Checked(point);
            evidence = kernel.Capture.Capture(target.Memory, registers, live, Mark);
            Mark("diagnosed");
            evidence = WithInterruptInService(WithEarlierRepairs(evidence));
            RepairPlan? plan = Choose(evidence, bars, live, out ladder);
            Guarded(() => kernel.Capture.TouchForReport(evidence));
            if (plan is not null && Apply(guest, vcpu, evidence, plan, live))
            {
                applied = plan;
                Mark("applied");
            }
        }
        catch (Exception e)
        {
            // A bug of ours, a guest that lies, or a QEMU that does not answer: in any case the guest must go on.
            Fail(e);
        }

        FallbackResult? fallback = null;
        if (applied is null)
        {
            if (_lost is null)
                Guarded(() => fallback = Declined?.Invoke(guest, evidence));
            if (fallback is null or { Action: FallbackAction.Leave })
                Guarded(() => PassBy(guest, vcpu, point));
        }

        return End(guest, point, evidence, applied, ladder, fallback);
    }

    private CrashEvidence WithEarlierRepairs(CrashEvidence evidence)
    {
        int earlier = 0;
        Guarded(() => earlier = EarlierRepairs?.Invoke(evidence) ?? 0);
        return earlier == 0 && Injected.Count == 0 ? evidence : evidence with { EarlierRepairs = earlier, Injected = Injected };
    }

    /// <summary>What could not be delivered is what a double fault may be of.</summary>
    private CrashEvidence WithInterruptInService(CrashEvidence evidence)
    {
        int? vector = null;
        if (evidence is { IsDoubleFault: true, IsGuardHit: false })
            Guarded(() => vector = MonitorApic.InService(target.HumanMonitor($"info lapic {evidence.Vcpu.Vcpu}"), evidence.Vcpu.Vcpu));
        return vector is null ? evidence : evidence with { InService = vector };
    }

    /// <param name="evidence">The crash.</param>
    /// <param name="bars">The rungs that may not be used, and why.</param>
    /// <param name="live">Where the guest stands; null where no copy could go on from there.</param>
    /// <param name="ladder">What each rung said.</param>
    private RepairPlan? Choose(CrashEvidence evidence, Func<RepairKind, CrashEvidence, RungBar?> bars, DeathPoint? live, out IReadOnlyList<LadderVerdict> ladder)
    {
        var climb = new LadderClimb(evidence, bars);
        RepairPlan? plan = Next();
        ladder = climb.Said;
        Mark("planned");
        if (plan is null || live is null || Rehearser?.Why(evidence, plan) is not { } why)
            return plan;
        RehearsalResult? result = null;
        RepairPlan first = plan;
        Guarded(() => result = Rehearser.Run(why, evidence, live, first, climb.Said, () => (Next(), climb.Said)));
        Mark("rehearsed");
        if (result is null)
            return plan;
        (_rehearsal, ladder) = (result.Record, result.Ladder);
        return result.Plan;

        RepairPlan? Next()
        {
            if (climb.Next() is not { } next)
                return null;
            RepairPlan refined = next;
            Guarded(() => refined = Refine?.Invoke(next, evidence) ?? next);
            if (!ReferenceEquals(refined, next))
                climb.Refine(refined);
            return refined;
        }
    }

    /// <summary>Carries a plan through on a guest that stands at its death point, and lets it run. Where it can't be, the guest stands.</summary>
    /// <param name="guest">The guest: a copy, whose memory the evidence is not of.</param>
    /// <param name="evidence">The crash.</param>
    /// <param name="point">The death point, as it is now.</param>
    /// <param name="plan">The plan.</param>
    public StopResult Carry(IHeldGuest guest, CrashEvidence evidence, DeathPoint point, RepairPlan plan)
    {
        _start = Stopwatch.GetTimestamp();
        return Apply(guest, evidence.Vcpu.Vcpu, evidence, plan, point)
            ? End(guest, point, null, plan, [])
            : new StopResult { Point = point, StartedTicks = _start, Timeline = _timeline, Errors = _errors, Stops = _stops, Lost = _lost };
    }

    /// <summary>Lets the guest go on, takes the further steps of the repair, and says what was done.</summary>
    private StopResult End(IHeldGuest guest, DeathPoint point, CrashEvidence? evidence, RepairPlan? applied, IReadOnlyList<LadderVerdict> ladder, FallbackResult? fallback = null)
    {
        evidence?.Memory.Seal();
        Fuse? fuse = applied?.Fuse;
        if (fallback is { Action: FallbackAction.KeepStopped })
            _stops.Add(guest);
        else
            Resume(guest);
        if (applied is { Continuations.Count: > 0 } && _lost is null && !Continue(applied.Continuations))
            applied = null;
        Mark(fallback is { Action: FallbackAction.KeepStopped } ? "kept-stopped" : "resumed");
        return new StopResult
        {
            Point = point, StartedTicks = _start, Timeline = _timeline, Evidence = evidence, Applied = applied, Ladder = ladder, Journal = _journal, Errors = _errors, Fallback = fallback, Fuse = fuse,
            Rehearsal = _rehearsal, StoppedUs = _timeline[^1].AtUs, Stops = _stops, Lost = _lost,
        };
    }

    /// <summary>Resuming is the one thing that must work: where it does not, the caller lets go of the VM, which resumes it by every other way there is.</summary>
    /// <param name="guest">The guest.</param>
    /// <param name="only">The vCPU that runs alone; -1 for all.</param>
    private void Resume(IHeldGuest guest, int only = -1)
    {
        _stops.Add(guest);
        if (!Guarded(only < 0 ? guest.Resume : () => guest.ResumeOnly(only)))
            _lost ??= new TargetException($"the guest could not be resumed: {_errors[^1]}");
    }

    private bool Guarded(Action step)
    {
        try
        {
            step();
            return true;
        }
        catch (Exception e)
        {
            Fail(e);
            return false;
        }
    }

    private void Fail(Exception e)
    {
        _errors.Add(e is TargetException or JournalException or CaptureException ? e.Message : $"{e.GetType().Name}: {e.Message}");
        _isLate |= e is GdbException { Kind: GdbFailure.Late };
        if ((e as GdbException ?? e.InnerException as GdbException) is { Kind: not (GdbFailure.Refused or GdbFailure.Late) } broken)
            _lost ??= broken;
    }

    /// <summary>The further steps of a repair. Where one is not reached in time, the guest goes on as the step before it left it, and the incident says so.</summary>
    /// <returns>True where all were reached and taken.</returns>
    private bool Continue(IReadOnlyList<PlannedContinuation> steps)
    {
        bool reached = true;
        for (int i = 0; i < steps.Count && reached; i++)
        {
            PlannedContinuation? after = i + 1 < steps.Count ? steps[i + 1] : null;
            reached = Continue(steps[i], after);
        }

        return reached;
    }

    /// <param name="next">The step.</param>
    /// <param name="after">The one after it, whose breakpoint is set before the guest goes on; null after the last.</param>
    private bool Continue(PlannedContinuation next, PlannedContinuation? after)
    {
        bool reached = false;
        StepPlace place = StepPlace.Elsewhere;
        IHeldGuest? guest = null;
        if (!Guarded(() => guest = WaitFor(next)))
            (guest, place) = (target.Stopped, StepPlace.Unknown);
        else if (guest is not null && !Guarded(() => place = PlaceOf(guest, next)))
            place = StepPlace.Unknown;
        else if (guest is not null && place == StepPlace.There)
            reached = Guarded(() => Take(guest, next));
        else
            _errors.Add($"{next.Why} was not reached in time: the process was left to go on from there by itself");
        if (target.IsGone || _lost is not null)
            return false;

        reached |= next.IsOptional;

        // A breakpoint that nobody answers for would hold the guest the next time that anybody comes by.
        if (!Guarded(() => target.ArmBreakpoints(reached && after is not null ? [.. kernel.Addresses, after.Address] : kernel.Addresses)))
            _lost ??= _isLate ? null : new TargetException($"a repair step's breakpoint could not be removed: {_errors[^1]}");

        // Another death point that was hit meanwhile stays hit: the session finds the guest standing there.
        if (guest is null || guest.IsResumed || (place == StepPlace.Elsewhere && guest.Reason == StopReason.Breakpoint))
            return reached;
        Resume(guest);
        return reached && _lost is null;
    }

    /// <summary>Waits until the guest stands: where the step is to be taken, at another death point, or because the time is over. A step that the repair holds without is not worth many stops: a place that everybody
    /// comes by would hold up the whole guest.</summary>
    private IHeldGuest? WaitFor(PlannedContinuation next)
    {
        long deadline = Environment.TickCount64 + (long)(next.IsOptional ? OptionalPatience : StepPatience).TotalMilliseconds;
        bool isAlone = false;
        for (int others = 0; ;)
        {
            TimeSpan left = TimeSpan.FromMilliseconds(Math.Max(0, deadline - Environment.TickCount64));
            GuestWait wait = target.WaitForStop(left);
            if (wait.Kind == QemuWaitKind.Gone)
                return null;
            if (wait.Kind == QemuWaitKind.Woken && left > TimeSpan.Zero)
                continue;
            IHeldGuest guest = wait.Guest ?? target.Stop();
            if (!isAlone && !next.IsOptional && left > TimeSpan.Zero && IsAnotherDeath(guest))
            {
                // It has to wait until this one is through, or it would have nothing of its repair: the same mistake often takes several CPUs at once.
                isAlone = true;
                deadline = Environment.TickCount64 + (long)AlonePatience.TotalMilliseconds;
                Resume(guest, _vcpu);
            }
            else if (PlaceOf(guest, next) != StepPlace.OtherActivation || left == TimeSpan.Zero || (next.IsOptional && ++others > MaxOthers))
            {
                return guest;
            }
            else
            {
                Resume(guest, isAlone ? _vcpu : -1);
            }

            if (_lost is { } lost)
                throw lost;
        }
    }

    /// <summary>Another vCPU has come to a death point while the one that is led on has not come to its step.</summary>
    private bool IsAnotherDeath(IHeldGuest guest) => _vcpu >= 0 && guest.Reason == StopReason.Breakpoint && guest.StoppedVcpu != _vcpu && kernel.PointAt(guest.ReadRegisters(guest.StoppedVcpu).Rip) is not null;

    /// <summary>Where a guest stands that a step is waited for in.</summary>
    private enum StepPlace
    {
        /// <summary>It could not be told.</summary>
        Unknown,

        /// <summary>Where the step is to be taken.</summary>
        There,

        /// <summary>At that address, for another task, or for somebody who has interrupted this one.</summary>
        OtherActivation,

        /// <summary>At another death point, or stopped for another reason.</summary>
        Elsewhere,
    }

    private static StepPlace PlaceOf(IHeldGuest guest, PlannedContinuation next)
    {
        if (guest.Reason != StopReason.Breakpoint)
            return StepPlace.Elsewhere;
        VcpuRegisters registers = guest.ReadRegisters(guest.StoppedVcpu);
        return registers.Rip != next.Address ? StepPlace.Elsewhere : registers.Gpr[Gpr.Rsp] == next.StackPointer ? StepPlace.There : StepPlace.OtherActivation;
    }

    private void Take(IHeldGuest guest, PlannedContinuation next)
    {
        var journal = new RepairJournal(guest, kernel.Image.SpaceOver(target.Memory));
        int vcpu = guest.StoppedVcpu;
        IReadOnlyList<PlannedWrite> writes = next.Writes;
        if (next.PreemptCount is { } count)
        {
            LinuxKernel live = kernel.Image.KernelOver(target.Memory);
            int cpu = PerCpu.CpuOf(live, guest.ReadRegisters(vcpu)) ?? throw new CaptureException("which CPU the task woke up on can't be told");
            ulong at = PerCpu.PreemptCountAddress(live, cpu);
            byte[] word = new byte[4];
            BinaryPrimitives.WriteUInt32LittleEndian(word, (live.Space.ReadUInt32(new VirtualAddress(at), "preempt count") & NeedResched) | count);
            writes = [.. writes, new PlannedWrite(new VirtualAddress(at), word, "preempt count")];
        }

        journal.Apply(new RepairPlan
        {
            Kind = RepairKind.None, Explanation = "", Writes = writes, Registers = [.. next.Registers.Select(r => r with { Vcpu = vcpu })], Lost = [], Risks = [],
        });
        _journal = [.. _journal, .. journal.Entries];
    }

    /// <summary>Writes the plan and prepares its second step. Where any of it fails, what was written is put back.</summary>
    private bool Apply(IHeldGuest guest, int vcpu, CrashEvidence evidence, RepairPlan plan, DeathPoint live)
    {
        _vcpu = evidence.Hang is null ? vcpu : -1;

        // Over live memory, not over the capture: what is read back must be what is there.
        var journal = new RepairJournal(guest, evidence.Kernel.Space.Over(target.Memory));
        bool done = Guarded(() =>
        {
            journal.Apply(plan);

            // Resume steps over a breakpoint that was just hit; a guest that was found standing at one has to be stepped here.
            if (live.EntryNopLength == 0 && live.Symbol == "oops_end" && guest.Reason != StopReason.Breakpoint)
                guest.StepOver(vcpu);
            if (plan.Continuations is [{ } next, ..])
                target.ArmBreakpoints([.. kernel.Addresses, next.Address]);
        });
        if (!done && !journal.Undo())
            _errors.Add("not everything that had been written could be put back");
        _journal = journal.Entries;
        return done;
    }

    /// <summary>The point as it is now: a NOP at its entry may have been patched since (ftrace, kprobes).</summary>
    private DeathPoint Checked(DeathPoint point)
    {
        Span<byte> code = stackalloc byte[16];
        AddressSpace space = kernel.Image.SpaceOver(target.Memory);
        int length = space.TryRead(new VirtualAddress(point.Address), code, out _) && Nops.TryLengthOfLeadingNop(code, out int nop) ? nop : 0;
        return point with { EntryNopLength = length };
    }

    /// <summary>Lets the kernel go on dying: past the NOP at the breakpoint where there is one, which saves a single step. RIP may have been written and put back, after which
    /// resuming does not step by itself.</summary>
    private void PassBy(IHeldGuest guest, int vcpu, DeathPoint point)
    {
        DeathPoint now = Checked(point);
        if (now.EntryNopLength > 0)
            guest.WriteRegister(vcpu, WritableRegister.Rip, now.Address + (ulong)now.EntryNopLength);
        else
            guest.StepOver(vcpu);
    }

    private void Mark(string step) => _timeline.Add(new TimelineEntry(step, (long)Stopwatch.GetElapsedTime(_start).TotalMicroseconds));
}
