namespace Panacea.Diagnosis.Machine;

/// <summary>A value and what it is.</summary>
/// <param name="Where">The register's name, or for a word of a stack its guest-virtual address as <c>0x…</c>.</param>
/// <param name="Value">The value.</param>
/// <param name="Meaning">What it is, of a closed list: <c>symbol</c>, <c>task</c>, <c>task-stack</c>, <c>slab-object</c>, …</param>
/// <param name="Text">One line for a person.</param>
/// <param name="Confidence">How sure.</param>
public sealed record ExplainedValue(string Where, ulong Value, string Meaning, string Text, Confidence Confidence);

/// <summary>Registers and stacks of the crash, every value explained.</summary>
/// <param name="Registers">Every general register.</param>
/// <param name="Stack">Words of the stacks that the crash went over, innermost first, from its stack pointer on: those that mean something; numbers and user-space addresses are left out.</param>
/// <param name="Words">How many words were looked at.</param>
/// <param name="Without">What could not be read for explaining, in sentences.</param>
public sealed record CrashValues(IReadOnlyList<ExplainedValue> Registers, IReadOnlyList<ExplainedValue> Stack, int Words, IReadOnlyList<string> Without);

/// <summary>What surrounds the task that crashed.</summary>
/// <param name="Uid">Effective user id; null where unreadable.</param>
/// <param name="Gid">Effective group id; null where unreadable.</param>
/// <param name="Parents">Its ancestors, the parent first.</param>
/// <param name="Cgroups">Its control groups: <c>controllers:path</c>, or the path alone for version 2.</param>
/// <param name="Hostname">Node name of its UTS namespace; null where unreadable.</param>
/// <param name="OtherNamespaces">Namespaces that are not those of the first process, by name; their inode numbers.</param>
public sealed record TaskSurroundings(
    long? Uid, long? Gid, IReadOnlyList<TaskLabel> Parents, IReadOnlyList<string> Cgroups, string? Hostname, IReadOnlyDictionary<string, long> OtherNamespaces);

/// <summary>A sleeping lock that somebody holds.</summary>
/// <param name="Kind"><c>mutex</c> or <c>rw-semaphore</c>.</param>
/// <param name="Lock">Guest-virtual address.</param>
/// <param name="Name">Its name, where it is a variable of the kernel or a module, or the slab object that it lies in.</param>
/// <param name="Owner">Who holds it.</param>
/// <param name="OwnerPid">Thread id.</param>
/// <param name="IsReader">The owner is one of perhaps several readers, and may have let go.</param>
/// <param name="Waiters">Tasks that wait for it.</param>
/// <param name="Confidence">How sure.</param>
public sealed record HeldLockReport(string Kind, ulong Lock, string? Name, string? Owner, int OwnerPid, bool IsReader, IReadOnlyList<TaskLabel> Waiters, Confidence Confidence);
