using Panacea.Kernel.Unwind;
using Panacea.Repair.Strategies;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Repair.Tests.Strategies;

public sealed class BrokenFreelistTests
{
    private const ulong Garbage = 0xe8b2_72e1_4470_c6db;

    /// <summary>A link was overwritten: the list ends before it, and the allocation is made again.</summary>
    [Fact]
    public void A_list_that_leads_nowhere_is_cut_off()
    {
        ulong word = 0;
        using CrashedGuest g = Crashed(k => word = ListOf(k, Garbage), Garbage);
        RepairPlan plan = new HealStrategy().Evaluate(g.Evidence).Plan!;
        PlannedWrite write = Assert.Single(plan.Writes, w => w.Address.Value == word);
        Assert.Equal(new byte[8], write.Bytes.ToArray());
        Assert.Equal((RepairKind.Heal, 0, null), (plan.Kind, plan.Lost.Count, plan.Returned));
        Assert.StartsWith($"the list of free objects of thing on CPU 0, which led to 0x{Garbage:x}, is cut off there; kmem_cache_alloc_ct is called again, for ", plan.Explanation, StringComparison.Ordinal);
        Assert.Contains(plan.Risks, r => r.Contains("never used again", StringComparison.Ordinal));

        // What it was called with is known, so that what the rest of it does is the guest's.
        Assert.Equal(g.Crash.CallerRbx, PtRegs.Read(plan.Writes[^1].Bytes.Span).Gpr[Gpr.Rdi]);

        // As long as it is not cut off it crashes again.
        Assert.Null(new RetryStrategy().Evaluate(g.Evidence).Plan);
    }

    [Theory]
    [InlineData("another address is in the registers")]
    [InlineData("the list can be read")]
    [InlineData("it is another CPU's")]
    public void A_list_that_is_not_to_blame_is_left_alone(string what)
    {
        ulong word = 0, valid = 0;
        using CrashedGuest g = Crashed(
            k => word = ListOf(k, what == "the list can be read" ? valid = k.Allocate(64) : Garbage, what == "it is another CPU's" ? 1 : 0), what == "another address is in the registers" ? Garbage + 8 : Garbage);
        Assert.DoesNotContain(new HealStrategy().Evaluate(g.Evidence).Plan?.Writes ?? [], w => w.Address.Value == word);
    }

    private static ulong ListOf(SyntheticKernel kernel, ulong list, int cpu = 0)
    {
        SyntheticCache cache = kernel.AddCache("thing", 64);
        ulong other = kernel.PerCpuBase(0) + cache.Cpu;
        foreach (int each in (int[])[0, 1])
            kernel.Put(kernel.PerCpuBase(each) + cache.Cpu, "kmem_cache_cpu.freelist", each == cpu ? list : 0);
        return cpu == 0 ? other : kernel.PerCpuBase(cpu) + cache.Cpu;
    }

    private static CrashedGuest Crashed(Func<SyntheticKernel, ulong> list, ulong register) => new(new CrashSpec
    {
        Function = "kmem_cache_alloc_ct",
        Chain = ["do_syscall_64", "ksys_write", "vfs_write", "ct_more"],
        Entry = "asm_exc_general_protection",
        Prepare = (kernel, _) => new Dictionary<Gpr, ulong> { [Gpr.R12] = list(kernel), [Gpr.Rax] = register },
    });
}
