using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Kernel.Replay;

/// <summary>What a replay is made of.</summary>
public sealed record ReplayInput
{
    /// <summary>Text, functions, stacks.</summary>
    public required FrameAnalysis Analysis { get; init; }

    /// <summary>The crashed stack, innermost frame first.</summary>
    public required IReadOnlyList<StackFrame> Frames { get; init; }

    /// <summary>The frame whose function is to be called again, by the next one outwards.</summary>
    public required int Index { get; init; }

    /// <summary>The state in which that function has returned.</summary>
    public required ReturnState Return { get; init; }

    /// <summary>The kernel's address space, over memory that does not change meanwhile.</summary>
    public required AddressSpace Space { get; init; }

    /// <summary>The address space of the crashed process, for its own half; null where there is none.</summary>
    public AddressSpace? User { get; init; }

    /// <summary>What replays over the same memory have in common.</summary>
    public ReplayCache Cache { get; init; } = new();

    /// <summary>Base of GS of the crashed CPU.</summary>
    public required ulong GsBase { get; init; }

    /// <summary>The interrupt flag where the call is made; null where it is not known.</summary>
    public required bool? Interrupts { get; init; }

    /// <summary>The function that begins at an address; null where none does.</summary>
    public required Func<ulong, string?> NameOf { get; init; }

    /// <summary>Locks that are given back before the call is made again.</summary>
    public IReadOnlyCollection<ulong> Released { get; init; } = [];

    /// <summary>Calls that took a lock in a frame, of which nobody could tell which it was.</summary>
    public IReadOnlyCollection<(int Frame, ulong Call)> Unproved { get; init; } = [];

    /// <summary>Guest-virtual address of the CPU's preempt count, and what it is when the call is made again; null where it is not known.</summary>
    public (ulong Address, uint Value)? PreemptCount { get; init; }

    /// <summary>A word of eight bytes that is mended before the call is made again, guest-virtual, and its value then: what made it crash stood there, so that a replay that has read it has got past the crash. Null where there is none.</summary>
    public (ulong Address, ulong Value)? Mended { get; init; }

    /// <summary>Number of parameters of the function that is called; null where it is not known. Where all of them are, what is not known behind what was mended is no matter of how the call is made.</summary>
    public int? Parameters { get; init; }

    /// <summary>The call is not to be made again: the replay is to tell how it would have come to the place of the crash (<see cref="ReplayResult.Points"/>). What the crashed call holds stays held, and a lock that
    /// it comes by on its way, and that is held, is its own.</summary>
    public bool KeepsLocks { get; init; }

    /// <summary>Guest-virtual address of the task_struct that mutexes are taken for; 0 where there is none.</summary>
    public ulong Task { get; init; }

    /// <summary>The clock that the kernel keeps its time by, which stands still in a replay; null, or a result of null, where it is not known.</summary>
    public Func<ClockReading?>? Clock { get; init; }

    /// <summary>The frame that is to blame: of what did not get on, the call has to come to it again.</summary>
    public int Blamed { get; init; }

    /// <summary>What the call does it can do twice (<see cref="BlockFunctions"/>): it need not come by the place of the crash, nor find what it writes in memory.</summary>
    public bool IsRepeatable { get; init; }

    /// <summary>What did not get on may stand anywhere: only a call that comes back has got past it.</summary>
    public bool MustReturn { get; init; }

    /// <summary>Instructions that may be executed.</summary>
    public required int MaxInstructions { get; init; }
}
