using System.Buffers.Binary;
using Panacea.Diagnosis;
using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Unwind;
using Panacea.Repair;
using Panacea.Sessions.Hangs;
using Panacea.Target;
using Panacea.Target.Qemu;

namespace Panacea.Sessions;

/// <summary>
/// The stop window of a task that sleeps for ever. A sleeping task can't be led elsewhere: it has to run. So the guest itself is made to wake it, by the kernel's own function, called where a CPU takes
/// its timer tick (from there kernels wake tasks all the time, and no lock of the scheduler is held); and it is stopped again where the task comes back from the scheduler, before it looks at its
/// lock once more.
/// </summary>
internal sealed partial class StopWindow
{
    /// <summary>kernel/time/timer.c, update_process_times(int user_tick): called by every tick. kernel/sched/core.c, wake_up_process(struct task_struct *p).</summary>
    private const string Tick = "update_process_times", Wake = "wake_up_process";

    /// <summary>How long it may take until a CPU ticks and the task runs, and how often it is woken.</summary>
    private static readonly TimeSpan WakePatience = TimeSpan.FromSeconds(8);
    private const int MaxWakes = 16;

    /// <summary>TASK_UNINTERRUPTIBLE and TASK_WAKING (include/linux/sched.h): the latter from its waking until its CPU has taken it on, which the waker does not wait for (ttwu_queue_wakelist).</summary>
    private const uint Uninterruptible = 2, Waking = 0x200;

    /// <summary>Functions that a task sleeps in; kernel/sched/core.c.</summary>
    private static readonly string[] Scheduler = ["__switch_to_asm", "__schedule", "schedule", "schedule_preempt_disabled", "io_schedule", "schedule_timeout"];

    /// <summary>Leads a stuck task out of its wait, or gives it what somebody who is gone has left locked. Throws nothing: what failed stands in the result.</summary>
    /// <param name="stuck">The task.</param>
    /// <param name="whyNot">Why a rung may not be used; null where it may.</param>
    /// <param name="seenTicks">When it was seen to be stuck.</param>
    /// <returns>Null where it has got on by itself, or the guest stopped for another reason meanwhile: the session finds it standing.</returns>
    public StopResult? HandleStuck(StuckTask stuck, Func<RepairKind, CrashEvidence, RungBar?> whyNot, long seenTicks)
    {
        _start = seenTicks;
        Mark("detected");
        var point = new DeathPoint(Hang.Point, stuck.Wait.Task, 0);
        IHeldGuest? guest = null;
        CrashEvidence? evidence = null;
        try
        {
            guest = target.Stop();
            if (guest.Reason != StopReason.Requested)
                return null;
            LinuxKernel live = kernel.Image.KernelOver(target.Memory);
            if (!IsStill(stuck, live))
            {
                Resume(guest);
                return null;
            }

            if (!TryFindResume(live, stuck.Wait.Task, out StackFrame resume) || !kernel.Image.TryFindSymbol(Tick, out ulong tick) || !kernel.Image.TryFindSymbol(Wake, out ulong wake))
            {
                _errors.Add($"where task {stuck.Task.Pid} ({stuck.Task.Comm}) is to go on can't be told");
                return End(guest, point, null, null, []);
            }

            ulong saved = live.Read(stuck.Wait.Task, "task_struct.thread.sp");
            guest = WakeAndMeet(guest, stuck.Wait.Task, saved, resume, tick, wake);
            if (guest is null)
                return null;
            if (guest.Reason != StopReason.Breakpoint || !IsAt(guest, resume))
            {
                _errors.Add($"task {stuck.Task.Pid} ({stuck.Task.Comm}) could not be made to run in time");
                return End(guest, point, null, null, []);
            }

            var hang = new Hang(CrashKind.HungTask, TimeSpan.Zero, stuck.Told) { Wait = stuck.Wait, IsOwnerGone = stuck.IsOwnerGone, HasCome = stuck.HasCome };
            evidence = kernel.Capture.CaptureHang(target.Memory, guest.ReadRegisters(guest.StoppedVcpu), hang, []);
            Mark("diagnosed");
            return Repair(guest, evidence, whyNot);
        }
        catch (Exception e)
        {
            return Failed(e, guest, point, evidence);
        }
    }

