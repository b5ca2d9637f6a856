using System.Text.Json.Serialization;

namespace Panacea.Diagnosis.Machine;

/// <summary>When the state of a machine was read.</summary>
[JsonConverter(typeof(KebabEnumConverter<StateMoment>))]
public enum StateMoment
{
    /// <summary>It stood still: everything is of one moment.</summary>
    Standing,

    /// <summary>It ran meanwhile: each part is of its own moment.</summary>
    Running,
}

/// <summary>What a kernel has at hand: memory, run queues, work, timers, file systems, block devices, locks. Each part is null where it could not be read; a sentence says why.</summary>
/// <param name="Moment">When it was read.</param>
/// <param name="Memory">Memory.</param>
/// <param name="Scheduling">Run queues and RCU.</param>
/// <param name="Workqueues">Workqueues.</param>
/// <param name="Timers">Timers.</param>
/// <param name="Mounts">Mounts of the first process.</param>
/// <param name="Block">Block devices.</param>
/// <param name="HeldLocks">Mutexes and rw_semaphores that somebody holds: those in the data of the kernel and of modules, and those of the crashed task in objects that its registers and stack
/// point to.</param>
public sealed record MachineState(
    StateMoment Moment, MemoryFacts? Memory, SchedulingFacts? Scheduling, WorkqueueFacts? Workqueues, TimerFacts? Timers, IReadOnlyList<MountReport>? Mounts, BlockFacts? Block,
    IReadOnlyList<HeldLockReport>? HeldLocks);
