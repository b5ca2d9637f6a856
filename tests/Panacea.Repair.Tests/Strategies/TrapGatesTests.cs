using System.Buffers.Binary;
using Panacea.Diagnosis;
using Panacea.Kernel.Unwind;
using Panacea.Repair.Strategies;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Repair.Tests.Strategies;

public sealed class TrapGatesTests
{
    private const int Vector = 0xf7, GateBytes = 16;
    private const string Handler = "asm_exc_general_protection";

    private ulong _table;

    [Fact]
    public void A_gate_that_leads_nowhere_is_restored_and_the_interrupt_goes_to_its_handler()
    {
        using CrashedGuest g = Crashed(k => k.Allocate(64));
        RepairPlan plan = Evaluate(g).Plan!;
        Assert.Contains($"the gate of interrupt {Vector}, which led to 0x{g.Evidence.Crash.Ip:x}, is restored", plan.Explanation, StringComparison.Ordinal);
        Assert.EndsWith("nothing is lost", plan.Explanation);
        Assert.Equal((_table + (Vector * GateBytes), Convert.ToHexString(Gate(g.Guest[Handler]))), (plan.Writes[0].Address.Value, Convert.ToHexString(plan.Writes[0].Bytes.Span)));
        PtRegs next = PtRegs.Read(plan.Writes[^1].Bytes.Span);
        Assert.Equal(g.Evidence.Crash with { Ip = g.Guest[Handler] }, next);
        Assert.Empty(plan.Lost);
    }

    /// <summary>Another address without code: no gate has led there.</summary>
    [Fact]
    public void A_crash_elsewhere_leaves_the_table_alone()
    {
        using CrashedGuest g = Crashed(k => k.Allocate(64), crash: at => at + 8);
        Assert.Null(Evaluate(g).Plan);
    }

    [Fact]
    public void A_gate_that_is_what_it_was_is_not_restored()
    {
        using CrashedGuest g = Crashed(k => k.Allocate(64), damage: false);
        Assert.Null(Evaluate(g).Plan);
    }

    /// <summary>Where the handler of the trap would send a signal on its way back, there is no way to the other one.</summary>
    [Fact]
    public void A_trap_that_does_not_go_straight_back_declines()
    {
        using CrashedGuest g = Crashed(k => k.Allocate(64), entry: "asm_exc_invalid_op");
        Assert.Contains("can't be reached", Evaluate(g).WhyNot, StringComparison.Ordinal);
    }

    private static StrategyVerdict Evaluate(CrashedGuest g) => new HealStrategy().Evaluate(new CrashCapture(g.Image, TargetLimits.Default).Capture(g.Guest.Memory, g.Crash.Vcpu, g.Point));

    private CrashedGuest Crashed(Func<SyntheticKernel, ulong> nowhere, Func<ulong, ulong>? crash = null, bool damage = true, string entry = "asm_exc_page_fault")
    {
        ulong target = 0;
        var kernel = new SyntheticKernelOptions();
        ulong Table(SyntheticKernel k)
        {
            _table = k.Allocate(256 * GateBytes, 4096);
            k.Write(_table + (Vector * GateBytes), Gate(k[Handler]));
            target = nowhere(k);
            return _table;
        }

        // Where the crash is has to be known before the guest is made: memory is given out in the same order each time.
        using (var first = new CrashedGuest(new CrashSpec(), kernel, trapTable: Table))
        {
        }

        ulong at = crash?.Invoke(target) ?? target;
        return new CrashedGuest(
            new CrashSpec
            {
                Entry = entry, Function = "ct_call", BadCall = at,
                Prepare = (k, _) =>
                {
                    if (damage)
                        k.Write(_table + (Vector * GateBytes), Gate(target));
                    return new Dictionary<Gpr, ulong>();
                },
            },
            kernel, trapTable: Table);
    }

    /// <summary>struct gate_struct: an interrupt gate of level 0.</summary>
    internal static byte[] Gate(ulong to)
    {
        byte[] gate = new byte[GateBytes];
        BinaryPrimitives.WriteUInt16LittleEndian(gate, unchecked((ushort)to));
        BinaryPrimitives.WriteUInt16LittleEndian(gate.AsSpan(2), 0x10);
        gate[5] = 0x8e;
        BinaryPrimitives.WriteUInt16LittleEndian(gate.AsSpan(6), unchecked((ushort)(to >> 16)));
        BinaryPrimitives.WriteUInt32LittleEndian(gate.AsSpan(8), (uint)(to >> 32));
        return gate;
    }
}
