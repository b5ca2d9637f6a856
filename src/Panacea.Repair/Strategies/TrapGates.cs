using Panacea.Diagnosis;
using Panacea.Kernel;
using Panacea.Kernel.Structures;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>
/// A gate of the trap table (arch/x86/kernel/idt.c) has been written over, and a CPU took the interrupt to where it leads now, where it could not run. The gate is restored from the repair image, and the CPU
/// goes on at the handler: it has executed nothing since, and its stack is as the handler expects it.
/// </summary>
internal static class TrapGates
{
    /// <summary>A plan for a crash at the very address that a gate leads to; null where none does.</summary>
    public static StrategyVerdict? Evaluate(CrashEvidence evidence)
    {
        LinuxKernel kernel = evidence.Kernel;
        ulong at = kernel.Image.Meta.TrapTableAddress;
        ReadOnlySpan<byte> pristine = kernel.Image.TrapTable.Span;
        byte[] live = new byte[TrapGate.TableSize];
        if (evidence.Point.Symbol != "oops_end" || at == 0 || pristine.Length != live.Length || evidence.Analysis.Text?.IsText(evidence.Crash.Ip) != false
            || !kernel.Space.TryRead(new VirtualAddress(at), live, out _))
            return null;
        for (int vector = 0; vector < TrapGate.Count; vector++)
        {
            TrapGate before = TrapGate.Of(pristine, vector);
            if (TrapGate.Raw(live, vector).SequenceEqual(TrapGate.Raw(pristine, vector)) || TrapGate.Of(live, vector).Target != evidence.Crash.Ip || !before.IsPresent
                || evidence.Analysis.Text.IsText(before.Target) != true)
                continue;
            string what = $"the gate of interrupt {vector}, which led to 0x{evidence.Crash.Ip:x}, is restored";
            if (!TrapReturn.IsSilent(evidence))
                return StrategyVerdict.Declines($"{what}, but its handler can't be reached from this trap");
            RepairPlan plan = TrapReturn.Plan(evidence, evidence.Crash with { Ip = before.Target });
            return StrategyVerdict.Applies(plan with
            {
                Kind = RepairKind.Heal,
                Explanation = $"{what}, and the interrupt goes to its handler; nothing is lost",
                Writes = [new PlannedWrite(new VirtualAddress(at + ((ulong)vector * TrapGate.Size)), TrapGate.Raw(pristine, vector).ToArray(), $"gate of interrupt {vector} as it was"), .. plan.Writes],
                Risks = ["what has overwritten the gate may have overwritten more"],
            });
        }

        return null;
    }
}
