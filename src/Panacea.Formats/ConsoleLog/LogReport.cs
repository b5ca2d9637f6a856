namespace Panacea.Formats.ConsoleLog;

/// <summary>What a report of the kernel is about, by its own headline.</summary>
public enum LogReportKind
{
    /// <summary>Registers or a call trace whose beginning is not in the log, or whose headline is not known.</summary>
    Fragment,
    /// <summary>A page fault of the kernel: NULL, unmapped, not permitted.</summary>
    PageFault,
    /// <summary>A general protection fault.</summary>
    GeneralProtection,
    /// <summary>An invalid opcode that is no BUG().</summary>
    InvalidOpcode,
    /// <summary>A divide error.</summary>
    DivideError,
    /// <summary>An int3 that nobody had set.</summary>
    Int3,
    /// <summary>A stack segment fault.</summary>
    StackSegment,
    /// <summary>A double fault.</summary>
    DoubleFault,
    /// <summary>A stack that ran into its guard page, or past its end.</summary>
    StackOverflow,
    /// <summary>Control-flow enforcement: no ENDBR at the target of a branch, a CFI failure.</summary>
    ControlProtection,
    /// <summary>An alignment check.</summary>
    AlignmentCheck,
    /// <summary>Any other trap that the kernel died of.</summary>
    OtherTrap,
    /// <summary>BUG() or BUG_ON().</summary>
    KernelBug,
    /// <summary>WARN().</summary>
    Warning,
    /// <summary>panic().</summary>
    Panic,
    /// <summary>The stack protector found a canary overwritten; the kernel panics.</summary>
    StackCorruption,
    /// <summary>A task that has been blocked for long.</summary>
    HungTask,
    /// <summary>A processor that has not scheduled for long.</summary>
    SoftLockup,
    /// <summary>A processor that has not taken interrupts for long.</summary>
    HardLockup,
    /// <summary>An RCU grace period that does not end.</summary>
    RcuStall,
    /// <summary>A linked list whose pointers do not agree.</summary>
    ListCorruption,
    /// <summary>A copy to or from user space that goes beyond its object.</summary>
    Usercopy,
    /// <summary>A reference count that went below zero or came back from it.</summary>
    Refcount,
    /// <summary>The kernel address sanitizer.</summary>
    Kasan,
    /// <summary>The undefined behaviour sanitizer.</summary>
    Ubsan,
    /// <summary>The sampling memory error detector.</summary>
    Kfence,
    /// <summary>The data race detector.</summary>
    Kcsan,
    /// <summary>The uninitialised memory detector.</summary>
    Kmsan,
    /// <summary>A memory leak, by kmemleak.</summary>
    MemoryLeak,
    /// <summary>A locking rule broken, by lockdep.</summary>
    Lockdep,
    /// <summary>RCU used outside its rules, by lockdep.</summary>
    RcuUsage,
    /// <summary>A function that may sleep called where nothing may.</summary>
    SleepInAtomic,
    /// <summary>The scheduler entered where it must not be.</summary>
    ScheduleInAtomic,
    /// <summary>The OOM killer.</summary>
    OutOfMemory,
    /// <summary>A slab object or its red zone overwritten, or freed wrongly.</summary>
    SlabCorruption,
    /// <summary>A page in a state in which it cannot be.</summary>
    BadPage,
    /// <summary>A page table entry or a counter of an address space that cannot be.</summary>
    BadPageMap,
    /// <summary>An allocation that failed.</summary>
    AllocationFailure,
    /// <summary>An error of the hardware.</summary>
    MachineCheck,
    /// <summary>An NMI that nobody expected.</summary>
    UnknownNmi,
    /// <summary>A file system found itself damaged.</summary>
    FilesystemError,
    /// <summary>A block device failed.</summary>
    IoError,
    /// <summary>Somebody asked for it with the magic SysRq key.</summary>
    Sysrq,
}

/// <summary>What a stack trace belongs to.</summary>
public enum LogBlockRole
{
    /// <summary>What the report is about.</summary>
    Main,
    /// <summary>Where the object was allocated.</summary>
    Allocated,
    /// <summary>Where the object was freed.</summary>
    Freed,
    /// <summary>The other access of a race, another processor, an earlier lock: anything else, named by its title.</summary>
    Other,
}

