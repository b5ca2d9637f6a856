using Iced.Intel;
using Panacea.Kernel.Code;
using Panacea.Kernel.Replay;
using Panacea.Kernel.Tests.Code;
using Panacea.Target;
using Panacea.Target.Paging;
using Panacea.TestKit.Memory;
using static Iced.Intel.AssemblerRegisters;

namespace Panacea.Kernel.Tests.Replay;

/// <summary>What registers should hold behind a call that may have changed them, by the code before it.</summary>
public sealed class DerivedValuesTests
{
    private const ulong Callee = AssembledFunction.Start + 0x10_0000, First = 0xffff_8880_1234_5678, Second = 0x1_2345_6789, PerCpu = 0xffff_8880_0010_0000, Task = 0xffff_8880_0bad_f000;

    [Fact]
    public void Arguments_are_where_the_function_has_put_them()
    {
        AssembledFunction f = new((a, at) =>
        {
            a.push(r12);
            a.push(rbx);
            a.mov(r12, rdi);
            a.mov(ebx, esi);
            a.mov(rdi, r12);
            a.lea(rbp, __[rdi + 0x80]);
            a.call(Callee);
            a.mov(r13, rdi);
            at.Mark(a, "behind");
            a.mov(__dword_ptr[r12], ebx);
            at.Mark(a, "ends");
            a.pop(rbx);
            a.pop(r12);
            a.ret();
        });

        // What is in RDI behind a call nobody knows, and what is given back to the caller is not the function's.
        Assert.Equal([(Gpr.Rbx, 0x2345_6789UL, false), (Gpr.Rbp, First + 0x80, false), (Gpr.R12, First, false)], Find(f, "behind"));
        Assert.Empty(Find(f, "ends"));
    }

    [Theory]
    [InlineData("once", true)]
    [InlineData("written again behind it", true)]
    [InlineData("written again before it", true)]
    [InlineData("written on one of two ways")]
    [InlineData("counted in a loop")]
    [InlineData("behind a call")]
    [InlineData("somewhere else")]
    [InlineData("not yet")]
    [InlineData("in part")]
    [InlineData("given back")]
    public void There_has_to_be_one_that_has_set_it(string what, bool isFound = false)
    {
        AssembledFunction f = new((a, at) =>
        {
            if (what == "behind a call")
                a.call(Callee);
            if (what == "written again before it")
                a.mov(rbx, rsi);
            if (what == "not yet")
                at.Mark(a, "behind");
            a.mov(rbx, rdi);
            if (what == "written on one of two ways")
            {
                a.test(esi, esi);
                a.je(at["over"]);
                a.mov(rbx, rsi);
                at.Mark(a, "over");
                a.nop();
            }

            if (what == "counted in a loop")
            {
                at.Mark(a, "loop");
                a.inc(rbx);
            }

            if (what == "in part")
                a.mov(bl, 1);
            if (what == "given back")
                a.pop(rbx);
            a.call(Callee);
            if (what == "counted in a loop")
                a.jne(at["loop"]);
            if (what == "somewhere else")
                a.jmp(rax);
            if (what != "not yet")
                at.Mark(a, "behind");
            a.mov(ecx, __dword_ptr[rbx]);
            if (what == "written again behind it")
                a.lea(ebx, __[rcx + 1]);
            a.ret();
        });
        Assert.Equal(isFound ? [(Gpr.Rbx, First, false)] : [], Find(f, "behind"));
    }

    /// <summary>A CPU's own variables are those of another CPU where the code may have moved; the task is the same wherever it runs. What else is read may be another by now.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void What_is_read_may_have_changed(bool isPinned)
    {
        AssembledFunction f = new((a, at) =>
        {
            a.mov(rbx, 0x40);
            a.add(rbx, __qword_ptr.gs[0x10]);
            a.mov(r12, __qword_ptr.gs[0x18]);
            a.mov(r13, __qword_ptr.gs[0x20]);
            a.mov(rbp, __qword_ptr[rdi + 8]);
            a.mov(r14, 5);
            a.call(Callee);
            at.Mark(a, "behind");
            a.nop();
            a.ret();
        });
        Assert.Equal(
            [(Gpr.Rbx, PerCpu + 0x40, !isPinned), (Gpr.Rbp, 0x77UL, true), (Gpr.R12, Task, false), (Gpr.R13, 0x99UL, true), (Gpr.R14, 5UL, false)], Find(f, "behind", isPinned, PerCpu + 0x100));
    }

    /// <summary>An argument that its caller had read from memory may have been another one.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void What_comes_of_an_argument_is_as_certain_as_it(bool isLoaded)
    {
        var f = new AssembledFunction((a, mark) => { a.lea(rbx, __qword_ptr[rdi + 8]); mark.Mark(a, "here"); a.nop(); a.ret(); });
        Assert.Equal([(Gpr.Rbx, First + 8, isLoaded)], Find(f, "here", isLoaded: isLoaded));
    }

    private static List<(Gpr, ulong, bool)> Find(AssembledFunction f, string at, bool isPinned = true, ulong first = First, bool isLoaded = false)
    {
        var physical = new SparsePhysicalMemory(0x1000_0000);
        var tables = new PageTableBuilder(physical, PagingMode.FourLevel, 0x100_0000);
        tables.Map(PerCpu, 0x10_0000);
        physical.Write(0x10_0010, BitConverter.GetBytes(PerCpu));
        physical.Write(0x10_0018, BitConverter.GetBytes(Task));
        physical.Write(0x10_0020, BitConverter.GetBytes(0x99UL));
        physical.Write(0x10_0108, BitConverter.GetBytes(0x77UL));
        var input = new DerivationInput
        {
            Code = f.Code, Space = tables.Space, GsBase = PerCpu, Task = Task, IsPinned = isPinned, Arguments = new Dictionary<Gpr, DerivedValue> { [Gpr.Rdi] = new(Gpr.Rdi, first, isLoaded), [Gpr.Rsi] = new(Gpr.Rsi, Second, false) },
        };
        return [.. (DerivedValues.Of(input, f.Parts)?.Find(f[at], KnownRegisters.CalleeSaved.ToArray()) ?? []).OrderBy(v => v.Register).Select(v => (v.Register, v.Value, v.IsLoaded))];
    }
}
