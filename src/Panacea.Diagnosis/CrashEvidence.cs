using Panacea.Kernel;
using Panacea.Kernel.Code;
using Panacea.Kernel.Holdings;
using Panacea.Kernel.Image;
using Panacea.Kernel.Memory;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Replay;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Diagnosis;

/// <summary>The current task of a crash as far as it could be read at once.</summary>
/// <param name="Address">task_struct address.</param>
/// <param name="Pid">Thread id.</param>
/// <param name="Tgid">Process id.</param>
/// <param name="Comm">Thread name.</param>
/// <param name="Flags">PF_* flags.</param>
public sealed record CrashedTask(ulong Address, int Pid, int Tgid, string Comm, uint Flags)
{
    /// <summary>PF_KTHREAD.</summary>
    public bool IsKernelThread => (Flags & Tasks.PfKthread) != 0;
}

/// <summary>What was captured while the guest stood still, and what follows from it at once: enough to decide on a repair. The report is written from it afterwards.</summary>
public sealed record CrashEvidence
{
    /// <summary>The kernel over the capture.</summary>
    public required LinuxKernel Kernel { get; init; }

    /// <summary>The capture itself.</summary>
    public required EvidenceMemory Memory { get; init; }

    /// <summary>Where the guest was stopped, or the way that it died.</summary>
    public required DeathPoint Point { get; init; }

    /// <summary>The machine has gone on since it passed the death point (a dump, a guest that stands in panic()): the arguments of that function, the preempt count and the IRQ flag
    /// as of the crash are gone.</summary>
    public bool IsPast { get; init; }

    /// <summary>Registers of the vCPU that died, at the death point.</summary>
    public required VcpuRegisters Vcpu { get; init; }

    /// <summary>Registers as of the crash: pt_regs of the trap, or those with which panic() was entered.</summary>
    public required PtRegs Crash { get; init; }

    /// <summary>Guest-virtual address of the trap's pt_regs; 0 at panic.</summary>
    public ulong PtRegsAddress { get; init; }

    /// <summary>The entry code that the trap came through, such as <c>asm_exc_page_fault</c>; null at panic and where the stack does not show it.</summary>
    public string? TrapEntry { get; init; }

    /// <summary>Its entry has told the kernel of an NMI (preempt count, RCU), and its handler does not come back to take that off again.</summary>
    public bool IsDoubleFault => TrapEntry == CrashKinds.DoubleFaultEntry;

    /// <summary>The preempt count shows that it was entered like an NMI.</summary>
    public bool IsCountedAsNmi => HandlerPreemptCount >= CrashKinds.NmiPreemptCount;

    /// <summary>Kind of death.</summary>
    public required CrashKind Kind { get; init; }

    /// <summary>What was seen of a CPU that does not get on; null of a crash.</summary>
    public Hang? Hang { get; init; }

    /// <summary>The instruction and access that failed; null at panic.</summary>
    public FaultAccess? Fault { get; init; }

    /// <summary>What the vCPU was running for.</summary>
    public required CrashContext Context { get; init; }

    /// <summary>The kernel's number of the CPU, where known.</summary>
    public int? Cpu { get; init; }

    /// <summary>Preemption's part of the preempt count as of the crash, where readable.</summary>
    public uint? PreemptCount { get; init; }

    /// <summary>The crash is the current task's own doing, not an interrupt's that came in between, nor what a task has been stopped for that has nothing to do with it.</summary>
    public bool IsTasksOwn => Hang is not { IsOfNobody: true } && Context is CrashContext.Process or CrashContext.KernelThread;

    /// <summary>A frame's function waits for a word in a way that leaves nothing in it: see <see cref="UntracedWait"/>.</summary>
    /// <param name="index">The frame.</param>
    public bool IsUntracedWait(int index) => Analysis.Functions.TryFindFunction(Stack.Frames[index].Point.LookupAddress, out FunctionParts slow) && UntracedWait.Is(Analysis.Code, slow, Stack.Frames[index].Point, Analysis.Hints);

    /// <summary>The CPU's whole preempt count as of the crash, interrupt and softirq counts with it (include/linux/preempt.h), where readable.</summary>
    public uint? PreemptWord { get; init; }

    /// <summary>The kernel itself found that a stack's guard page was hit (arch/x86/kernel/traps.c, handle_stack_overflow): whatever trapped, its handler does not come back.</summary>
    public bool IsGuardHit { get; init; }

    /// <summary>What the trap's entry and its handler have added to the preempt count by the death point, and take off again when they return.</summary>
    public uint HandlerPreemptCount { get; init; }

    /// <summary>A word of eight bytes that a plan mends before anything else, guest-virtual, and what it is then; null as long as none is looked for.</summary>
    public (ulong Address, ulong Value)? Mended { get; init; }

    /// <summary>What replays of it have in common; filled by whoever makes some.</summary>
    public ReplayCache Replays { get; } = new();

    /// <summary>The current task, where readable.</summary>
    public CrashedTask? Task { get; init; }

    /// <summary>The crashed stack from the crash outwards.</summary>
    public required Backtrace Stack { get; init; }

    /// <summary>The stack as it is if the CPU stood at another instruction when it trapped, and with another stack pointer: both guest-virtual, in this order. Null where no trap's registers are known.</summary>
    public Func<ulong, ulong, Backtrace>? StackFrom { get; init; }

    /// <summary>Vector of the interrupt that the CPU has taken from its local APIC and not acknowledged, the most urgent one (ISR, Intel SDM 3A, 11.8.4); -1 where there is none, null where that is not known.</summary>
    public int? InService { get; init; }

    /// <summary>What the analysis of frames is built on.</summary>
    public required FrameAnalysis Analysis { get; init; }

    /// <summary>What frames of it hold.</summary>
    public required HoldingsAnalysis Holdings { get; init; }

    /// <summary>Guest-virtual address of the crashed CPU's preempt count; null where it is unknown.</summary>
    public ulong? PreemptCountAddress { get; init; }

    /// <summary>Index into the stack's frames of the function at fault; null where it can't be told.</summary>
    public int? FaultyFrame { get; init; }

    /// <summary>Why <see cref="FaultyFrame"/> is null.</summary>
    public string? WhyNoFaultyFrame { get; init; }

    /// <summary>How often a guard has repaired the guest of late after it had come to the same place in the same way.</summary>
    public int EarlierRepairs { get; init; }

    /// <summary>Guest-virtual ranges of code that somebody experiments with: what stands there counts as what the kernel was built with.</summary>
    public IReadOnlyList<(ulong Start, int Length)> Injected { get; init; } = [];

    /// <summary>Guest-virtual address of the instruction of its function at which the CPU is taken to have gone on in bytes that are none (<see cref="Kernel.Code.Derailment"/>): the innermost frame stands there. Null as a
    /// rule: then it stands where it trapped.</summary>
    public ulong? LeftCodeAt { get; init; }

    /// <summary>What could not be read, and why.</summary>
    public required IReadOnlyList<string> Unavailable { get; init; }

    /// <summary>The frame at fault, or null.</summary>
    public StackFrame? Faulty => FaultyFrame is { } index ? Stack.Frames[index] : null;

    /// <summary>The symbol of a frame's function.</summary>
    public SymbolLocation? LocationOf(StackFrame frame) => Kernel.Image.Symbolize(frame.Point.LookupAddress) is { } location
        ? location with { Offset = unchecked(location.Offset + (frame.Ip - frame.Point.LookupAddress)) }
        : null;
}