/// <summary>One entry of a stack trace.</summary>
/// <param name="Function">Function; null where only an address was written.</param>
/// <param name="Offset">Bytes from its start.</param>
/// <param name="Size">Its size in bytes; 0 where it is not told.</param>
/// <param name="Module">Module, or null for the kernel itself.</param>
/// <param name="Address">Address, where the log has one.</param>
/// <param name="Reliable">False where the kernel marked it with a question mark.</param>
/// <param name="IsTrap">It comes from registers: execution was interrupted there.</param>
/// <param name="Section">The stack that it lies on: TASK, IRQ, NMI, SOFTIRQ, #DF …; null where it is not told.</param>
public sealed record LogFrame(string? Function, ulong Offset, ulong Size, string? Module, ulong? Address, bool Reliable, bool IsTrap, string? Section)
{
    /// <summary>As the kernel writes it.</summary>
    public override string ToString() => Function is null ? $"0x{Address:x}" : $"{Function}+0x{Offset:x}/0x{Size:x}{(Module is null ? "" : $" [{Module}]")}";
}

/// <summary>Who ran, from a line <c>CPU: 1 PID: 135 Comm: sh Tainted: …</c>; null what is not told.</summary>
public sealed record LogIdentity(int? Cpu, int? Pid, string? Comm, string? Taint, string? Release, string? Build);

/// <summary>One set of registers.</summary>
/// <param name="Values">By name in lower case: rax, rip (where it is a number), rflags, cr2, gs_base …</param>
/// <param name="Instruction">What stands after <c>RIP: 0010:</c>.</param>
/// <param name="IsUser">They are those of user space.</param>
/// <param name="Code">The bytes of the line <c>Code:</c>, empty where there are none.</param>
/// <param name="CodeAt">Index in <paramref name="Code"/> of the byte at RIP (in angle brackets); -1 where none is marked.</param>
public sealed record LogRegisters(IReadOnlyDictionary<string, ulong> Values, LogFrame? Instruction, bool IsUser, byte[] Code, int CodeAt);

/// <summary>One stack trace of a report, with what stands around it.</summary>
/// <param name="Role">What it belongs to.</param>
/// <param name="Title">The line that introduces it, such as <c>Freed by task 135:</c>; empty for most.</param>
/// <param name="Identity">Who ran; null where it is not told.</param>
/// <param name="Registers">Registers of the kernel before the trace; null where there are none.</param>
/// <param name="Frames">Innermost first; where there are registers of the kernel, the first is their instruction.</param>
public sealed record LogBlock(LogBlockRole Role, string Title, LogIdentity? Identity, LogRegisters? Registers, IReadOnlyList<LogFrame> Frames);

/// <summary>A module of the line <c>Modules linked in:</c>.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Taints">Letters in brackets, such as OE; empty where there are none.</param>
public sealed record LogModule(string Name, string Taints);

/// <summary>Something that a report names, in order; see each detector for its names.</summary>
public sealed record LogFact(string Name, string Value);

/// <summary>One report of the kernel, as it was written.</summary>
public sealed record LogReport
{
    /// <summary>What it is about.</summary>
    public required LogReportKind Kind { get; init; }

    /// <summary>The line that tells it.</summary>
    public required LogLine Headline { get; init; }

    /// <summary>Which boot of the log it belongs to, from 0.</summary>
    public required int Boot { get; init; }

    /// <summary>Kernel release and build of that boot's banner, where the log has it.</summary>
    public string? BannerRelease { get; init; }

    /// <summary>What the headline and the lines below it say, by name.</summary>
    public required IReadOnlyList<LogFact> Facts { get; init; }

    /// <summary>Stack traces, in order; the first with <see cref="LogBlockRole.Main"/> is the report's own.</summary>
    public required IReadOnlyList<LogBlock> Blocks { get; init; }

    /// <summary>Modules, where listed.</summary>
    public required IReadOnlyList<LogModule> Modules { get; init; }

    /// <summary>Hardware name and firmware, where told.</summary>
    public string? Hardware { get; init; }

    /// <summary>The work that a kworker was doing.</summary>
    public string? Workqueue { get; init; }

    /// <summary>The report's lines; only the first ones where it is longer than the limits allow.</summary>
    public required IReadOnlyList<LogLine> Lines { get; init; }

    /// <summary>The mark that ends such a report was seen, or it needs none.</summary>
    public required bool IsComplete { get; init; }

    /// <summary>Some of its lines were dropped.</summary>
    public bool IsTruncated { get; init; }

    /// <summary>The report's own stack trace; null where there is none.</summary>
    public LogBlock? Main => Blocks.FirstOrDefault(b => b.Role == LogBlockRole.Main);

    /// <summary>The first value of a name; null where there is none.</summary>
    public string? Fact(string name) => Facts.FirstOrDefault(f => f.Name == name)?.Value;
}
