using System.Text.Json.Serialization;
using Panacea.Diagnosis.ConsoleLog;
using Panacea.Diagnosis.DebugInfo;
using Panacea.Diagnosis.KnownIssues;
using Panacea.Diagnosis.Validators;

namespace Panacea.Diagnosis.Machine;

/// <summary>Where a diagnosis comes from.</summary>
[JsonConverter(typeof(KebabEnumConverter<SourceKind>))]
public enum SourceKind
{
    /// <summary>A running guest, held while registers and stacks were read.</summary>
    LiveHeld,

    /// <summary>A crash dump.</summary>
    Dump,
}

/// <summary>The kernel and what it was told.</summary>
/// <param name="Release">uname -r.</param>
/// <param name="Banner">linux_banner: version, compiler, build time.</param>
/// <param name="BuildId">GNU build id, lower-case hex; null where the kernel has none.</param>
/// <param name="CommandLine">Kernel command line; null where it could not be read.</param>
/// <param name="Hostname">Node name of the initial UTS namespace; null where it could not be read.</param>
/// <param name="UptimeMs">Milliseconds since boot, by jiffies; null where they could not be read.</param>
/// <param name="Taint">Taint letters; null where unreadable.</param>
/// <param name="Panic">Settings that decide what a failure leads to, by sysctl name: <c>kernel.panic_on_oops</c>, <c>vm.overcommit_memory</c>, …; those that the kernel has.</param>
public sealed record KernelFacts(
    string Release, string Banner, string? BuildId, string? CommandLine, string? Hostname, long? UptimeMs, string? Taint, IReadOnlyDictionary<string, long> Panic);

/// <summary>What one CPU was doing.</summary>
/// <param name="Vcpu">The vCPU, in the source's order.</param>
/// <param name="Cpu">The kernel's number of the CPU; null where it could not be told.</param>
/// <param name="Task">The current task; null where it could not be read.</param>
/// <param name="IsUserMode">It executed user code.</param>
/// <param name="Stack">Its stack, innermost frame first; empty in user mode.</param>
/// <param name="StackEnds">Why the proved part of the stack ends too early; null where it is whole.</param>
public sealed record CpuReport(int Vcpu, int? Cpu, ReportTask? Task, bool IsUserMode, IReadOnlyList<ReportFrame> Stack, string? StackEnds);

/// <summary>A task that waits uninterruptibly.</summary>
/// <param name="Task">The task.</param>
/// <param name="SleptMs">Milliseconds for which it has been off the CPU; null where that can't be told.</param>
/// <param name="SleptIs">How far that time can be believed: <c>exact</c>, <c>at-most</c>, <c>at-least</c>; null where there is none.</param>
/// <param name="Stack">Its stack, innermost frame first.</param>
public sealed record WaitingTask(ReportTask Task, long? SleptMs, string? SleptIs, IReadOnlyList<ReportFrame> Stack);

/// <summary>Tasks in numbers, and those worth a look.</summary>
/// <param name="Threads">All threads.</param>
/// <param name="ByState">How many are in each state, by its letter as ps prints it.</param>
/// <param name="Uninterruptible">Tasks that wait uninterruptibly, at most <see cref="MachineReporter.MaxWaiting"/>.</param>
public sealed record TaskFacts(int Threads, IReadOnlyDictionary<string, int> ByState, IReadOnlyList<WaitingTask> Uninterruptible);

/// <summary>One wait of a task for a lock.</summary>
/// <param name="Pid">Thread that waits.</param>
/// <param name="Comm">Its name.</param>
/// <param name="Kind">Kind of lock: <c>mutex</c>, <c>rw-semaphore</c>, …</param>
/// <param name="Lock">Guest-virtual address of the lock.</param>
/// <param name="Name">Its name, where it is a variable of the kernel or a module.</param>
/// <param name="OwnerPid">Thread that holds it; null where nobody is known to.</param>
/// <param name="OwnerComm">Its name.</param>
public sealed record LockWaitReport(int? Pid, string? Comm, string Kind, ulong Lock, string? Name, int? OwnerPid, string? OwnerComm);

/// <summary>A chain of waits: each task waits for a lock that the next one holds.</summary>
/// <param name="Ends">What it ends in: <c>runs</c>, <c>sleeps</c>, <c>deadlock</c>, <c>owner-gone</c>, <c>owner-unknown</c>.</param>
/// <param name="Links">The waits, the hindmost first.</param>
public sealed record LockChain(string Ends, IReadOnlyList<LockWaitReport> Links);

/// <summary>A CPU that spins for a spinlock.</summary>
/// <param name="Cpu">The kernel's number of the CPU.</param>
/// <param name="Lock">Guest-virtual address of the lock.</param>
/// <param name="Name">Its name, where it is a variable of the kernel or a module.</param>
/// <param name="Caller">The function that wants it.</param>
/// <param name="PossibleHolders">CPUs that could hold it.</param>
/// <param name="IsSelfDeadlock">Nobody but this CPU itself can hold it.</param>
/// <param name="Confidence">How sure the lock's address is.</param>
public sealed record SpinReport(int Cpu, ulong Lock, string? Name, string? Caller, IReadOnlyList<int> PossibleHolders, bool IsSelfDeadlock, Confidence Confidence);

