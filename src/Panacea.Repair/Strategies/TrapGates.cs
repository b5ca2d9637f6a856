using System.Buffers.Binary;
using Panacea.Diagnosis;
using Panacea.Kernel;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>
/// A gate of the trap table (arch/x86/kernel/idt.c) has been written over, and a CPU took the interrupt to where it leads now, where it could not run. The gate is restored from the repair image, and the CPU
/// goes on at the handler: it has executed nothing since, and its stack is as the handler expects it.
/// </summary>
internal static class TrapGates
{
    /// <summary>16 bytes a gate (struct gate_struct, arch/x86/include/asm/desc_defs.h).</summary>
    private const int Gates = 256, GateBytes = 16;

    private const byte Present = 0x80;

    /// <summary>A plan for a crash at the very address that a gate leads to; null where none does.</summary>
    public static StrategyVerdict? Evaluate(CrashEvidence evidence)
    {
        LinuxKernel kernel = evidence.Kernel;
        ulong at = kernel.Image.Meta.TrapTableAddress;
        ReadOnlySpan<byte> pristine = kernel.Image.TrapTable.Span;
        byte[] live = new byte[Gates * GateBytes];
        if (evidence.Point.Symbol != "oops_end" || at == 0 || pristine.Length != live.Length || evidence.Analysis.Text?.IsText(evidence.Crash.Ip) != false
            || !kernel.Space.TryRead(new VirtualAddress(at), live, out _))
            return null;
        for (int vector = 0; vector < Gates; vector++)
        {
            ReadOnlySpan<byte> gate = live.AsSpan(vector * GateBytes, GateBytes), before = pristine.Slice(vector * GateBytes, GateBytes);
            if (gate.SequenceEqual(before) || TargetOf(gate) != evidence.Crash.Ip || (before[5] & Present) == 0 || evidence.Analysis.Text.IsText(TargetOf(before)) != true)
                continue;
            string what = $"the gate of interrupt {vector}, which led to 0x{evidence.Crash.Ip:x}, is restored";
            if (!TrapReturn.IsSilent(evidence))
                return StrategyVerdict.Declines($"{what}, but its handler can't be reached from this trap");
            RepairPlan plan = TrapReturn.Plan(evidence, evidence.Crash with { Ip = TargetOf(before) });
            return StrategyVerdict.Applies(plan with
            {
                Kind = RepairKind.Heal,
                Explanation = $"{what}, and the interrupt goes to its handler; nothing is lost",
                Writes = [new PlannedWrite(new VirtualAddress(at + ((ulong)vector * GateBytes)), before.ToArray(), $"gate of interrupt {vector} as it was"), .. plan.Writes],
                Risks = ["what has overwritten the gate may have overwritten more"],
            });
        }

        return null;
    }

    private static ulong TargetOf(ReadOnlySpan<byte> gate) =>
        BinaryPrimitives.ReadUInt16LittleEndian(gate) | ((ulong)BinaryPrimitives.ReadUInt16LittleEndian(gate[6..]) << 16) | ((ulong)BinaryPrimitives.ReadUInt32LittleEndian(gate[8..]) << 32);
}
