using System.Text.Json.Serialization;
using Panacea.Formats.Dwarf;
using Panacea.Target;

namespace Panacea.Diagnosis;

/// <summary>What kind of death this is; a closed list.</summary>
[JsonConverter(typeof(KebabEnumConverter<CrashKind>))]
public enum CrashKind
{
    /// <summary>None of the below could be shown.</summary>
    Unknown,
    /// <summary>Read at NULL or a small offset from it.</summary>
    NullRead,
    /// <summary>Write at NULL or a small offset from it.</summary>
    NullWrite,
    /// <summary>Call or jump to NULL.</summary>
    NullCall,
    /// <summary>Read at an address that nothing is mapped at.</summary>
    WildRead,
    /// <summary>Write at an address that nothing is mapped at.</summary>
    WildWrite,
    /// <summary>Call or jump to an address that holds no code.</summary>
    WildCall,
    /// <summary>A write to a page that is mapped read-only.</summary>
    ReadOnlyWrite,
    /// <summary>A kernel-mode access to or execution of user memory that was not permitted.</summary>
    UserAccess,
    /// <summary>General protection fault: most often a non-canonical address.</summary>
    GeneralProtection,
    /// <summary>BUG() or BUG_ON().</summary>
    Bug,
    /// <summary>An invalid opcode that is no BUG().</summary>
    InvalidOpcode,
    /// <summary>Divide error.</summary>
    DivideError,
    /// <summary>Double fault: as a rule a stack overflow.</summary>
    DoubleFault,
    /// <summary>panic() called by kernel code itself.</summary>
    Panic,
    /// <summary>An int3 that nobody had set.</summary>
    Breakpoint,
    /// <summary>Stack segment fault: an access through RSP or RBP to a non-canonical address.</summary>
    StackSegment,
    /// <summary>A stack ran into its guard page.</summary>
    StackOverflow,
    /// <summary>Control-flow enforcement stopped a branch.</summary>
    ControlProtection,
    /// <summary>Alignment check.</summary>
    AlignmentCheck,
    /// <summary>The stack protector found a canary overwritten.</summary>
    StackCorruption,
    /// <summary>A linked list whose pointers do not agree.</summary>
    ListCorruption,
    /// <summary>A copy to or from user space went beyond its object.</summary>
    Usercopy,
    /// <summary>WARN(). This and all that follow are only seen in logs: the kernel goes on after them, or panics.</summary>
    Warning,
    /// <summary>A task blocked for long.</summary>
    HungTask,
    /// <summary>A processor that does not schedule.</summary>
    SoftLockup,
    /// <summary>A processor that takes no interrupts.</summary>
    HardLockup,
    /// <summary>A processor runs, and its timer tick has stopped.</summary>
    LostTick,
    /// <summary>Requests of a disk do not get on although its device does.</summary>
    StalledIo,
    /// <summary>An RCU grace period that does not end.</summary>
    RcuStall,
    /// <summary>A reference count below zero, or taken again after it was zero.</summary>
    Refcount,
    /// <summary>Found by KASAN.</summary>
    Kasan,
    /// <summary>Found by UBSAN.</summary>
    Ubsan,
    /// <summary>Found by KFENCE.</summary>
    Kfence,
    /// <summary>Found by KCSAN.</summary>
    Kcsan,
    /// <summary>Found by KMSAN.</summary>
    Kmsan,
    /// <summary>Found by kmemleak.</summary>
    MemoryLeak,
    /// <summary>A locking rule broken.</summary>
    Lockdep,
    /// <summary>RCU used outside its rules.</summary>
    RcuUsage,
    /// <summary>A function that may sleep called where nothing may.</summary>
    SleepInAtomic,
    /// <summary>The scheduler called where it must not be.</summary>
    ScheduleInAtomic,
    /// <summary>The OOM killer.</summary>
    OutOfMemory,
    /// <summary>A slab object or its red zone overwritten, or freed wrongly.</summary>
    SlabCorruption,
    /// <summary>A page in a state in which it cannot be.</summary>
    BadPage,
    /// <summary>A page table entry or memory counter that cannot be.</summary>
    BadPageMap,
    /// <summary>An allocation failed.</summary>
    AllocationFailure,
    /// <summary>The hardware reported an error.</summary>
    MachineCheck,
    /// <summary>An NMI that nobody expected.</summary>
    UnknownNmi,
    /// <summary>A file system found itself damaged.</summary>
    FilesystemError,
    /// <summary>A block device failed.</summary>
    IoError,
    /// <summary>Asked for with the magic SysRq key.</summary>
    Sysrq,
}

