using System.Text.Json.Serialization;
using Panacea.Diagnosis;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Repair;

/// <summary>A rung of the ladder of repairs; the spelling in events and records is kebab-case (<c>error-return</c>).</summary>
[JsonConverter(typeof(KebabEnumConverter<RepairKind>))]
public enum RepairKind
{
    /// <summary>Nothing was done: the guest did what it would have done alone.</summary>
    None,

    /// <summary>A setting had made a panic of a report of the kernel's; the kernel went on as it does without the setting.</summary>
    GoOn,

    /// <summary>Code or a trap gate that differed from the pristine copy was restored, and tried again where that could be done; the one wrong pointer of a list was mended; a mutex whose owner is gone was released.</summary>
    Heal,

    /// <summary>The call that crashed was made again: over a copy of the guest's memory it gets past the crash now. Nothing is lost.</summary>
    Retry,

    /// <summary>The faulty function returned an error to its caller; the process lives.</summary>
    ErrorReturn,

    /// <summary>The stack was unwound to a place where returning is safe: an outer function returned an error, or one that the kernel had called back returned. What was being done is lost, the process lives.</summary>
    Unwind,

    /// <summary>The offending process was killed.</summary>
    Kill,

    /// <summary>The offending thread sleeps for ever where it stood.</summary>
    Freeze,
}

/// <summary>Bytes to be written into guest memory.</summary>
/// <param name="Address">Guest-virtual address, in the kernel's address space.</param>
/// <param name="Bytes">What to write.</param>
/// <param name="Why">What the bytes are, for the record.</param>
public sealed record PlannedWrite(VirtualAddress Address, ReadOnlyMemory<byte> Bytes, string Why);

/// <summary>A register to be set on one vCPU.</summary>
/// <param name="Vcpu">vCPU index.</param>
/// <param name="Register">Register.</param>
/// <param name="Value">New value.</param>
/// <param name="Why">What the value is, for the record.</param>
public sealed record PlannedRegister(int Vcpu, WritableRegister Register, ulong Value, string Why);

/// <summary>A repair as pure data: what is to be written where, and why. Nothing is written until a journal applies it.</summary>
public sealed record RepairPlan
{
    /// <summary>The rung.</summary>
    public required RepairKind Kind { get; init; }

    /// <summary>What will be done, in a sentence.</summary>
    public required string Explanation { get; init; }

    /// <summary>Memory writes, in order.</summary>
    public required IReadOnlyList<PlannedWrite> Writes { get; init; }

    /// <summary>Register writes, in order; applied after the memory writes.</summary>
    public required IReadOnlyList<PlannedRegister> Registers { get; init; }

    /// <summary>Further steps, in order, where the first alone does not lead to the state wanted: past a trap handler that would send a signal, or through the kernel's own functions that
    /// give locks back.</summary>
    public IReadOnlyList<PlannedContinuation> Continuations { get; init; } = [];

    /// <summary>The function that is made to return; null where the plan leads elsewhere.</summary>
    public ReturnedFunction? Returned { get; init; }

    /// <summary>The fuse that is set with it, which keeps the function from running again; null for none.</summary>
    public Fuse? Fuse { get; init; }

    /// <summary>How sure it is that the guest lives after it.</summary>
    public Confidence Confidence { get; init; } = Confidence.High;

    /// <summary>What the guest loses by it: empty where nothing.</summary>
    public required IReadOnlyList<string> Lost { get; init; }

    /// <summary>What may go wrong after it.</summary>
    public required IReadOnlyList<string> Risks { get; init; }
}

/// <summary>A function that a repair has made return.</summary>
/// <param name="Function">Its symbol.</param>
/// <param name="Module">The module it is of; null for the kernel's own.</param>
/// <param name="Entry">Guest-virtual address of the function.</param>
/// <param name="Value">RAX where it is to return the same each time; null where it returns nothing.</param>
public sealed record ReturnedFunction(string Function, string? Module, ulong Entry, ulong? Value);

/// <summary>A further step of a repair: the guest runs on until a vCPU reaches an address with a given stack pointer, and registers and memory are set there.</summary>
/// <param name="Address">Guest-virtual address to stop at: one hardware breakpoint for as long as it takes.</param>
/// <param name="StackPointer">RSP there; another one is another activation. The task may have gone to another vCPU meanwhile.</param>
/// <param name="Registers">Registers to set, of the vCPU that gets there; <see cref="PlannedRegister.Vcpu"/> does not count.</param>
/// <param name="Writes">Memory writes, before the registers.</param>
/// <param name="Why">What is being waited for, in words that complete "… was not reached in time".</param>
public sealed record PlannedContinuation(ulong Address, ulong StackPointer, IReadOnlyList<PlannedRegister> Registers, IReadOnlyList<PlannedWrite> Writes, string Why)
{
    /// <summary>Preempt count to set of the CPU that gets there, without its need-resched bit; null for leaving it as it is.</summary>
    public uint? PreemptCount { get; init; }

    /// <summary>The repair holds without it: it is waited for a moment only, and has not failed where it does not come.</summary>
    public bool IsOptional { get; init; }
}
