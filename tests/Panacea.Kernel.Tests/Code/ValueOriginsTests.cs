using Iced.Intel;
using Panacea.Kernel.Code;
using Panacea.Kernel.Types;
using Panacea.Target;
using Panacea.TestKit.Formats;
using static Iced.Intel.AssemblerRegisters;

namespace Panacea.Kernel.Tests.Code;

public sealed class ValueOriginsTests
{
    private const ulong Callee = AssembledFunction.Start + 0x10_0000, Variable = AssembledFunction.Start + 0x20_0000;

    /// <summary>int f(struct thing *t, int n): struct thing { struct thing *next; struct { struct other *deep; }; u32 word; struct other inner[2]; }; struct other { void *buffer; void *(*op)(void); }.</summary>
    private static readonly TypeCatalog Types = MakeTypes();

    [Fact]
    public void An_argument_is_told_by_its_name_and_type()
    {
        var f = new AssembledFunction((a, at) =>
        {
            a.mov(rbx, rdi);
            a.call(Callee);
            at.Mark(a, "fault");
            a.mov(__dword_ptr[rbx], 1);
            a.ret();
        });
        ValueOrigin origin = Find(f, Gpr.Rbx);
        Assert.Equal(("t", "struct thing *"), (origin.Parameter, origin.ParameterType));

        // What a call may have changed is not the argument any more.
        Assert.False(TryFind(f, Gpr.Rsi, out _));
    }

    [Fact]
    public void Members_are_followed_through_pointers_anonymous_structs_and_arrays()
    {
        var f = new AssembledFunction((a, at) =>
        {
            a.mov(rax, __qword_ptr[rdi]);
            at.Mark(a, "load");
            a.mov(rcx, __qword_ptr[rax + 8]);
            a.mov(rdx, __qword_ptr[rcx]);
            a.mov(r8, __qword_ptr[rax + 0x28]);
            a.mov(r9d, __dword_ptr[rax + 0x10]);
            at.Mark(a, "fault");
            a.mov(__dword_ptr[rdx], 1);
            a.ret();
        });
        Assert.Equal("thing.next", Find(f, Gpr.Rax).Field);
        Assert.Equal(("thing.deep", f["load"]), (Find(f, Gpr.Rcx).Field, Find(f, Gpr.Rcx).Address));
        Assert.Equal("other.buffer", Find(f, Gpr.Rdx).Field);
        Assert.Equal("thing.inner[1].buffer", Find(f, Gpr.R8).Field);
        Assert.Equal("thing.word", Find(f, Gpr.R9).Field);
        Assert.Equal("n", Find(f, Gpr.Rsi).Parameter);
    }

    [Fact]
    public void Variables_and_what_calls_return()
    {
        var f = new AssembledFunction((a, at) =>
        {
            a.mov(rbx, __qword_ptr[Variable]);
            a.call(Callee);
            a.mov(rbp, rax);
            a.call(rax);
            at.Mark(a, "fault");
            a.mov(__dword_ptr[rax], 1);
            a.ret();
        });
        Assert.Equal(Variable, Find(f, Gpr.Rbx).Variable);
        Assert.Equal((true, Callee), (Find(f, Gpr.Rbp).IsReturned, Find(f, Gpr.Rbp).Callee));
        Assert.Equal((true, null), (Find(f, Gpr.Rax).IsReturned, Find(f, Gpr.Rax).Callee));
    }

    [Fact]
    public void What_differs_from_way_to_way_is_not_told()
    {
        var f = new AssembledFunction((a, at) =>
        {
            a.mov(rax, rdi);
            a.mov(rcx, rdi);
            a.test(esi, esi);
            a.je(at["skip"]);
            a.mov(rax, __qword_ptr[rdi]);
            at.Mark(a, "skip");
            a.nop();
            at.Mark(a, "fault");
            a.mov(__dword_ptr[rax], 1);
            a.ret();
        });
        Assert.False(TryFind(f, Gpr.Rax, out _));
        Assert.Equal("t", Find(f, Gpr.Rcx).Parameter);
    }

    [Fact]
    public void A_list_that_is_walked_in_a_loop_comes_to_an_end()
    {
        var f = new AssembledFunction((a, at) =>
        {
            at.Mark(a, "loop");
            a.mov(rax, __qword_ptr[rdi]);
            a.mov(rdi, rax);
            at.Mark(a, "fault");
            a.cmp(__dword_ptr[rax], 1);
            a.jne(at["loop"]);
            a.ret();
        });

        // In the second round the base is no argument any more, so no member can be named; that it was loaded there holds in both.
        Assert.False(TryFind(f, Gpr.Rsp, out _));
        Assert.True(TryFind(f, Gpr.Rsi, out ValueOrigin n) && n.Parameter == "n");
    }

    [Fact]
    public void The_member_that_was_called_through()
    {
        var f = new AssembledFunction((a, at) =>
        {
            a.mov(rax, __qword_ptr[rdi + 8]);
            at.Mark(a, "call");
            a.call(__qword_ptr[rax + 8]);
            a.ret();
        });
        Assert.Equal("other.op", ValueOrigins.FieldOf(f.Code, f.Parts, f["call"], null, Types));
        Assert.Null(ValueOrigins.FieldOf(f.Code, f.Parts, f["call"], null, TypeCatalog.Empty));
        Assert.Null(ValueOrigins.FieldOf(f.Code, f.Parts, f["call"] + 1, null, Types));
    }

    private static ValueOrigin Find(AssembledFunction f, Gpr register)
    {
        Assert.True(TryFind(f, register, out ValueOrigin origin));
        return origin;
    }

    private static bool TryFind(AssembledFunction f, Gpr register, out ValueOrigin origin) => ValueOrigins.TryFind(f.Code, f.Parts, f["fault"], register, null, Types, out origin);

    private static TypeCatalog MakeTypes()
    {
        var b = new SyntheticBtf();
        uint s32 = b.Int("int", 4, encoding: 1), u64 = b.Int("unsigned long", 8), pointer = b.Ptr(0);
        uint other = b.Struct("other", 16, new SyntheticMember("buffer", pointer, 0), new SyntheticMember("op", pointer, 64));
        uint toOther = b.Ptr(other), anonymous = b.Struct("", 8, new SyntheticMember("deep", toOther, 0)), two = b.Array(other, u64, 2);
        uint thing = b.NextId + 1, toThing = b.Ptr(thing);
        b.Struct(
            "thing", 0x38, new SyntheticMember("next", toThing, 0), new SyntheticMember("", anonymous, 64), new SyntheticMember("word", s32, 128), new SyntheticMember("inner", two, 0x18 * 8));
        b.Func("f", b.FuncProto(s32, ("t", toThing), ("n", s32)));
        byte[] blob = b.Build();
        Assert.True(TypeCatalog.TryIndex(blob, null, out var types, out var names, out _));
        return TypeCatalog.Open(blob, types, names);
    }
}
