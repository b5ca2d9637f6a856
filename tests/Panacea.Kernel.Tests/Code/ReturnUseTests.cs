using Iced.Intel;
using Panacea.Kernel.Code;
using static Iced.Intel.AssemblerRegisters;

namespace Panacea.Kernel.Tests.Code;

/// <summary>What callers do with a number that they are given back.</summary>
public sealed class ReturnUseTests
{
    [Fact]
    public void A_number_that_is_extended_unseen_is_an_index() => Assert.True(IsIndex(c => { c.mov(ebx, eax); c.mov(rdi, rbp); c.movsxd(rdx, ebx); c.ret(); }));

    [Fact]
    public void A_number_that_addresses_memory_is_an_index() => Assert.True(IsIndex(c => { c.mov(rcx, __qword_ptr[rax * 8 + 0x1000]); c.ret(); }));

    [Fact]
    public void A_number_in_the_accumulator_is_extended_in_its_place() => Assert.True(IsIndex(c => { c.cdqe(); c.ret(); }));

    [Fact]
    public void A_number_that_is_looked_at_first_is_none() => Assert.False(IsIndex(c => { Label end = c.CreateLabel(); c.test(eax, eax); c.js(end); c.movsxd(rdx, eax); c.Label(ref end); c.ret(); }));

    [Fact]
    public void What_has_been_overwritten_is_another_number() => Assert.False(IsIndex(c => { c.mov(eax, __dword_ptr[rbp + 8]); c.movsxd(rdx, eax); c.ret(); }));

    [Fact]
    public void A_number_that_is_returned_or_handed_on_is_not_known_to_be_one()
    {
        Assert.False(IsIndex(c => { c.pop(rbx); c.ret(); }));
        Assert.False(IsIndex(c => { c.mov(edi, eax); c.call(AssembledFunction.Start + 0x1000); c.movsxd(rdx, edi); c.ret(); }));
    }

    private static bool IsIndex(Action<Assembler> body)
    {
        var function = new AssembledFunction((c, _) =>
        {
            body(c);
            for (int i = 0; i < 96; i++)
                c.int3();
        });
        return ReturnUse.IsIndex(function.Code, function.Range.Start);
    }
}