/// <summary>What the vCPU was running for when it died.</summary>
[JsonConverter(typeof(KebabEnumConverter<CrashContext>))]
public enum CrashContext
{
    /// <summary>It could not be told.</summary>
    Unknown,
    /// <summary>A user process in the kernel: a system call, a fault, exec or exit.</summary>
    Process,
    /// <summary>A kernel thread.</summary>
    KernelThread,
    /// <summary>A softirq being served.</summary>
    Softirq,
    /// <summary>A hardware interrupt being served.</summary>
    Hardirq,
    /// <summary>A non-maskable interrupt being served.</summary>
    Nmi,
    /// <summary>The idle task.</summary>
    Idle,
}

/// <summary>How sure a statement is.</summary>
[JsonConverter(typeof(KebabEnumConverter<Confidence>))]
public enum Confidence
{
    /// <summary>One reading of several that fit.</summary>
    Low,
    /// <summary>The best reading; others are not ruled out.</summary>
    Medium,
    /// <summary>Follows from what was read.</summary>
    High,
}

/// <summary>A place in the kernel's code.</summary>
/// <param name="Address">Guest-virtual address.</param>
/// <param name="Function">Function, or null where no symbol covers the address.</param>
/// <param name="Offset">Bytes from the function's start.</param>
/// <param name="Size">The function's size in bytes (distance to the next symbol), 0 where unknown.</param>
/// <param name="Module">Module, or null for the kernel itself.</param>
public sealed record CodeLocation(ulong Address, string? Function, ulong Offset, ulong Size, string? Module)
{
    /// <summary>The line of source that stands in <see cref="Function"/>; null without debug information.</summary>
    public SourceLine? Source { get; init; }

    /// <summary>Functions that the compiler has put into it there, innermost first; empty without debug information.</summary>
    public IReadOnlyList<InlinedCall> Inlined { get; init; } = [];

    /// <summary>As the kernel prints it (%pS): <c>name+0x1/0x20 [module]</c>, or the bare address.</summary>
    public override string ToString() => Function is null
        ? $"0x{Address:x16}"
        : $"{Function}+0x{Offset:x}/0x{Size:x}{(Module is null ? "" : $" [{Module}]")}";
}

/// <summary>One frame of the crashed stack, innermost first.</summary>
/// <param name="Location">Where.</param>
/// <param name="StackPointer">The frame's stack pointer as of that instruction.</param>
/// <param name="Reliable">True where registers or unwind data prove it, false where it was found by scanning the stack.</param>
/// <param name="IsTrap">The frame was entered by a trap or interrupt.</param>
/// <param name="Stack">Which stack it lies on: task, irq, an exception stack.</param>
public sealed record ReportFrame(CodeLocation Location, ulong StackPointer, bool Reliable, bool IsTrap, string Stack);

/// <summary>The task that was current on the vCPU that died.</summary>
/// <param name="Address">Guest-virtual address of its task_struct.</param>
/// <param name="Pid">Thread id.</param>
/// <param name="Tgid">Process id.</param>
/// <param name="Comm">Name of the thread, at most 15 bytes.</param>
/// <param name="CommandLine">The process's arguments joined by spaces; null for kernel threads and where its memory could not be read.</param>
/// <param name="IsKernelThread">PF_KTHREAD is set.</param>
public sealed record ReportTask(ulong Address, int Pid, int Tgid, string Comm, string? CommandLine, bool IsKernelThread);

