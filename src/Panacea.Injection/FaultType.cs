using System.Text.Json;
using System.Text.Json.Serialization;
using Panacea.Diagnosis;

namespace Panacea.Injection;

/// <summary>What a fault changes.</summary>
[JsonConverter(typeof(KebabEnumConverter<FaultClass>))]
public enum FaultClass
{
    /// <summary>An instruction of a function: the mistakes that programmers make, and bits that flip in code.</summary>
    Text,

    /// <summary>Data of the kernel's: its stacks, its heap.</summary>
    Memory,

    /// <summary>A register of a vCPU.</summary>
    Register,

    /// <summary>The entry of a function, so that it crashes or hangs whenever it is called.</summary>
    Direct,
}

/// <summary>A kind of fault. Those of text and memory are the model of Rio (Ng, Chen, "The Systematic Improvement of Fault Tolerance in the Rio File Cache", FTCS 1999) and Nooks (Swift et al., SOSP 2003), which
/// goes back to what bugs of operating systems were found to be (Sullivan, Chillarege, FTCS 1991). Spelled in kebab-case: <c>text-bit-flip</c>.</summary>
[JsonConverter(typeof(KebabEnumConverter<FaultType>))]
public enum FaultType
{
    /// <summary>One bit of an instruction.</summary>
    TextBitFlip,

    /// <summary>An instruction reads another register or number than it should.</summary>
    Source,

    /// <summary>An instruction writes to another register than it should.</summary>
    Destination,

    /// <summary>An instruction computes a wrong address.</summary>
    Pointer,

    /// <summary>A conditional branch is missing.</summary>
    Branch,

    /// <summary>The condition at the end of a loop is inverted or off by one.</summary>
    Loop,

    /// <summary>A variable is not initialised at the beginning of a function.</summary>
    Initialization,

    /// <summary>An argument of a call is not set.</summary>
    Argument,

    /// <summary>A copy is longer than it should be.</summary>
    CopyOverrun,

    /// <summary>An allocation fails.</summary>
    AllocationFailure,

    /// <summary>Memory is not freed.</summary>
    SkippedFree,

    /// <summary>Memory is freed while it is in use.</summary>
    EarlyFree,

    /// <summary>One bit of the used part of a task's kernel stack.</summary>
    StackBitFlip,

    /// <summary>One bit of an object of the slab allocator that is in use.</summary>
    HeapBitFlip,

    /// <summary>One bit of a general-purpose register of a vCPU that runs kernel code.</summary>
    Register,

    /// <summary>The function writes through a NULL pointer.</summary>
    NullDereference,

    /// <summary>The function runs into UD2, the instruction of BUG().</summary>
    Bug,

    /// <summary>The function calls panic().</summary>
    Panic,

    /// <summary>The function never comes to an end.</summary>
    InfiniteLoop,

    /// <summary>The function returns 0 at once, and has done nothing.</summary>
    Return,

    /// <summary>The function takes a spinlock that is never given back.</summary>
    Deadlock,
}

/// <summary>What is to be known of a kind of fault.</summary>
/// <param name="Type">The kind.</param>
/// <param name="Class">What it changes.</param>
/// <param name="Name">How it is spelled.</param>
/// <param name="Summary">What it does, in a clause.</param>
/// <param name="IsReversible">What it changed can be put back: that stops the fault, not what came of it.</param>
public sealed record FaultKind(FaultType Type, FaultClass Class, string Name, string Summary, bool IsReversible);

/// <summary>All kinds of faults.</summary>
public static class FaultKinds
{
    /// <summary>In the order in which they are listed.</summary>
    public static IReadOnlyList<FaultKind> All { get; } =
    [
        Of(FaultType.TextBitFlip, FaultClass.Text, "flips one bit of an instruction"),
        Of(FaultType.Source, FaultClass.Text, "makes an instruction read another register or number"),
        Of(FaultType.Destination, FaultClass.Text, "makes an instruction write to another register"),
        Of(FaultType.Pointer, FaultClass.Text, "makes an instruction compute a wrong address"),
        Of(FaultType.Branch, FaultClass.Text, "deletes a conditional branch"),
        Of(FaultType.Loop, FaultClass.Text, "inverts the condition of a loop, or makes it off by one"),
        Of(FaultType.Initialization, FaultClass.Text, "deletes an initialisation at the beginning of a function"),
        Of(FaultType.Argument, FaultClass.Text, "deletes the instruction that sets an argument of a call"),
        Of(FaultType.CopyOverrun, FaultClass.Text, "makes a copy longer than it should be"),
        Of(FaultType.AllocationFailure, FaultClass.Text, "makes an allocation return NULL"),
        Of(FaultType.SkippedFree, FaultClass.Text, "deletes a call that frees memory"),
        Of(FaultType.EarlyFree, FaultClass.Memory, "frees an object of the slab allocator that is in use"),
        Of(FaultType.StackBitFlip, FaultClass.Memory, "flips one bit of the kernel stack of a task"),
        Of(FaultType.HeapBitFlip, FaultClass.Memory, "flips one bit of an object of the slab allocator that is in use"),
        Of(FaultType.Register, FaultClass.Register, "flips one bit of a register of a vCPU that runs kernel code"),
        Of(FaultType.NullDereference, FaultClass.Direct, "makes a function write through a NULL pointer"),
        Of(FaultType.Bug, FaultClass.Direct, "makes a function run into the instruction of BUG()"),
        Of(FaultType.Panic, FaultClass.Direct, "makes a function call panic()"),
        Of(FaultType.InfiniteLoop, FaultClass.Direct, "makes a function loop for ever"),
        Of(FaultType.Return, FaultClass.Direct, "makes a function return 0 at once, with nothing done"),
        Of(FaultType.Deadlock, FaultClass.Direct, "makes a function wait for a spinlock that is never given back"),
    ];

    /// <summary>What is to be known of one.</summary>
    public static FaultKind Of(FaultType type) => All.First(k => k.Type == type);

    /// <summary>The kind that is spelled so.</summary>
    public static FaultKind? Find(string name) => All.FirstOrDefault(k => k.Name == name);

    private static FaultKind Of(FaultType type, FaultClass faultClass, string summary) =>
        new(type, faultClass, JsonNamingPolicy.KebabCaseLower.ConvertName(type.ToString()), summary, faultClass is FaultClass.Text or FaultClass.Direct);
}
