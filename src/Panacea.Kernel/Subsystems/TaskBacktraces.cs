using Panacea.Kernel.Code;
using Panacea.Kernel.Image;
using Panacea.Kernel.Structures;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>The stack of a task that is not on a CPU.</summary>
/// <param name="Task">task_struct address.</param>
/// <param name="StackPointer">task_struct.thread.sp: where its saved registers lie.</param>
/// <param name="Trace">The stack, innermost frame (the scheduler) first.</param>
public sealed record TaskBacktrace(ulong Task, ulong StackPointer, Backtrace Trace);

/// <summary>Backtraces of tasks that are not on a CPU, from the registers that __switch_to_asm left on their stacks (struct inactive_task_frame, arch/x86/include/asm/switch_to.h).</summary>
/// <remarks>Safe for concurrent use. Build one for many tasks: it makes its map of the code once.</remarks>
public sealed class TaskBacktraces
{
    private readonly LinuxKernel _kernel;
    private readonly TargetLimits _limits;
    private readonly CodeMap _code;
    private readonly (ulong Start, ulong End)[] _schedulerText;
    private readonly ulong _frameBytes;
    private readonly ulong[] _beginnings;

    /// <summary>For one kernel.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="limits">Ceilings.</param>
    /// <param name="code">Its code map, where there is one already.</param>
    public TaskBacktraces(LinuxKernel kernel, TargetLimits limits, CodeMap? code = null)
    {
        _kernel = kernel;
        _limits = limits;
        _code = code ?? new CodeMap(kernel.Image);

        // What get_wchan() and /proc/PID/stack leave out (in_sched_functions, kernel/sched/core.c; in_lock_functions, kernel/locking/spinlock.c).
        _schedulerText = [.. Range("__sched_text_start", "__sched_text_end"), .. Range("__lock_text_start", "__lock_text_end")];
        _frameBytes = kernel.Image.Types.TrySizeOf("inactive_task_frame", out int bytes) ? (ulong)bytes : 56;

        // A task that never ran begins there (unwind_orc.c, __unwind_start); assembly has had the longer name since 6.5 (commit 3aec4ecb3d1f, "x86: Rewrite ret_from_fork() in C").
        _beginnings = [.. new[] { "ret_from_fork_asm", "ret_from_fork" }.Where(kernel.HasSymbol).Take(1).Select(kernel.Symbol)];
    }

    /// <summary>The map of the kernel's code.</summary>
    public CodeMap Code => _code;

    /// <summary>The stack of a task.</summary>
    /// <exception cref="KernelShapeException">The task is on a CPU (its registers are there, not in memory), or has exited.</exception>
    /// <exception cref="GuestMemoryException">The task or its saved registers can't be read.</exception>
    public TaskBacktrace Of(ulong task)
    {
        if (TaskDetails.IsRunning(_kernel, task))
            throw new KernelShapeException($"the task at 0x{task:x} is on a CPU: its registers are not in memory");
        if (_kernel.Read(task, "task_struct.stack") == 0)
            throw new KernelShapeException($"the task at 0x{task:x} has exited: its stack is freed");
        ulong sp = _kernel.Read(task, "task_struct.thread.sp");
        var stacks = new StackMap([.. Stacks.Of(_kernel, null, task).Select(s => new StackBounds(s.Start, s.End, StackKind.Task))]);
        KnownRegisters saved = default;
        foreach ((Gpr register, string member) in ((Gpr, string)[])[(Gpr.Rbx, "bx"), (Gpr.Rbp, "bp"), (Gpr.R12, "r12"), (Gpr.R13, "r13"), (Gpr.R14, "r14"), (Gpr.R15, "r15")])
            saved[register] = _kernel.Read(sp, $"inactive_task_frame.{member}");
        ulong back = _kernel.Read(sp, "inactive_task_frame.ret_addr");
        var unwinder = new OrcUnwinder(_kernel.Image, _code, _kernel.Image, _kernel.Space, stacks, _limits);
        Backtrace trace = unwinder.Unwind(UnwindStart.Inactive(back, unchecked(sp + _frameBytes), saved, _beginnings.Contains(back)));
        return new TaskBacktrace(task, sp, trace);
    }

    /// <summary>The frame of the function that a task sleeps in, as /proc/PID/wchan tells it: the first outside the scheduler and the lock functions. Null where the stack has none.</summary>
    public StackFrame? WaitsIn(TaskBacktrace backtrace) =>
        backtrace.Trace.Frames.FirstOrDefault(f => f.Reliability == FrameReliability.Exact && !IsScheduler(f.Point.LookupAddress));

    /// <summary>True in the scheduler's and the lock functions' text.</summary>
    public bool IsScheduler(ulong address) => _schedulerText.Any(t => address >= t.Start && address < t.End);

    /// <summary>A frame's place, as the kernel prints it; null where no symbol covers it.</summary>
    public SymbolLocation? Locate(StackFrame frame) => _kernel.Image.Symbolize(frame.Point.LookupAddress) is { } at
        ? at with { Offset = at.Offset + unchecked(frame.Ip - frame.Point.LookupAddress) } : null;

    private (ulong Start, ulong End)[] Range(string start, string end) =>
        _kernel.Image.TryFindSymbol(start, out ulong from) && _kernel.Image.TryFindSymbol(end, out ulong to) ? [(from, to)] : [];
}
