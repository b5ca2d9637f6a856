using Panacea.Diagnosis;
using Panacea.Kernel.Code;
using Panacea.Kernel.Unwind;

namespace Panacea.Repair;

/// <summary>Crashes that somebody may have meant: checks of the kernel's own that stop an exploit halfway. A process that ran into one is never let go on. Interrupts and kernel threads are the
/// kernel's own: there what was being done is dropped.</summary>
public static class Attacks
{
    private const string Refcount = "a reference count that has run over may be an attack";

    /// <summary>Frames of panic(), the warning and its trap above the function that found the count wrong.</summary>
    private const int MaxReportFrames = 12;

    /// <summary>What the crash says of whoever caused it; null where it is no sign of an attack.</summary>
    public static string? WhatItMeans(CrashEvidence evidence) => evidence.Kind switch
    {
        CrashKind.Usercopy => "a copy between user and kernel memory beyond an object's bounds may be an attack",
        CrashKind.StackCorruption => "an overwritten stack canary may be an attack",
        CrashKind.ControlProtection => "an indirect branch to where none may lead may be an attack",
        CrashKind.ReadOnlyWrite => "a write to read-only kernel memory may be an attack",
        CrashKind.Refcount => Refcount,
        CrashKind.Panic when IsRefcountReport(evidence) => Refcount,
        CrashKind.NullCall or CrashKind.WildCall when evidence.Fault?.Class?.Class == AddressClass.User => "a jump from the kernel into user memory may be an attack",
        _ => null,
    };

    /// <summary>panic_on_warn has made a panic of the warning of lib/refcount.c.</summary>
    private static bool IsRefcountReport(CrashEvidence evidence) => evidence.Stack.Frames.TakeWhile(f => f.Reliability == FrameReliability.Exact).Take(MaxReportFrames)
        .Any(f => evidence.LocationOf(f)?.Name is "refcount_warn_saturate");
}
