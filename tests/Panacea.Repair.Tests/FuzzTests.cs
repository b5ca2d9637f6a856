using Panacea.Diagnosis;
using Panacea.Repair.Strategies;
using Panacea.Target;
using Panacea.TestKit.Fuzzing;
using Panacea.TestKit.Linux;

namespace Panacea.Repair.Tests;

/// <summary>The ladder over crashed guests whose memory is anything but what a kernel would have left: every rung has a plan or says why not, within bounds, in whatever state the guest is.</summary>
public sealed class FuzzTests
{
    private const int MaxWrites = 400, MaxText = 8000;

    private static readonly TargetLimits Small = TargetLimits.Default with { MaxTasks = 2000, MaxModules = 200, MaxModuleBytes = 1 << 20, MaxPrintkBytes = 1 << 20, MaxChain = 2000 };

    private static readonly CrashSpec[] Specs =
    [
        new(), new() { Function = "ct_mutexed", Preempt = 1 }, new() { Function = "ct_locked", Preempt = 1 }, new() { Function = "ct_journal" }, new() { Function = "ct_plug" }, new() { Function = "ct_bug", Entry = "asm_exc_invalid_op" },
        new() { Function = "ct_warned", Inner = ["check_panic_on_warn"], Entry = null }, new() { Function = "ct_panic", Entry = null }, new() { Function = "ct_call", BadCall = 0xffff_8880_0200_0000 },
        new() { Function = "ct_int", Chain = ["kthread", "ct_outer"], Bottom = "ret_from_fork" }, Listed("ct_list_del", "__list_del_entry_valid_or_report"), Listed("ct_list_add", "__list_add_valid"),
    ];

    [Fact]
    public void Ladders()
    {
        var guests = new List<(CrashedGuest Guest, ulong[] Pointers, GuestMutator Mutator)>();
        foreach (KernelShape shape in (KernelShape[])[KernelShape.Linux61, KernelShape.Linux612])
        {
            foreach (CrashSpec spec in Specs)
            {
                var guest = new CrashedGuest(spec, new SyntheticKernelOptions { Shape = shape }, trapTable: k => k.Allocate(4096, 4096));
                ulong[] pointers = Pointers(guest);
                guests.Add((guest, pointers, new GuestMutator(guest.Guest.Memory, Regions(guest, pointers), pointers)));
            }
        }

        long taken = 0;
        Fuzzer.Run(
            nameof(Ladders),
            random =>
            {
                (CrashedGuest guest, ulong[] pointers, GuestMutator mutator) = guests[random.Next(guests.Count)];
                VcpuRegisters vcpu = guest.Crash.Vcpu;
                if (random.Next(4) == 0)
                    vcpu = Damage(vcpu, pointers, random);
                mutator.Case(random, () => taken += Climb(guest, vcpu));
            },
            new FuzzCeilings { Reads = () => guests.Sum(g => g.Guest.Guest.Memory.Reads), MaxReads = 100_000 },
            share: 2);
        guests.ForEach(g => g.Guest.Dispose());
        Assert.True(taken > 0 || Fuzzer.Cases < 1000, "no rung ever had a plan: what was fuzzed is not the ladder");
    }

    /// <summary>Asks each rung, whatever those before it have said.</summary>
    /// <returns>How many had a plan.</returns>
    private static int Climb(CrashedGuest guest, VcpuRegisters vcpu)
    {
        CrashEvidence evidence;
        try
        {
            evidence = new CrashCapture(guest.Image, Small).Capture(guest.Guest.Memory, vcpu, guest.Point);
        }
        catch (CaptureException)
        {
            return 0;
        }

        int taken = 0;
        foreach (IRepairStrategy strategy in Ladder.All)
        {
            StrategyVerdict verdict = strategy.Evaluate(evidence);
            if (verdict.Plan is not { } plan)
            {
                Assert.InRange(verdict.WhyNot!.Length, 1, MaxText);
                continue;
            }

            taken++;
            Assert.Equal(strategy.Kind, plan.Kind);
            Assert.InRange(plan.Explanation.Length, 1, MaxText);
            Assert.InRange(plan.Writes.Count + plan.Continuations.Sum(c => c.Writes.Count), 0, MaxWrites);
            Assert.All(plan.Writes, w => Assert.True(w.Address.IsKernelHalf, $"{strategy.Kind} writes to 0x{w.Address.Value:x}"));
            Assert.All(plan.Registers, r => Assert.Equal(vcpu.Vcpu, r.Vcpu));
        }

        return taken;
    }

