using Panacea.Kernel.Image;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>A task that was put to sleep for ever where it crashed.</summary>
/// <param name="Task">The task.</param>
/// <param name="Where">Where it crashed, as the kernel prints places; null where that can't be told.</param>
/// <param name="Slept">For how long it has slept; null where that can't be told.</param>
public sealed record FrozenTask(LinuxTask Task, SymbolLocation? Where, SleepTime? Slept);

/// <summary>Finds frozen tasks: they sleep in <c>msleep(UINT_MAX)</c> (kernel/time/timer.c; kernel/time/sleep_timeout.c since 6.13), which no code of the kernel's asks for.</summary>
public static class FrozenTasks
{
    private const string Sleep = "msleep", Expiry = "process_timeout";
    private const uint Uninterruptible = 2;

    /// <summary>Bytes of the stack, from its top on, in which the sleep's timer lies: those of schedule_timeout() and its callees.</summary>
    private const int StackBytes = 1024;

    /// <summary>msleep() makes MAX_JIFFY_OFFSET of what does not fit an int (msecs_to_jiffies, include/linux/jiffies.h): 2^62 - 1. What is asked for otherwise lies below 2^31 milliseconds.</summary>
    private const ulong ForEver = 1UL << 60;

    /// <summary>Every frozen task of a guest.</summary>
    /// <param name="kernel">The kernel over the guest's memory; it may run meanwhile.</param>
    /// <param name="limits">Ceilings.</param>
    /// <param name="code">The kernel's code map, where there is one already.</param>
    /// <exception cref="GuestMemoryException">The tasks can't be read.</exception>
    /// <exception cref="KernelShapeException">The kernel has no timers or tasks of the known shape.</exception>
    public static IReadOnlyList<FrozenTask> Enumerate(LinuxKernel kernel, TargetLimits limits, CodeMap? code = null)
    {
        var frozen = new List<FrozenTask>();
        TaskBacktraces? backtraces = null;
        SleepTimes? times = null;
        ulong jiffies = KernelClock.Read(kernel).Jiffies, expiry = kernel.Symbol(Expiry), function = kernel.Offset("timer_list.function");
        _ = kernel.Offset("timer_list.expires");
        foreach (LinuxTask task in Tasks.Enumerate(kernel, limits))
        {
            try
            {
                if ((TaskDetails.RawStateOf(kernel, task.Address) & Uninterruptible) == 0 || TaskDetails.IsRunning(kernel, task.Address) || !SleepsForEver(kernel, task.Address, jiffies, expiry, function))
                    continue;
                backtraces ??= new TaskBacktraces(kernel, limits, code);
                if (!TryFindCaller(backtraces, task.Address, out StackFrame? caller))
                    continue;
                times ??= new SleepTimes(kernel);
                frozen.Add(new FrozenTask(task, caller is null ? null : backtraces.Locate(caller), times.Of(task.Address)));
            }
            catch (Exception e) when (e is GuestMemoryException or KernelShapeException)
            {
                // It runs by now, or is gone.
            }
        }

        return frozen;
    }

    /// <summary>Its stack holds the timer of a sleep (struct process_timer) that ends when nobody will be there.</summary>
    private static bool SleepsForEver(LinuxKernel kernel, ulong task, ulong jiffies, ulong expiry, ulong function)
    {
        ulong sp = kernel.Read(task, "task_struct.thread.sp"), stack = kernel.Read(task, "task_struct.stack");
        if (sp < stack || sp - stack > 1 << 20)
            return false;
        byte[] bytes = new byte[StackBytes];
        if (!kernel.Space.TryRead(new VirtualAddress(sp), bytes, out _))
            return false;
        for (int i = 0; i + 8 <= bytes.Length; i += 8)
        {
            if (BitConverter.ToUInt64(bytes, i) != expiry || unchecked(sp + (ulong)i - function) is var timer && timer < sp)
                continue;
            ulong expires = kernel.Read(timer, "timer_list.expires");
            if (expires > jiffies && expires - jiffies >= ForEver && (!kernel.HasMember("process_timer.task") || kernel.Read(timer, "process_timer.task") == task))
                return true;
        }

        return false;
    }

    /// <returns>True where it sleeps in msleep(); the caller is the frame in which it crashed.</returns>
    private static bool TryFindCaller(TaskBacktraces backtraces, ulong task, out StackFrame? caller)
    {
        IReadOnlyList<StackFrame> frames = backtraces.Of(task).Trace.Frames;
        caller = null;
        for (int i = 0; i < frames.Count && i < 8 && frames[i].Reliability == FrameReliability.Exact; i++)
        {
            if (backtraces.Locate(frames[i])?.Name != Sleep)
                continue;
            caller = i + 1 < frames.Count ? frames[i + 1] : null;
            return true;
        }

        return false;
    }
}
