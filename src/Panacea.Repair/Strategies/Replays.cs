using Panacea.Diagnosis;
using Panacea.Kernel.Replay;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>What every replay of a crash is made of; what is particular to one is added by who makes it.</summary>
internal static class Replays
{
    /// <summary>Of one frame's function, with the interrupt flag not known.</summary>
    public static ReplayInput Of(CrashEvidence evidence, int index, ReturnState state, int most) => new()
    {
        Analysis = evidence.Analysis,
        Frames = evidence.Stack.Frames,
        Index = index,
        Return = state,
        Space = evidence.Kernel.Space,
        User = evidence.Context == CrashContext.Process ? UserOf(evidence) : null,
        Cache = evidence.Replays,
        GsBase = evidence.Vcpu.GsBase,
        Interrupts = null,
        Mended = evidence.Mended,
        NameOf = address => NameOf(evidence, address),
        Clock = () => KernelClock.LastReading(evidence.Kernel),
        Blamed = evidence.FaultyFrame ?? 0,
        MaxInstructions = most,
    };

    /// <summary>CR3 is that of the task's mm wherever the kernel runs for a process; under page-table isolation its tables with both halves (arch/x86/mm/pti.c).</summary>
    private static AddressSpace UserOf(CrashEvidence evidence)
    {
        AddressSpace kernel = evidence.Kernel.Space;
        return new AddressSpace(kernel.Memory, new PhysicalAddress(evidence.Vcpu.Cr3 & 0x000f_ffff_ffff_f000 & ~kernel.EncryptionMask), kernel.Mode, kernel.EncryptionMask);
    }

    /// <summary>The function that begins at an address; null where none does.</summary>
    public static string? NameOf(CrashEvidence evidence, ulong address) => evidence.Kernel.Image.Symbolize(address) is { Offset: 0 } at ? at.Name : null;
}
