namespace Panacea.Kernel.Subsystems;

/// <summary>What a kernel's clocksource showed last (include/linux/clocksource.h).</summary>
/// <param name="Function">Guest-virtual address of the function that reads it; in RAX it returns cycles.</param>
/// <param name="Cycles">What it returned.</param>
/// <param name="IsTimeStamp">It is the processor's time stamp counter, which code reads by RDTSC too.</param>
public readonly record struct ClockReading(ulong Function, ulong Cycles, bool IsTimeStamp);
