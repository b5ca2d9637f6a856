using System.Buffers.Binary;
using Panacea.Diagnosis;
using Panacea.Kernel.Structures;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>An interrupt that the CPU has taken from its local APIC and could not deliver, for want of a stack: it is in service, and none of its urgency comes until its handler acknowledges it.</summary>
/// <param name="Vector">Its vector.</param>
/// <param name="Handler">Guest-virtual address of its handler, as its gate has it.</param>
/// <param name="StackPointer">The stack pointer when the handler is entered.</param>
/// <param name="Frame">What the CPU pushes there (Intel SDM 3A, 6.14.2).</param>
internal sealed record Undelivered(int Vector, ulong Handler, ulong StackPointer, PlannedWrite Frame)
{
    /// <summary>SS, RSP, RFLAGS, CS and RIP.</summary>
    private const int FrameSize = 40;

    /// <summary>Vectors below are the CPU's own (NUM_EXCEPTION_VECTORS, arch/x86/include/asm/irq_vectors.h).</summary>
    private const int FirstExternal = 32;

    private const ulong ResumeFlag = 1 << 16;

    /// <summary>Finds it.</summary>
    /// <param name="evidence">A double fault.</param>
    /// <param name="ip">Where the CPU stood, guest-virtual.</param>
    /// <param name="stackPointer">Its stack pointer, as it should have been.</param>
    /// <param name="lost">The interrupt; null where there is none.</param>
    /// <param name="whyNot">Why it can't be told, or not be delivered: then none of its urgency would ever come again.</param>
    public static bool TryFind(CrashEvidence evidence, ulong ip, ulong stackPointer, out Undelivered? lost, out string whyNot)
    {
        (lost, whyNot) = (null, "");

        // With interrupts off none was to come; in the handler of one it may be that one which is in service.
        if (!evidence.Crash.InterruptsEnabled || evidence.InService is < FirstExternal || (evidence.PreemptWord is { } count && (count & PerCpu.InterruptMask) != 0))
            return true;
        if (evidence.InService is not { } vector || evidence.PreemptWord is null)
        {
            whyNot = "whether an interrupt could not be delivered can't be told";
            return false;
        }

        ulong table = evidence.Kernel.Image.Meta.TrapTableAddress;
        byte[] gates = new byte[TrapGate.TableSize];
        if (vector >= TrapGate.Count || table == 0 || !evidence.Kernel.Space.TryRead(new VirtualAddress(table), gates, out _) || TrapGate.Of(gates, vector) is not { IsPresent: true, Stack: 0 } gate
            || evidence.Analysis.Text?.IsText(gate.Target) != true)
        {
            whyNot = $"interrupt {vector} could not be delivered, and where its gate leads can't be told";
            return false;
        }

        ulong at = (stackPointer & ~15UL) - FrameSize;
        byte[] frame = new byte[FrameSize];
        ulong[] words = [ip, evidence.Crash.Cs & 0xffff, evidence.Crash.Flags & ~ResumeFlag, stackPointer, evidence.Crash.Ss & 0xffff];
        for (int i = 0; i < words.Length; i++)
            BinaryPrimitives.WriteUInt64LittleEndian(frame.AsSpan(i * 8), words[i]);
        lost = new Undelivered(vector, gate.Target, at, new PlannedWrite(new VirtualAddress(at), frame, $"frame of interrupt {vector}"));
        return true;
    }
}