    /// <summary>Takes the first plan, for a guest that was made to stand where it can be helped. A copy would have to come there first, and has other devices: nothing is rehearsed.</summary>
    private StopResult Repair(IHeldGuest guest, CrashEvidence evidence, Func<RepairKind, CrashEvidence, RungBar?> whyNot)
    {
        RepairPlan? plan = Choose(evidence, whyNot, null, out IReadOnlyList<LadderVerdict> ladder);
        Guarded(() => kernel.Capture.TouchForReport(evidence));
        bool applied = plan is not null && Apply(guest, guest.StoppedVcpu, evidence, plan, evidence.Point);
        if (applied)
            Mark("applied");
        return End(guest, evidence.Point, evidence, applied ? plan : null, ladder);
    }

    /// <summary>It could not be helped: the guest goes on, with the death points armed alone.</summary>
    /// <returns>Null where QEMU is suspended or busy: nothing was done, and what it still has to do is the session's.</returns>
    private StopResult? Failed(Exception e, IHeldGuest? guest, DeathPoint point, CrashEvidence? evidence)
    {
        Fail(e);
        if (guest is { IsResumed: false })
            Resume(guest);
        if (_isLate && _lost is null)
            return null;
        Guarded(() => target.ArmBreakpoints(kernel.Addresses));
        Mark("resumed");
        return new StopResult { Point = point, StartedTicks = _start, Timeline = _timeline, Evidence = evidence, Errors = _errors, StoppedUs = _timeline[^1].AtUs, Stops = _stops, Lost = _lost };
    }

    /// <summary>Has the guest wake the task, and waits until it comes out of the scheduler.</summary>
    /// <returns>The guest, standing there, or after the patience is over anywhere; with the death points armed alone. Null where the task has got on by itself, or the guest stopped for another reason, which is
    /// the session's.</returns>
    private IHeldGuest? WakeAndMeet(IHeldGuest guest, ulong task, ulong saved, StackFrame resume, ulong tick, ulong wake)
    {
        long deadline = Environment.TickCount64 + (long)WakePatience.TotalMilliseconds;
        (ulong Sp, ulong Argument)? away = null;
        int wakes = 0;
        target.ArmBreakpoints([.. kernel.Addresses, tick, resume.Ip]);
        Resume(guest);
        while (_lost is null)
        {
            TimeSpan left = TimeSpan.FromMilliseconds(Math.Max(away is null ? 0 : 50, deadline - Environment.TickCount64));
            GuestWait wait = target.WaitForStop(left);
            if (wait.Kind == QemuWaitKind.Gone)
                return null;
            if (wait.Kind == QemuWaitKind.Woken)
                continue;
            guest = wait.Guest ?? target.Stop();

            // An operator's pause is not ended here.
            if (guest.Reason == StopReason.Other)
            {
                target.ArmBreakpoints(kernel.Addresses);
                return null;
            }

            bool isOver = Environment.TickCount64 >= deadline;
            VcpuRegisters at = guest.ReadRegisters(guest.StoppedVcpu);
            if (guest.Reason == StopReason.Breakpoint && at.Rip == tick && away is { } call && at.Gpr[Gpr.Rsp] == call.Sp)
            {
                // The waker has come back: the tick goes on with its own argument.
                guest.WriteRegister(guest.StoppedVcpu, WritableRegister.Rdi, call.Argument);
                away = null;
            }
            else if (guest.Reason == StopReason.Breakpoint && at.Rip == tick && away is null && !isOver && WaitOf(task, saved) is var state && state != TaskWait.OnItsWay)
            {
                // Nobody is woken who does not sleep there any more: what was his task_struct may be another's by now.
                if (state == TaskWait.Over)
                {
                    target.ArmBreakpoints(kernel.Addresses);
                    Resume(guest);
                    return null;
                }

                if (wakes++ < MaxWakes)
                {
                    away = (at.Gpr[Gpr.Rsp], at.Gpr[Gpr.Rdi]);
                    Call(guest, at, wake, task);
                }
            }

            // It is met even where the waker has not come back yet. That one comes back to the tick, which takes its time for a user's; whereas the task, let go, may not come by again: who waits for a mutex that he
            // has himself takes it at the first wake (__mutex_trylock_or_handoff, which finds the owner that it hoped for).
            else if (guest.Reason == StopReason.Breakpoint && IsAt(guest, resume))
            {
                target.ArmBreakpoints(kernel.Addresses);
                return guest;
            }
            else if (guest.Reason == StopReason.Breakpoint && kernel.PointAt(at.Rip) is not null)
            {
                target.ArmBreakpoints(kernel.Addresses);
                return null;
            }

            // Nobody is left on his way whose registers have to be put back, and the time is over.
            if (isOver && away is null)
            {
                target.ArmBreakpoints(kernel.Addresses);
                return guest;
            }

            Resume(guest);
        }

        return null;
    }

