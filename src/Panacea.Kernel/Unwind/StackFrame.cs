using Panacea.Formats.Orc;
using Panacea.Kernel.Code;
using Panacea.Target;

namespace Panacea.Kernel.Unwind;

/// <summary>How far a frame can be believed.</summary>
public enum FrameReliability
{
    /// <summary>From registers, or proved by unwind data from a frame that is.</summary>
    Exact,

    /// <summary>Found by scanning the stack for what looks like a return address: it may be left over from an earlier call.</summary>
    Guess,
}

/// <summary>One frame of a kernel stack. Addresses are guest-virtual.</summary>
public sealed record StackFrame
{
    /// <summary>Position, 0 is the innermost.</summary>
    public required int Index { get; init; }

    /// <summary>Instruction pointer: the instruction that was interrupted where <see cref="IsTrap"/>, else a return address.</summary>
    public required ulong Ip { get; init; }

    /// <summary>Stack pointer as of that instruction; for a guess, where it would be.</summary>
    public required ulong Sp { get; init; }

    /// <summary>The stack that <see cref="Sp"/> lies on.</summary>
    public required StackKind Stack { get; init; }

    /// <summary>How far the frame can be believed.</summary>
    public required FrameReliability Reliability { get; init; }

    /// <summary>The frame was interrupted here (trap, interrupt, or the start of the unwind); <see cref="Ip"/> is no return address.</summary>
    public required bool IsTrap { get; init; }

    /// <summary>RSP and what else unwind data or a struct pt_regs tells; <see cref="FrameRegisters"/> finds more.</summary>
    public required KnownRegisters Registers { get; init; }

    /// <summary>Guest-virtual address of the struct pt_regs that these registers were read from; null where there is none.</summary>
    public ulong? RegsAddress { get; init; }

    /// <summary>That struct pt_regs as a whole; null where only its hardware part, or none, was there.</summary>
    public PtRegs? Regs { get; init; }

    /// <summary>Stack pointer of the caller after the return; null where the frame has no caller that could be found.</summary>
    public ulong? Cfa { get; init; }

    /// <summary>Where the return address was read from; null where the next frame is an interrupted context or there is none.</summary>
    public ulong? ReturnAddressAt { get; init; }

    /// <summary>The unwind row used; null where there was none.</summary>
    public OrcEntry? Row { get; init; }

    /// <summary>Where this frame stands in its function.</summary>
    public CodePoint Point => new(Ip, !IsTrap);

    /// <summary>RBP, where it is known.</summary>
    public ulong? Bp => Registers[Gpr.Rbp];
}

/// <summary>Why an unwind ended.</summary>
public enum UnwindEnd
{
    /// <summary>The outermost frame: unwind data says that the stack ends here.</summary>
    Complete,

    /// <summary>The next context is user mode: the outermost frame.</summary>
    UserMode,

    /// <summary>Neither kernel nor module text covers an instruction: a module that is gone, generated code, or a corrupted stack.</summary>
    NotText,

    /// <summary>No unwind row covers an instruction.</summary>
    NoUnwindRow,

    /// <summary>The unwind row says that from here no unwinding is possible.</summary>
    Undefined,

    /// <summary>The return address is a tracer's trampoline.</summary>
    Trampoline,

    /// <summary>A register that the row needs is not known at this frame.</summary>
    RegisterUnknown,

    /// <summary>A stack pointer leads to no known stack.</summary>
    OffStack,

    /// <summary>A stack could not be read.</summary>
    Unreadable,

    /// <summary>The stack leads back to where it was already.</summary>
    Loop,

    /// <summary>More frames than <see cref="TargetLimits.MaxStackFrames"/>.</summary>
    TooManyFrames,
}

/// <summary>A stack, innermost frame first.</summary>
/// <param name="Frames">Exact frames first, then guesses where the exact part ended too early.</param>
/// <param name="End">Why the exact part ended.</param>
/// <param name="EndAddress">The instruction, stack address or return address that <paramref name="End"/> is about; 0 where none.</param>
/// <param name="Detail">Completes the reason for a person; may be empty.</param>
/// <param name="UserRegs">Where the stack leads into user mode: the user's registers, if all of them are there.</param>
public sealed record Backtrace(IReadOnlyList<StackFrame> Frames, UnwindEnd End, ulong EndAddress, string Detail, PtRegs? UserRegs)
{
    /// <summary>The exact part reaches the outermost frame.</summary>
    public bool IsComplete => End is UnwindEnd.Complete or UnwindEnd.UserMode;
}

/// <summary>Where an unwind begins.</summary>
public readonly record struct UnwindStart
{
    /// <summary>Instruction pointer.</summary>
    public required ulong Ip { get; init; }

    /// <summary>Registers; RSP must be known.</summary>
    public required KnownRegisters Registers { get; init; }

    /// <summary>The instruction at <see cref="Ip"/> was interrupted; false where it is a return address (a task that waits in schedule()).</summary>
    public required bool IsTrap { get; init; }

    /// <summary>The structure they come from, where they do.</summary>
    public PtRegs? Regs { get; init; }

    /// <summary>Its guest-virtual address.</summary>
    public ulong? RegsAddress { get; init; }

    /// <summary>From a struct pt_regs: the argument of oops_end, as a rule.</summary>
    public static UnwindStart From(in PtRegs regs, ulong? address = null) => new()
    {
        Ip = regs.Ip,
        Registers = KnownRegisters.All(regs.Gpr),
        IsTrap = true,
        Regs = regs,
        RegsAddress = address,
    };

    /// <summary>From a stopped vCPU.</summary>
    public static UnwindStart From(VcpuRegisters vcpu) => new()
    {
        Ip = vcpu.Rip,
        Registers = KnownRegisters.All(vcpu.Gpr),
        IsTrap = true,
    };

    /// <summary>From a task that is not on a CPU.</summary>
    /// <param name="returnAddress">inactive_task_frame.ret_addr.</param>
    /// <param name="sp">The stack pointer behind the frame: task_struct.thread.sp + sizeof(struct inactive_task_frame).</param>
    /// <param name="calleeSaved">bx, bp, r12–r15 from the frame.</param>
    /// <param name="isNew">The return address is ret_from_fork: the task never ran, and the address is where it will begin (unwind_orc.c, __unwind_start).</param>
    public static UnwindStart Inactive(ulong returnAddress, ulong sp, KnownRegisters calleeSaved, bool isNew)
    {
        calleeSaved[Gpr.Rsp] = sp;
        return new UnwindStart { Ip = returnAddress, Registers = calleeSaved, IsTrap = isNew };
    }
}