    private static CrashSpec Listed(string caller, string check) => new()
    {
        Entry = "asm_exc_invalid_op", Function = caller, Inner = [check],
        Prepare = (k, _) =>
        {
            ulong[] ring = [.. Enumerable.Range(0, 5).Select(_ => k.Allocate(16))];
            for (int i = 0; i < ring.Length; i++)
            {
                k.WriteU64(ring[i], ring[(i + 1) % ring.Length]);
                k.WriteU64(ring[i] + 8, ring[(i + ring.Length - 1) % ring.Length]);
            }

            k.WriteU64(ring[1], 0x5a5a_5a5a_5a5a_5a58);
            return new Dictionary<Gpr, ulong> { [Gpr.R12] = caller == "ct_list_del" ? ring[2] : k.Allocate(16), [Gpr.R13] = ring[1], [Gpr.R14] = ring[2] };
        },
    };

    private static ulong[] Pointers(CrashedGuest g)
    {
        SyntheticKernel k = g.Guest;
        GprFile gpr = g.Crash.Vcpu.Gpr;
        ulong crash = g.Evidence.Crash.Gpr[Gpr.R13];
        return
        [
            .. (ulong[])[g.Crash.RegsAddress == 0 ? gpr[Gpr.Rsp] : g.Crash.RegsAddress, g.Crash.FaultSp, g.Crash.ReturnSp, k.Victim.Address, k.Victim.Stack, k.Victim.StackTop, k["init_task"], k["ct_int"], k["ct_int"] + 7, k["do_exit"], k.TextBase, k.PerCpuBase(0)],
            .. Enumerable.Range(0, 5).Select(i => crash > 0xffff_8880_0000_0000 ? unchecked(crash + (ulong)((i - 1) * 64)) : k.Victim.Address),
        ];
    }

    private static (ulong, int)[] Regions(CrashedGuest g, ulong[] pointers)
    {
        SyntheticKernel k = g.Guest;
        return
        [
            (k.Physical(g.Crash.Vcpu.Gpr[Gpr.Rsp] & ~0xfffUL), 0x1000), (k.Physical(pointers[0]), 168), (k.Physical(g.Crash.FaultSp), 256), (k.Physical(k.Victim.Address), k.Types.SizeOf("task_struct")),
            (k.Physical(k.PerCpuBase(0)), 0x400), (k.Physical(k["ct_int"] & ~0xfffUL), 0x1000), (k.Physical(g.Image.Meta.TrapTableAddress), 4096), (k.Physical(pointers[^5]), 16), (k.Physical(pointers[^4]), 16), (k.Physical(pointers[^3]), 16),
        ];
    }

    private static VcpuRegisters Damage(VcpuRegisters vcpu, ulong[] pointers, Random random)
    {
        GprFile gpr = vcpu.Gpr;
        for (int edits = random.Next(1, 4); edits > 0; edits--)
            gpr[(Gpr)random.Next(16)] = Value();
        return random.Next(6) switch
        {
            0 => vcpu with { Gpr = gpr, GsBase = Value() },
            1 => vcpu with { Gpr = gpr, Rflags = Value() },
            _ => vcpu with { Gpr = gpr },
        };

        ulong Value() => random.Next(3) switch
        {
            0 => ByteMutator.Edges[random.Next(ByteMutator.Edges.Count)],
            1 => unchecked((ulong)random.NextInt64(long.MinValue, long.MaxValue)),
            _ => unchecked(pointers[random.Next(pointers.Length)] + (ulong)random.Next(-64, 256)),
        };
    }
}
