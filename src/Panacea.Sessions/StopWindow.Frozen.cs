using Panacea.Kernel;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Unwind;
using Panacea.Target;
using Panacea.Target.Qemu;

namespace Panacea.Sessions;

/// <summary>The end of a task that was frozen: it is woken as one that is stuck, and goes the kernel's own exit path instead of back to sleep.</summary>
internal sealed partial class StopWindow
{
    private const ulong Sigkill = 9;

    /// <summary>Where a dying task is sent: from any stack (arch/x86/entry/entry_64.S); the name was changed in 5.17 (commit 0e25498f8cd4, "exit: Add and use make_task_dead.").</summary>
    private static readonly string[] ExitPaths = ["rewind_stack_and_make_dead", "rewind_stack_do_exit"];

    /// <summary>Ends a frozen task. What it held was given back when it was frozen.</summary>
    /// <param name="task">The task.</param>
    /// <param name="stoppedUs">Microseconds for which the guest stood still for it.</param>
    /// <returns>What was wrong; null where nothing was. The guest runs in either case, or stands for another reason, which is the session's.</returns>
    public string? KillFrozen(LinuxTask task, out long stoppedUs)
    {
        stoppedUs = 0;
        _start = System.Diagnostics.Stopwatch.GetTimestamp();
        string? path = Array.Find(ExitPaths, name => kernel.Image.TryFindSymbol(name, out _));
        if (path is null || !kernel.Image.TryFindSymbol(path, out ulong exit) || !kernel.Image.TryFindSymbol(Tick, out ulong tick) || !kernel.Image.TryFindSymbol(Wake, out ulong wake))
            return "this kernel has none of the exit paths that Panacea knows";
        IHeldGuest? guest = null;
        bool ended = false;
        try
        {
            guest = target.Stop();
            if (guest.Reason != StopReason.Requested)
                return "the guest has just stopped for another reason; try again";
            LinuxKernel live = kernel.Image.KernelOver(target.Memory);
            if (!TryFindResume(live, task.Address, out StackFrame resume))
            {
                Resume(guest);
                return $"where task {task.Pid} ({task.Comm}) sleeps can't be told";
            }

            guest = WakeAndMeet(guest, task.Address, live.Read(task.Address, "task_struct.thread.sp"), resume, tick, wake);
            if (guest is null)
                return "the guest stopped for another reason meanwhile, or the task has got on by itself; try again";
            if (guest.Reason == StopReason.Breakpoint && IsAt(guest, resume))
            {
                int vcpu = guest.StoppedVcpu;
                guest.WriteRegister(vcpu, WritableRegister.Rdi, Sigkill);
                guest.WriteRegister(vcpu, WritableRegister.Rbp, 0);
                guest.WriteRegister(vcpu, WritableRegister.Rsp, (resume.Sp & ~15UL) - 8);
                guest.WriteRegister(vcpu, WritableRegister.Rip, exit);
                ended = true;
            }

            Resume(guest);
        }
        catch (Exception e)
        {
            Fail(e);
            if (guest is { IsResumed: false })
                Resume(guest);
            Guarded(() => target.ArmBreakpoints(kernel.Addresses));
        }

        foreach (IHeldGuest stop in _stops)
            stoppedUs += target.TryMeasureStop(stop, TimeSpan.FromMilliseconds(200), out long us) ? us : 0;
        return _lost is { } lost ? throw lost : _errors.Count > 0 ? _errors[0] : ended ? null : $"task {task.Pid} ({task.Comm}) could not be made to run in time";
    }
}
