using Iced.Intel;
using Panacea.Injection.Text;
using static Iced.Intel.AssemblerRegisters;

namespace Panacea.Injection.Tests;

public sealed class ControlMutationTests
{
    [Fact]
    public void A_branch_is_gone()
    {
        var f = new Assembled(a =>
        {
            Label end = a.CreateLabel();
            a.test(rdi, rdi);
            a.je(end);
            a.mov(eax, 1);
            a.Label(ref end);
            a.ret();
        });
        Mutation mutation = ControlMutations.Branch(f[1], f.BytesOf(1))!;

        Assert.Equal(Mnemonic.Nop, Assembled.Read(mutation).Mnemonic);
        Assert.Equal(f[1].Length, Assembled.Read(mutation).Length);
        Assert.Null(ControlMutations.Branch(f[0], f.BytesOf(0)));
    }

    [Theory]
    [InlineData(ConditionCode.b, ConditionCode.ae, ConditionCode.be)]
    [InlineData(ConditionCode.ae, ConditionCode.b, ConditionCode.a)]
    [InlineData(ConditionCode.be, ConditionCode.a, ConditionCode.b)]
    [InlineData(ConditionCode.a, ConditionCode.be, ConditionCode.ae)]
    [InlineData(ConditionCode.l, ConditionCode.ge, ConditionCode.le)]
    [InlineData(ConditionCode.le, ConditionCode.g, ConditionCode.l)]
    [InlineData(ConditionCode.ge, ConditionCode.l, ConditionCode.g)]
    [InlineData(ConditionCode.g, ConditionCode.le, ConditionCode.ge)]
    [InlineData(ConditionCode.ne, ConditionCode.e, ConditionCode.e)]
    public void A_loop_ends_at_another_time(ConditionCode condition, ConditionCode inverted, ConditionCode offByOne)
    {
        foreach (bool isNear in (bool[])[false, true])
        {
            var f = new Assembled(a => Loop(a, condition, isNear));
            int jump = f.Listing.Instructions.ToList().FindIndex(i => i.FlowControl == FlowControl.ConditionalBranch);
            var seen = new HashSet<ConditionCode>();
            for (ulong seed = 0; seed < 40; seed++)
            {
                Mutation mutation = ControlMutations.Loop(f[jump], f.BytesOf(jump), Assembled.Random(seed))!;
                Instruction read = Assembled.Read(mutation);
                Assert.Equal((f[jump].NearBranchTarget, f[jump].Length), (read.NearBranchTarget, read.Length));
                seen.Add(read.ConditionCode);
            }

            Assert.Equal(new HashSet<ConditionCode> { inverted, offByOne }, seen);
        }
    }

    [Fact]
    public void A_branch_forwards_is_no_loop()
    {
        var f = new Assembled(a =>
        {
            Label end = a.CreateLabel();
            a.je(end);
            a.nop();
            a.Label(ref end);
            a.ret();
        });
        Assert.Null(ControlMutations.Loop(f[0], f.BytesOf(0), Assembled.Random()));
    }

    [Fact]
    public void Initialisations_are_what_is_set_to_a_constant_before_anything_is_decided()
    {
        var f = new Assembled(a =>
        {
            Label end = a.CreateLabel();
            a.push(rbx);
            a.xor(ebx, ebx);
            a.mov(__dword_ptr[rsp + 4], 7);
            a.mov(rcx, rdi);
            a.mov(eax, 1);
            a.test(rdi, rdi);
            a.je(end);
            a.xor(edx, edx);
            a.Label(ref end);
            a.ret();
        });
        Assert.Equal([f[1].IP, f[2].IP, f[4].IP], ControlMutations.Initializations(f.Listing.Instructions).Select(i => i.IP));
    }

    private static void Loop(Assembler a, ConditionCode condition, bool isNear)
    {
        Label top = a.CreateLabel();
        a.Label(ref top);
        a.dec(rcx);
        if (isNear)
        {
            for (int i = 0; i < 40; i++)
                a.mov(rax, __qword_ptr[rdi + 0x1000]);
        }

        a.cmp(rcx, rdx);
        switch (condition)
        {
            case ConditionCode.b: a.jb(top); break;
            case ConditionCode.ae: a.jae(top); break;
            case ConditionCode.be: a.jbe(top); break;
            case ConditionCode.a: a.ja(top); break;
            case ConditionCode.l: a.jl(top); break;
            case ConditionCode.le: a.jle(top); break;
            case ConditionCode.ge: a.jge(top); break;
            case ConditionCode.g: a.jg(top); break;
            default: a.jne(top); break;
        }

        a.ret();
    }
}
