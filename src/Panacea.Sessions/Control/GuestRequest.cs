using System.Text.Json.Serialization;
using Panacea.Injection;
using Panacea.Kernel.Subsystems;

namespace Panacea.Sessions.Control;

/// <summary>Something that is asked of a guest: answered by its guard where it has one, else by whoever attaches to it. One JSON object.</summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "request")]
[JsonDerivedType(typeof(FuseListRequest), "fuse-list")]
[JsonDerivedType(typeof(FuseSetRequest), "fuse-set")]
[JsonDerivedType(typeof(FuseClearRequest), "fuse-clear")]
[JsonDerivedType(typeof(QuarantineListRequest), "quarantine-list")]
[JsonDerivedType(typeof(QuarantineInspectRequest), "quarantine-inspect")]
[JsonDerivedType(typeof(QuarantineKillRequest), "quarantine-kill")]
[JsonDerivedType(typeof(FaultListRequest), "fault-list")]
[JsonDerivedType(typeof(FaultInjectRequest), "fault-inject")]
[JsonDerivedType(typeof(FaultRevertRequest), "fault-revert")]
public abstract record GuestRequest;

/// <summary>Which fuses are set?</summary>
public sealed record FuseListRequest : GuestRequest;

/// <summary>Sets a fuse.</summary>
/// <param name="Function">The function: its name, or <c>module:name</c>.</param>
/// <param name="Value">What it is to return, as <see cref="FuseValue"/> reads it; null for the error of its type.</param>
/// <param name="Force">Also a function of the kernel's own, which anything may call.</param>
public sealed record FuseSetRequest(string Function, string? Value, bool Force) : GuestRequest;

/// <summary>Takes a fuse away.</summary>
/// <param name="Function">The function: its name, or <c>module:name</c>; null for every fuse.</param>
public sealed record FuseClearRequest(string? Function) : GuestRequest;

/// <summary>Which tasks were frozen?</summary>
public sealed record QuarantineListRequest : GuestRequest;

/// <summary>What is the stack of a frozen task?</summary>
/// <param name="Pid">Its thread id, in the guest's initial namespace.</param>
public sealed record QuarantineInspectRequest(int Pid) : GuestRequest;

/// <summary>Ends a frozen task.</summary>
/// <param name="Pid">Its thread id, in the guest's initial namespace.</param>
public sealed record QuarantineKillRequest(int Pid) : GuestRequest;

/// <summary>Which faults of a kind could a function have?</summary>
/// <param name="Type">The kind: of text, or direct.</param>
/// <param name="Function">The function: its name, or <c>module:name</c>.</param>
/// <param name="Seed">What is chosen at each place.</param>
public sealed record FaultListRequest(FaultType Type, string Function, ulong Seed) : GuestRequest;

/// <summary>Injects a fault.</summary>
/// <param name="Type">Its kind.</param>
/// <param name="At">Where: a function (its name, or <c>module:name</c>), the beginning of functions' names and <c>*</c>, the name of a module for any of its functions, <c>hot</c> for one that is being used; null for any of the kernel.</param>
/// <param name="Seed">What is chosen.</param>
public sealed record FaultInjectRequest(FaultType Type, string? At, ulong Seed) : GuestRequest
{
    /// <summary>The guard takes it out again at the first crash, before it does anything else, or after the first hang: a mistake that shows once.</summary>
    public bool UntilCrash { get; init; }
}

/// <summary>Takes a fault back where what it wrote is still there.</summary>
/// <param name="Changes">What it wrote.</param>
public sealed record FaultRevertRequest(IReadOnlyList<FaultChange> Changes) : GuestRequest;

/// <summary>A fuse, as lists tell it.</summary>
/// <param name="Function">The function's symbol.</param>
/// <param name="Module">The module it is of; null for the kernel's own.</param>
/// <param name="Address">Guest-virtual address of the function, hex.</param>
/// <param name="Returns">What it returns: <c>-EIO</c>, <c>0</c>; of no meaning where it returns nothing.</param>
public sealed record FuseLine(string Function, string? Module, string Address, string Returns)
{
    /// <summary>Of a fuse.</summary>
    public static FuseLine Of(Fuse fuse) => new(fuse.Function, fuse.Module, $"0x{fuse.Entry:x}", Fuses.Shown(fuse.Value));
}

/// <summary>A frozen task, as lists tell it.</summary>
/// <param name="Pid">Thread id.</param>
/// <param name="Process">Process id.</param>
/// <param name="Comm">Its name.</param>
/// <param name="Where">Where it crashed: <c>function+0x1a [module]</c>; null where that can't be told.</param>
/// <param name="SleptMs">Milliseconds for which it has slept; null where that can't be told.</param>
public sealed record FrozenLine(int Pid, int Process, string Comm, string? Where, long? SleptMs)
{
    /// <summary>Of a frozen task.</summary>
    public static FrozenLine Of(FrozenTask task) =>
        new(task.Task.Pid, task.Task.Tgid, task.Task.Comm, task.Where?.ToShortString(), task.Slept is { } slept ? (long)(slept.Ns / 1_000_000) : null);
}

/// <summary>What came of a request.</summary>
public sealed record GuestAnswer
{
    /// <summary>What was wrong and what to do, one sentence; null where nothing was.</summary>
    public string? Error { get; init; }

    /// <summary>What was asked for does not exist in the guest.</summary>
    public bool IsMissing { get; init; }

    /// <summary>What was asked for can't be done with this function or task, whenever one asks.</summary>
    public bool IsRefused { get; init; }

    /// <summary>The guest's fuses after it: of requests about fuses.</summary>
    public IReadOnlyList<FuseLine> Fuses { get; init; } = [];

    /// <summary>The guest's frozen tasks after it: of requests about the quarantine.</summary>
    public IReadOnlyList<FrozenLine> Frozen { get; init; } = [];

    /// <summary>The stack of the one task that was asked for, the innermost frame first, as the kernel prints frames; <c>?</c> before those that are not sure.</summary>
    public IReadOnlyList<string> Stack { get; init; } = [];

    /// <summary>Faults: the one that was injected, or those that could be.</summary>
    public IReadOnlyList<Fault> Faults { get; init; } = [];

    /// <summary>What could not be read, in sentences.</summary>
    public IReadOnlyList<string> Missing { get; init; } = [];

    /// <summary>Microseconds for which the guest was stopped for it.</summary>
    public long StoppedUs { get; init; }

    /// <summary>Something was wrong.</summary>
    public static GuestAnswer Wrong(string error) => new() { Error = error };

    /// <summary>It can't be done.</summary>
    public static GuestAnswer Refused(string error) => new() { Error = error, IsRefused = true };

    /// <summary>It does not exist.</summary>
    public static GuestAnswer None(string error) => new() { Error = error, IsMissing = true };
}

/// <summary>JSON shape of requests and answers: snake_case, one line.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(GuestRequest))]
[JsonSerializable(typeof(GuestAnswer))]
public sealed partial class GuestRequestJson : JsonSerializerContext;
