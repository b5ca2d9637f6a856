namespace Panacea.Cli.Services.Inspection;

/// <summary>One thread.</summary>
/// <param name="Pid">Thread id.</param>
/// <param name="Tgid">Process id.</param>
/// <param name="Ppid">Process id of the parent.</param>
/// <param name="State">State letter, as ps prints it.</param>
/// <param name="Cpu">CPU it runs or last ran on; null where unknown.</param>
/// <param name="Comm">Name.</param>
/// <param name="Kernel">It is a kernel thread.</param>
/// <param name="Address">Address of its task_struct.</param>
internal sealed record TaskRow(int Pid, int Tgid, int Ppid, string State, int? Cpu, string Comm, bool Kernel, ulong Address)
{
    /// <summary>It is on a CPU.</summary>
    public bool Active { get; init; }

    /// <summary>Resident memory of its process in per cent of all; null where unreadable.</summary>
    public double? MemoryPercent { get; init; }

    /// <summary>Virtual memory of its process in KiB; null where unreadable.</summary>
    public long? VszKib { get; init; }

    /// <summary>Resident memory of its process in KiB; null where unreadable.</summary>
    public long? RssKib { get; init; }
}

/// <summary>One task in detail. What could not be read is null.</summary>
internal sealed record TaskReport
{
    /// <summary>The task as ps lists it.</summary>
    public required TaskRow Task { get; init; }

    /// <summary>Its arguments; null for kernel threads.</summary>
    public string? CommandLine { get; init; }

    /// <summary>Its ancestors, nearest first: <c>1 init</c>.</summary>
    public IReadOnlyList<string> Parents { get; init; } = [];

    /// <summary>Threads of its process.</summary>
    public int Threads { get; init; }

    /// <summary>Raw task_struct.__state, exit_state not included.</summary>
    public uint RawState { get; init; }

    /// <summary>task_struct.flags.</summary>
    public uint Flags { get; init; }

    /// <summary>SCHED_*, lower case.</summary>
    public required string Policy { get; init; }

    /// <summary>Effective priority, task_struct.prio.</summary>
    public int Priority { get; init; }

    /// <summary>Nice value.</summary>
    public int Nice { get; init; }

    /// <summary>User time in nanoseconds, as the tick has sampled it.</summary>
    public long UserNs { get; init; }

    /// <summary>System time in nanoseconds, as the tick has sampled it.</summary>
    public long SystemNs { get; init; }

    /// <summary>CPU time in nanoseconds, as the scheduler has measured it.</summary>
    public long RuntimeNs { get; init; }

    /// <summary>Start in nanoseconds since boot.</summary>
    public long StartNs { get; init; }

    /// <summary>Switches that it asked for.</summary>
    public long VoluntarySwitches { get; init; }

    /// <summary>Switches that it was made to do.</summary>
    public long InvoluntarySwitches { get; init; }

    /// <summary>Nanoseconds for which it has been off the CPU.</summary>
    public long? SleptNs { get; init; }

    /// <summary>The function it sleeps in, as /proc/PID/wchan.</summary>
    public string? WaitsIn { get; init; }

    /// <summary>Lowest address of its kernel stack.</summary>
    public ulong Stack { get; init; }

    /// <summary>mm_struct; 0 for kernel threads.</summary>
    public ulong Mm { get; init; }

    /// <summary>Real and effective user, real and effective group.</summary>
    public IReadOnlyList<long>? Ids { get; init; }

    /// <summary>Effective capabilities.</summary>
    public ulong? Capabilities { get; init; }

    /// <summary>Path in the cgroup v2 hierarchy.</summary>
    public string? Cgroup { get; init; }

    /// <summary>Working directory.</summary>
    public string? WorkingDirectory { get; init; }

    /// <summary>Root directory.</summary>
    public string? Root { get; init; }

    /// <summary>The program it runs.</summary>
    public string? Executable { get; init; }

    /// <summary>Inode numbers of its namespaces.</summary>
    public IReadOnlyDictionary<string, long>? Namespaces { get; init; }
}

/// <summary>The open files of a task.</summary>
/// <param name="Task">The task.</param>
/// <param name="Root">Its root; null where unreadable.</param>
/// <param name="Cwd">Its working directory; null where unreadable.</param>
/// <param name="Files">By descriptor.</param>
internal sealed record FilesReport(TaskRow Task, string? Root, string? Cwd, IReadOnlyList<FileRow> Files);

/// <summary>An open file.</summary>
/// <param name="Fd">Descriptor.</param>
/// <param name="File">struct file.</param>
/// <param name="Dentry">struct dentry.</param>
/// <param name="Inode">struct inode.</param>
/// <param name="InodeNumber">Inode number.</param>
/// <param name="Type">REG, DIR, CHR, BLK, FIFO, SOCK, LNK, UNKN.</param>
/// <param name="Path">Name as /proc/PID/fd has it.</param>
/// <param name="Flags">O_* flags.</param>
/// <param name="Position">Position in bytes.</param>
/// <param name="Socket">What socket it is; null for other files and where unreadable.</param>
internal sealed record FileRow(
    int Fd, ulong File, ulong Dentry, ulong Inode, long InodeNumber, string Type, string Path, uint Flags, long Position, SocketRow? Socket);

/// <summary>One frame.</summary>
/// <param name="Address">Address of the code.</param>
/// <param name="Location">As the kernel prints it: name+0x1/0x20 [module].</param>
/// <param name="Reliable">Proved by unwind data, not found by scanning.</param>
internal sealed record FrameRow(ulong Address, string Location, bool Reliable)
{
    /// <summary>Stack pointer as of that instruction.</summary>
    public ulong Sp { get; init; }

    /// <summary>The stack that it lies on: task, irq, nmi, ….</summary>
    public string? Stack { get; init; }
}

/// <summary>What a vCPU executes, or the stack of a task.</summary>
/// <param name="Vcpu">vCPU index; null for a task that is on none.</param>
/// <param name="Pid">Pid of the task; null where unreadable.</param>
/// <param name="Comm">Name of the task; null where unreadable.</param>
/// <param name="UserMode">It was executing user code: then there is no kernel stack to show.</param>
/// <param name="Frames">Innermost first.</param>
internal sealed record BacktraceRow(int? Vcpu, int? Pid, string? Comm, bool UserMode, IReadOnlyList<FrameRow> Frames)
{
    /// <summary>task_struct; null where unreadable.</summary>
    public ulong? Task { get; init; }

    /// <summary>The kernel's number of the CPU that it runs or last ran on; null where unknown.</summary>
    public int? Cpu { get; init; }

    /// <summary>State letter; null where unreadable.</summary>
    public string? State { get; init; }

    /// <summary>Why the proved part of the stack ends too early, or why there is none; null where it is whole.</summary>
    public string? Ends { get; init; }
}
