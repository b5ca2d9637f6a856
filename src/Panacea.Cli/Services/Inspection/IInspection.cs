using Panacea.Cli.CommandLine;

namespace Panacea.Cli.Services.Inspection;

/// <summary>A kernel, understood, looked at for one question. Guest strings are as the guest has them: the caller escapes.</summary>
/// <remarks>What could not be read is an exception (<see cref="Panacea.Target.GuestMemoryException"/>, <see cref="Panacea.Kernel.KernelShapeException"/>), never an empty answer.</remarks>
internal interface IInspection
{
    /// <summary>Tasks and what is theirs.</summary>
    ITaskInspection Tasks { get; }

    /// <summary>Stacks.</summary>
    IStackInspection Stacks { get; }

    /// <summary>The kernel itself: modules, log, VMCOREINFO, the machine under it.</summary>
    IKernelInspection Kernel { get; }

    /// <summary>Symbols and types.</summary>
    ISymbolInspection Symbols { get; }

    /// <summary>Memory and code.</summary>
    IMemoryInspection Memory { get; }

    /// <summary>Who runs, who waits, what is due.</summary>
    ISchedulingInspection Scheduling { get; }

    /// <summary>Caches, mounts, network, devices, memory in numbers.</summary>
    IResourceInspection Resources { get; }

    /// <summary>What could not be read for the answers so far, in sentences; guest strings as they are.</summary>
    IReadOnlyList<string> Notes { get; }
}

/// <summary>Tasks and what is theirs.</summary>
internal interface ITaskInspection
{
    /// <summary>Every thread by pid, the idle task of each CPU among them.</summary>
    IReadOnlyList<TaskRow> List();

    /// <summary>One task in detail; null where there is none of that pid.</summary>
    TaskReport? Find(int pid);

    /// <summary>The open files of one task; null where there is none of that pid.</summary>
    FilesReport? Files(int pid);
}

/// <summary>Stacks. A running guest is held while they are read: registers and stacks have to fit together.</summary>
internal interface IStackInspection
{
    /// <summary>What each vCPU is executing, innermost frame first.</summary>
    IReadOnlyList<BacktraceRow> OfCpus();

    /// <summary>The stack of every task.</summary>
    IReadOnlyList<BacktraceRow> OfAllTasks();

    /// <summary>The stack of one task; null where there is none of that pid.</summary>
    BacktraceRow? Of(int pid);
}

/// <summary>The kernel itself.</summary>
internal interface IKernelInspection
{
    /// <summary>Every loaded module, in the kernel's order.</summary>
    IReadOnlyList<ModuleRow> Modules();

    /// <summary>The kernel log, oldest line first.</summary>
    IReadOnlyList<LogRow> Log();

    /// <summary>VMCOREINFO as the kernel exports it; null where it has none.</summary>
    string? VmcoreInfo();

    /// <summary>The machine in some twenty lines.</summary>
    SystemAnswer System();
}

/// <summary>Symbols and types.</summary>
internal interface ISymbolInspection
{
    /// <summary>Symbols of that name, or the one that covers an address given as 0x….</summary>
    IReadOnlyList<SymbolRow> Find(string name);

    /// <summary>A type as C, or null where there is none of that name.</summary>
    TypeText? FindType(string name);

    /// <summary>Every name of a symbol, sorted by ordinal, each once.</summary>
    IReadOnlyList<string> Names();

    /// <summary>Every name of a type, sorted by ordinal, each once.</summary>
    IReadOnlyList<string> TypeNames();
}

/// <summary>Memory and code.</summary>
internal interface IMemoryInspection
{
    /// <summary>Reads memory.</summary>
    ReadAnswer Read(ReadRequest request);

    /// <summary>Disassembles.</summary>
    DisassemblyAnswer Disassemble(DisassemblyRequest request);
}

/// <summary>Who runs, who waits, what is due.</summary>
internal interface ISchedulingInspection
{
    /// <summary>The run queue of every CPU.</summary>
    IReadOnlyList<RunQueueRow> RunQueues();

    /// <summary>Who waits for which lock. A running guest is held meanwhile.</summary>
    LocksAnswer Locks();

    /// <summary>Workqueues and the pools that do their work.</summary>
    WorkqueuesAnswer Workqueues();

    /// <summary>Timers of the wheel and high-resolution ones.</summary>
    TimersAnswer Timers();
}

/// <summary>Caches, mounts, network, devices, memory in numbers.</summary>
internal interface IResourceInspection
{
    /// <summary>Memory in numbers.</summary>
    MemoryAnswer Memory();

    /// <summary>Slab caches, the one that holds most first.</summary>
    IReadOnlyList<SlabRow> Slabs();

    /// <summary>The mounts that a task sees; null where there is no task of that pid.</summary>
    IReadOnlyList<MountRow>? Mounts(int pid);

    /// <summary>Network devices and TCP sockets.</summary>
    NetAnswer Net();

    /// <summary>Who has which device numbers, and what is under way on disks.</summary>
    DevicesAnswer Devices();
}

/// <summary>Opens a running guest or a dump for looking.</summary>
internal interface IInspectionService
{
    /// <summary>Opens it; a running guest goes on running.</summary>
    IInspectionSession Open(SourceName source, CancellationToken cancel);
}

/// <summary>An opened source: any number of questions, then let go of.</summary>
internal interface IInspectionSession : IDisposable
{
    /// <summary>What it is, in one line for a person; guest strings as they are.</summary>
    string Description { get; }

    /// <summary>What it lacks, in sentences.</summary>
    IReadOnlyList<string> Missing { get; }

    /// <summary>A new look: what was remembered of a running guest for an earlier question is forgotten.</summary>
    IInspection Look(CancellationToken cancel);
}