    /// <summary>The CPU goes to a function as if the one that it stands at the beginning of had been about to be called after it.</summary>
    private void Call(IHeldGuest guest, VcpuRegisters at, ulong function, ulong argument)
    {
        byte[] back = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(back, at.Rip);
        ulong slot = at.Gpr[Gpr.Rsp] - 8;
        AddressSpace space = kernel.Image.SpaceOver(target.Memory);
        if (!space.TryTranslate(new VirtualAddress(slot), out var page, out _) || !guest.TryWrite(page.Physical, back, out _))
            throw new TargetException("the stack of a CPU that ticks can't be written");
        guest.WriteRegister(at.Vcpu, WritableRegister.Rdi, argument);
        guest.WriteRegister(at.Vcpu, WritableRegister.Rsp, slot);
        guest.WriteRegister(at.Vcpu, WritableRegister.Rip, function);
    }

    private enum TaskWait
    {
        /// <summary>It sleeps where it slept.</summary>
        Asleep,

        /// <summary>It runs, or will.</summary>
        OnItsWay,

        /// <summary>It sleeps elsewhere, or is dead.</summary>
        Over,
    }

    private TaskWait WaitOf(ulong task, ulong saved)
    {
        LinuxKernel live = kernel.Image.KernelOver(target.Memory);
        ulong state = TaskDetails.RawStateOf(live, task);
        return TaskDetails.IsRunning(live, task) || state == 0 || (state & Waking) != 0 ? TaskWait.OnItsWay
            : (state & Uninterruptible) != 0 && live.Read(task, "task_struct.thread.sp") == saved ? TaskWait.Asleep : TaskWait.Over;
    }

    private static bool IsAt(IHeldGuest guest, StackFrame frame) =>
        guest.ReadRegisters(guest.StoppedVcpu) is var registers && registers.Rip == frame.Ip && registers.Gpr[Gpr.Rsp] == frame.Sp;

    private static bool IsStill(StuckTask stuck, LinuxKernel live) =>
        StuckWatch.SwitchesOf(live, stuck.Wait.Task) == stuck.Switches && !TaskDetails.IsRunning(live, stuck.Wait.Task) && TaskDetails.RawStateOf(live, stuck.Wait.Task) != 0;

    /// <summary>The first frame that is not the scheduler's.</summary>
    private bool TryFindResume(LinuxKernel live, ulong task, out StackFrame resume)
    {
        resume = null!;
        var backtraces = new TaskBacktraces(live, TargetLimits.Default, kernel.Capture.CodeMap);
        foreach (StackFrame frame in backtraces.Of(task).Trace.Frames)
        {
            if (frame.Reliability != FrameReliability.Exact || backtraces.Locate(frame)?.Name is not { } name)
                return false;
            if (Array.IndexOf(Scheduler, name) >= 0)
                continue;
            resume = frame;
            return true;
        }

        return false;
    }
}