/// <summary>Who waits for whom.</summary>
/// <param name="Chains">Chains of waits, deadlocks first.</param>
/// <param name="Spinning">CPUs that spin.</param>
public sealed record LockFacts(IReadOnlyList<LockChain> Chains, IReadOnlyList<SpinReport> Spinning);

/// <summary>One loaded module.</summary>
/// <param name="Name">Name.</param>
/// <param name="Base">Guest-virtual address of its text.</param>
/// <param name="Bytes">Bytes of all its memory.</param>
/// <param name="Taint">Taint letters that it brings; empty where none.</param>
/// <param name="State"><c>live</c>, <c>coming</c>, <c>going</c>, <c>unformed</c>.</param>
public sealed record ModuleReport(string Name, ulong Base, ulong Bytes, string Taint, string State);

/// <summary>One rung of the ladder, as it judges a crash.</summary>
/// <param name="Repair">The repair.</param>
/// <param name="Applies">It applies.</param>
/// <param name="Explanation">What it does, or why it does not apply.</param>
/// <param name="Loses">What the guest loses by it.</param>
/// <param name="Risks">What may go wrong after it.</param>
public sealed record RepairOption(string Repair, bool Applies, string Explanation, IReadOnlyList<string> Loses, IReadOnlyList<string> Risks);

/// <summary>Whether a guest that died so can go on.</summary>
/// <param name="IsRecoverable">A repair applies.</param>
/// <param name="Context">What the vCPU was running for.</param>
/// <param name="Repairs">Every rung, the one that loses least first.</param>
public sealed record RecoverabilityVerdict(bool IsRecoverable, CrashContext Context, IReadOnlyList<RepairOption> Repairs);

/// <summary>A report that the kernel itself has written into its log since it booted, in short.</summary>
/// <param name="Title">One line, worded as <see cref="CrashReport.Title"/>.</param>
/// <param name="Bucket">As <see cref="CrashReport.Bucket"/>.</param>
/// <param name="Kind">Kind.</param>
/// <param name="Rank">What it is to the others.</param>
/// <param name="Location">Function at fault; null where the log does not tell.</param>
/// <param name="TimestampNs">Nanoseconds since boot by the log's own stamp; null where it has none.</param>
public sealed record LoggedReport(string Title, string Bucket, CrashKind Kind, LogRank Rank, LogLocation? Location, ulong? TimestampNs = null);

/// <summary>Everything that is said of a machine at one moment. Immutable; rendered elsewhere. The JSON shape is docs/diagnosis.schema.json.</summary>
public sealed record MachineReport
{
    /// <summary>Version of the JSON shape: members are added within a version, never renamed or removed.</summary>
    public int Schema { get; init; } = 1;

    /// <summary>The source as the user named it.</summary>
    public required string Source { get; init; }

    /// <summary>What kind of source it is.</summary>
    public required SourceKind Kind { get; init; }

    /// <summary>One line about the source for a person: <c>kdump-compressed dump, version 6</c>.</summary>
    public required string Description { get; init; }

    /// <summary>The kernel.</summary>
    public required KernelFacts Kernel { get; init; }

    /// <summary>The crash; null where none was found.</summary>
    public CrashReport? Crash { get; init; }

    /// <summary>Why there is no crash; null where there is one.</summary>
    public string? WhyNoCrash { get; init; }

    /// <summary>Whether the guest could go on; null where there is no crash.</summary>
    public RecoverabilityVerdict? Recoverability { get; init; }

    /// <summary>Every CPU whose registers are known.</summary>
    public required IReadOnlyList<CpuReport> Cpus { get; init; }

    /// <summary>Tasks; null where the task list could not be read.</summary>
    public TaskFacts? Tasks { get; init; }

    /// <summary>Locks that are waited for; null where that could not be told.</summary>
    public LockFacts? Locks { get; init; }

    /// <summary>Memory, run queues, work, timers, file systems, block devices and held locks.</summary>
    public required MachineState State { get; init; }

    /// <summary>What was noticed of the machine as a whole, beyond the crash.</summary>
    public IReadOnlyList<Finding> Findings { get; init; } = [];

    /// <summary>Families of the kernel's structures that were checked; what is broken in them is in <see cref="Findings"/>. Empty where none were.</summary>
    public IReadOnlyList<StructureCheck> Structures { get; init; } = [];

    /// <summary>Loaded modules, newest first.</summary>
    public required IReadOnlyList<ModuleReport> Modules { get; init; }

    /// <summary>Oopses, warnings, lockups and the like that the kernel log holds, oldest first.</summary>
    public IReadOnlyList<LoggedReport> Logged { get; init; } = [];

    /// <summary>The tail of the kernel log.</summary>
    public required IReadOnlyList<ConsoleLine> Console { get; init; }

    /// <summary>Known issues that it looks like, the surest first; empty where no rules were given or none matched.</summary>
    public IReadOnlyList<KnownIssue> KnownIssues { get; init; } = [];

    /// <summary>Files whose debug information was used.</summary>
    public IReadOnlyList<UsedDebugFile> DebugFiles { get; init; } = [];

    /// <summary>What the source lacks and what could not be read, and why.</summary>
    public required IReadOnlyList<string> Missing { get; init; }
}
