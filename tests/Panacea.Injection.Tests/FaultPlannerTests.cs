using Panacea.Kernel.Image;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Injection.Tests;

public sealed class FaultPlannerTests : IDisposable
{
    private static readonly FaultType[] TextTypes = [.. FaultKinds.All.Where(k => k.Class == FaultClass.Text).Select(k => k.Type)];

    private readonly InjectedGuest _guest = new();

    public void Dispose() => _guest.Dispose();

    [Fact]
    public void Every_kind_has_a_name_of_its_own_and_is_found_by_it()
    {
        Assert.Equal(Enum.GetValues<FaultType>(), FaultKinds.All.Select(k => k.Type).Order());
        Assert.All(FaultKinds.All, k => Assert.Same(k, FaultKinds.Find(k.Name)));
        Assert.Equal("text-bit-flip", FaultKinds.Of(FaultType.TextBitFlip).Name);
        Assert.Null(FaultKinds.Find("TextBitFlip"));
    }

    [Fact]
    public void The_same_seed_is_the_same_fault_and_others_are_others()
    {
        FaultPlan one = _guest.Plan(FaultType.TextBitFlip, 7, out _, "ct_memcpy")!, again = _guest.Plan(FaultType.TextBitFlip, 7, out _, "ct_memcpy")!;
        Assert.Equal((one.Fault.CodeAfter, one.Fault.Place), (again.Fault.CodeAfter, again.Fault.Place));
        Assert.True(Enumerable.Range(0, 20).Select(s => _guest.Plan(FaultType.TextBitFlip, (ulong)s, out _, "ct_memcpy")!.Fault.Changes[0]).Distinct().Count() > 10);
    }

    [Fact]
    public void The_same_seed_is_the_same_fault_wherever_the_kernel_lies()
    {
        using var elsewhere = new InjectedGuest(new SyntheticKernelOptions { Kaslr = 0x0a00_0000 });
        for (ulong seed = 0; seed < 10; seed++)
        {
            Fault one = _guest.Plan(FaultType.TextBitFlip, seed, out _, "ct_memcpy")!.Fault, other = elsewhere.Plan(FaultType.TextBitFlip, seed, out _, "ct_memcpy")!.Fault;
            Assert.Equal(one.Place, other.Place);
            Assert.NotEqual(one.Trigger, other.Trigger);
        }
    }

    [Fact]
    public void What_is_written_is_on_record_and_nothing_is_written_yet()
    {
        ulong at = _guest.Guest["ct_memcpy"];
        byte[] before = new byte[64];
        Assert.True(_guest.Guest.Space.TryRead(new VirtualAddress(at), before, out _));
        FaultPlan plan = _guest.Plan(FaultType.TextBitFlip, 3, out _, "ct_memcpy")!;

        FaultChange change = Assert.Single(plan.Fault.Changes);
        byte[] was = Convert.FromHexString(change.Before), becomes = Convert.FromHexString(change.After);
        Assert.Equal(1, was.Zip(becomes, (a, b) => System.Numerics.BitOperations.PopCount((uint)(a ^ b))).Sum());
        Assert.Equal(becomes, plan.Writes[0].Bytes.ToArray());
        Assert.Equal(plan.Fault.Trigger, change.Address);
        byte[] now = new byte[64];
        Assert.True(_guest.Guest.Space.TryRead(new VirtualAddress(at), now, out _));
        Assert.Equal(before, now);
    }

    [Fact]
    public void A_function_that_has_no_place_for_a_fault_says_so()
    {
        Assert.Null(_guest.Plan(FaultType.SkippedFree, 1, out string whyNot, "ct_int"));
        Assert.Equal("ct_int has no place for skipped-free", whyNot);
        Assert.Null(_guest.Plan(FaultType.SkippedFree, 1, out string none));
        Assert.Equal("there is no function to choose from", none);
    }

    [Fact]
    public void Every_fault_of_every_function_keeps_to_its_instruction()
    {
        IReadOnlyList<NamedFunction> all = FunctionNames.All(_guest.Image, null);
        Assert.True(all.Count > 40);
        int faults = 0;
        foreach (NamedFunction function in all)
        {
            foreach (FaultType type in TextTypes)
            {
                foreach (Fault fault in _guest.Planner.List(type, 5, function, out _))
                {
                    FaultChange change = Assert.Single(fault.Changes);
                    Assert.Equal(change.Before.Length, change.After.Length);
                    Assert.NotEqual(change.Before, change.After);
                    Assert.InRange(change.Before.Length / 2, 1, 15);
                    faults++;
                }
            }
        }

        Assert.True(faults > 500, $"{faults}");
    }

    [Fact]
    public void Functions_are_found_by_the_beginning_of_their_names()
    {
        IReadOnlyList<NamedFunction> found = FunctionNames.Matching(_guest.Image, "ct_list_*");
        Assert.Equal(["ct_list_add", "ct_list_del"], found.Select(f => f.Name).Order());
        Assert.Empty(FunctionNames.Matching(_guest.Image, "no_such_*"));
    }

    [Fact]
    public void A_register_has_one_bit_flipped_of_a_vCPU_that_is_in_the_kernel()
    {
        VcpuRegisters kernel = _guest.Guest.Vcpu(0, _guest.Guest["ct_int"], default), user = kernel with { Vcpu = 1, Cs = 0x33 };
        Assert.True(_guest.Planner.TryPlan(FaultType.Register, 4, [], [user, kernel], out FaultPlan plan, out _));
        var written = Assert.Single(plan.Registers);
        Assert.Equal(0, written.Vcpu);
        Assert.Equal(1, System.Numerics.BitOperations.PopCount(written.Value ^ kernel.Gpr[(Gpr)(int)written.Register]));
        Assert.Empty(plan.Writes);
        Assert.False(_guest.Planner.TryPlan(FaultType.Register, 4, [], [user], out _, out string whyNot));
        Assert.Equal("no vCPU runs kernel code at this moment", whyNot);
    }
}
