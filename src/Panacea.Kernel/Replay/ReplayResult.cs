using Panacea.Kernel.Code;
using Panacea.Target;

namespace Panacea.Kernel.Replay;

/// <summary>What came of a replay.</summary>
public enum ReplayVerdict
{
    /// <summary>It gets past the place of the crash, and does nothing twice.</summary>
    Passes,

    /// <summary>It crashes again.</summary>
    Crashes,

    /// <summary>Something would be done a second time, and come out otherwise.</summary>
    DoneAlready,

    /// <summary>It ends before the place of the crash, at something that can't be told.</summary>
    Unknown,
}

/// <summary>The result of a replay.</summary>
/// <param name="Verdict">What came of it.</param>
/// <param name="Entry">Guest-virtual address of the function that is called again.</param>
/// <param name="Arguments">The registers that carry its arguments, as far as the call's code tells them; the function has looked at no others.</param>
/// <param name="At">Guest-virtual address of the instruction at which it ended.</param>
/// <param name="Why">What it did there: completes "it …".</param>
/// <param name="HasReturned">The function came back.</param>
/// <param name="Instructions">Instructions executed.</param>
/// <param name="Locks">Of the calls that took a lock of which nobody could tell which: those that the replay came by, with the lock's guest-virtual address; <c>IsHeld</c> says that somebody holds it.</param>
public sealed record ReplayResult(
    ReplayVerdict Verdict, ulong Entry, IReadOnlyList<(Gpr Register, ulong Value)> Arguments, ulong At, string Why, bool HasReturned, int Instructions, IReadOnlyList<(int Frame, ulong Call, ulong Address, bool IsHeld)> Locks)
{
    /// <summary>The state in which it came by the place of the crash, each time, as long as what it had stored until then was in memory already.</summary>
    public IReadOnlyList<ReplayPoint> Points { get; init; } = [];

    /// <summary>How often it came by that place in all.</summary>
    public int Arrivals { get; init; }

    /// <summary>Its code may come by that place more often than once: which of <see cref="Points"/> the crash was in, only the registers tell.</summary>
    public bool IsRepeated { get; init; }
}

/// <summary>The state in which a replay came by the place of a crash.</summary>
/// <param name="Ip">Guest-virtual address of the instruction that is next: the one that trapped, the call that led nowhere, or what follows the branch that led to the trap, or an HLT that trapped.</param>
/// <param name="StackPointer">Stack pointer.</param>
/// <param name="Registers">The general registers, as far as they are known.</param>
/// <param name="Stack">What lies otherwise than it should on the stack from the stack pointer to where the replayed call began: guest-virtual addresses, and the bytes that belong there.</param>
/// <param name="Interrupts">The interrupt flag; null where it is not known.</param>
public sealed record ReplayPoint(ulong Ip, ulong StackPointer, KnownRegisters Registers, IReadOnlyList<(ulong Address, byte[] Bytes)> Stack, bool? Interrupts);