/// <summary>The access that failed.</summary>
/// <param name="Access">read, write, execute, or none.</param>
/// <param name="Address">The address accessed, where the crash has one.</param>
/// <param name="Explanation">What the address is: NULL + offset, list poison, ERR_PTR …</param>
/// <param name="Instruction">Disassembly of the faulting instruction.</param>
/// <param name="BadOperand">The operand that held the bad value, such as <c>%rax = 0x0</c>.</param>
/// <param name="Origin">Where the bad value came from within the function, such as <c>%rax was loaded from file.private_data at foo_write+0x12</c>; null where that can't be told.</param>
public sealed record ReportFault(string Access, ulong? Address, string? Explanation, string? Instruction, string? BadOperand, string? Origin = null);

/// <summary>Something noticed that bears on the crash.</summary>
/// <param name="Id">Stable identifier, such as <c>locks.preempt-count</c>.</param>
/// <param name="Text">One sentence.</param>
/// <param name="Evidence">Addresses and values read.</param>
/// <param name="Confidence">How sure.</param>
public sealed record Finding(string Id, string Text, IReadOnlyList<string> Evidence, Confidence Confidence);

/// <summary>One line of the guest's kernel log.</summary>
/// <param name="TimestampNs">Nanoseconds since boot, by the guest's clock.</param>
/// <param name="Text">The line, without prefix.</param>
public sealed record ConsoleLine(ulong TimestampNs, string Text);

/// <summary>Everything the diagnosis says about one crash. Immutable; rendered elsewhere.</summary>
public sealed record CrashReport
{
    /// <summary>One line a person can search for.</summary>
    public required string Title { get; init; }

    /// <summary>Equal for the same bug across boots, KASLR and builds of one line; see docs/incident.md for the rule.</summary>
    public required string Bucket { get; init; }

    /// <summary>Kind of death.</summary>
    public required CrashKind Kind { get; init; }

    /// <summary>The cause in one sentence.</summary>
    public required string Cause { get; init; }

    /// <summary>What the vCPU was running for.</summary>
    public required CrashContext Context { get; init; }

    /// <summary>The vCPU, from 0.</summary>
    public required int Vcpu { get; init; }

    /// <summary>Where it happened: the function at fault, generic helpers skipped.</summary>
    public required CodeLocation Location { get; init; }

    /// <summary>The access that failed, where the crash is one.</summary>
    public ReportFault? Fault { get; init; }

    /// <summary>The current task, or null where it could not be read.</summary>
    public ReportTask? Task { get; init; }

    /// <summary>The crashed stack, innermost frame first.</summary>
    public required IReadOnlyList<ReportFrame> Stack { get; init; }

    /// <summary>Registers as of the crash, by their usual names.</summary>
    public required IReadOnlyDictionary<string, ulong> Registers { get; init; }

    /// <summary>What the values of registers and stacks are; null where the report was written without the rest of the machine.</summary>
    public Machine.CrashValues? Values { get; init; }

    /// <summary>Parents, groups and namespaces of the task; null where they could not be read.</summary>
    public Machine.TaskSurroundings? Surroundings { get; init; }

    /// <summary>Taint letters as the kernel prints them, such as <c>G    D    OE</c>; null where unreadable.</summary>
    public string? Taint { get; init; }

    /// <summary>Kernel release (uname -r).</summary>
    public required string KernelRelease { get; init; }

    /// <summary>GNU build id of the kernel, lower-case hex.</summary>
    public string? BuildId { get; init; }

    /// <summary>What the kernel itself would have printed as the panic message, where it could be read.</summary>
    public string? PanicMessage { get; init; }

    /// <summary>Disassembly around the faulting instruction.</summary>
    public IReadOnlyList<string> Disassembly { get; init; } = [];

    /// <summary>What else was noticed.</summary>
    public IReadOnlyList<Finding> Findings { get; init; } = [];

    /// <summary>What could not be read, and why.</summary>
    public IReadOnlyList<string> Unavailable { get; init; } = [];
}
