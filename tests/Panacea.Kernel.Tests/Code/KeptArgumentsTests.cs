using Iced.Intel;
using Panacea.Kernel.Code;
using Panacea.Target;
using static Iced.Intel.AssemblerRegisters;

namespace Panacea.Kernel.Tests.Code;

public sealed class KeptArgumentsTests
{
    private const ulong Callee = AssembledFunction.Start + 0x10_0000;

    [Fact]
    public void Arguments_are_kept_where_the_function_begins()
    {
        var f = new AssembledFunction((a, at) =>
        {
            a.push(r12);
            a.push(rbx);
            a.mov(r12, rdi);
            a.mov(ebx, esi);
            a.mov(rdi, r12);
            a.mov(rbp, rdi);
            a.call(Callee);
            at.Mark(a, "behind");
            a.mov(__dword_ptr[r12], ebx);
            at.Mark(a, "ends");
            a.pop(rbx);
            a.pop(r12);
            a.ret();
        });

        // What is in RDI the second time is no argument any more.
        KeptArgument[] kept = [.. Find(f, "behind")];
        Assert.Equal([new KeptArgument(Gpr.R12, Gpr.Rdi, 8), new KeptArgument(Gpr.Rbx, Gpr.Rsi, 4)], kept);
        Assert.Equal((0xffff_8880_1234_5678UL, 0x1234_5678UL), (kept[0].Of(0xffff_8880_1234_5678), kept[1].Of(0xffff_8880_1234_5678)));
        Assert.Empty(Find(f, "ends"));
    }

    [Theory]
    [InlineData("written again")]
    [InlineData("behind a branch")]
    [InlineData("behind a call")]
    [InlineData("in a loop")]
    [InlineData("somewhere else")]
    [InlineData("not yet")]
    public void A_register_that_may_hold_something_else_is_none(string what)
    {
        var f = new AssembledFunction((a, at) =>
        {
            a.test(esi, esi);
            if (what == "behind a branch")
                a.je(at["behind"]);
            if (what == "behind a call")
                a.call(Callee);
            if (what == "in a loop")
                at.Mark(a, "loop");
            if (what == "not yet")
                at.Mark(a, "behind");
            a.mov(rbx, rdi);
            a.call(Callee);
            if (what == "in a loop")
                a.jne(at["loop"]);
            if (what == "somewhere else")
                a.jmp(rax);
            if (what != "not yet")
                at.Mark(a, "behind");
            a.mov(ecx, __dword_ptr[rbx]);
            if (what == "written again")
                a.lea(ebx, __[rcx + 1]);
            a.ret();
        });
        Assert.Empty(Find(f, "behind"));
    }

    private static IReadOnlyList<KeptArgument> Find(AssembledFunction f, string at) => KeptArguments.Find(f.Code, f.Parts, null, f[at]);
}
