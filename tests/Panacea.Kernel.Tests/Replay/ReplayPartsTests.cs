using Iced.Intel;
using Panacea.Kernel.Code;
using Panacea.Kernel.Replay;
using Panacea.Kernel.Tests.Code;
using Panacea.Target;
using Panacea.Target.Paging;
using Panacea.TestKit.Memory;
using static Iced.Intel.AssemblerRegisters;

namespace Panacea.Kernel.Tests.Replay;

/// <summary>What a replay takes as done, does at once, or begins in the middle of.</summary>
public sealed class ReplayPartsTests
{
    private const ulong Data = 0xffff_8880_0010_0000, Stack = Data + 0xf00, Callee = AssembledFunction.Start + 0x10_0000;

    /// <summary>A counter that has been counted holds the result: flags and the register that XADD leaves are those of the first time.</summary>
    [Theory]
    [InlineData("inc", 5u, 4u)]
    [InlineData("dec", 5u, 6u)]
    [InlineData("add", 5u, 2u)]
    [InlineData("sub", 5u, 8u)]
    public void What_has_been_counted_is_the_result(string what, uint there, uint before)
    {
        var f = new AssembledFunction((a, _) =>
        {
            switch (what)
            {
                case "inc": a.inc(__dword_ptr[rdi]); break;
                case "dec": a.dec(__dword_ptr[rdi]); break;
                case "add": a.add(__dword_ptr[rdi], 3); break;
                default: a.sub(__dword_ptr[rdi], 3); break;
            }

            a.sete(al);
            a.ret();
        });
        (ReplayCpu cpu, ReplayMemory memory) = Machine(f, there);
        (cpu.Repeats, cpu.AssumesDone) = (true, true);
        Assert.Equal(StepEnd.Done, Step(cpu));
        Assert.Null(memory.Conflict());
        memory.Read(Data, 4, out Bits now);
        Assert.Equal(there, (uint)now.Value);

        // On paper as in the guest the second time: not what is there.
        (cpu, memory) = Machine(f, there);
        cpu.Repeats = true;
        Step(cpu);
        Assert.NotNull(memory.Conflict());
        (cpu, memory) = Machine(f, before);
        Step(cpu);
        memory.Read(Data, 4, out now);
        Assert.Equal(there, (uint)now.Value);
    }

    [Fact]
    public void The_register_of_an_exchange_holds_what_was_there_before()
    {
        var f = new AssembledFunction((a, _) => { a.xadd(__dword_ptr[rdi], esi); a.ret(); });
        (ReplayCpu cpu, ReplayMemory memory) = Machine(f, 7);
        cpu[Gpr.Rsi] = Bits.Of(uint.MaxValue);
        (cpu.Repeats, cpu.AssumesDone) = (true, true);
        Assert.Equal(StepEnd.Done, Step(cpu));
        Assert.Equal(8UL, cpu[Gpr.Rsi].Value);
        Assert.Null(memory.Conflict());
    }

    /// <summary>A counter that is counted by compare-and-exchange was counted, and others have counted it since: what is there stays.</summary>
    [Theory]
    [InlineData(true, 7u)]
    [InlineData(false, 8u)]
    public void What_a_compare_and_exchange_has_done_is_not_done_again(bool isDone, uint now)
    {
        var f = new AssembledFunction((a, _) => { a.@lock.cmpxchg(__dword_ptr[rdi], esi); a.sete(cl); a.ret(); });
        (ReplayCpu cpu, ReplayMemory memory) = Machine(f, 7);
        (cpu[Gpr.Rax], cpu[Gpr.Rsi]) = (Bits.Of(7), Bits.Of(8));
        (cpu.Repeats, cpu.AssumesDone) = (true, isDone);
        Assert.Equal(StepEnd.Done, Step(cpu));
        memory.Read(Data, 4, out Bits there);
        Assert.Equal((now, isDone), ((uint)there.Value, memory.Conflict() is null));
        Assert.Equal(StepEnd.Done, Step(cpu));
        Assert.Equal(1UL, cpu[Gpr.Rcx].Value & 0xff);
    }

    /// <summary>What it reads there is what it has put there, perhaps, and not what it has read then: of an exchange, of a bit that is tested and set, of a word that is read and then stored to. What one instruction makes of its own operand
    /// comes out the same.</summary>
    [Theory]
    [InlineData("xchg", true)]
    [InlineData("bts", true)]
    [InlineData("load and store", true)]
    [InlineData("cmpxchg that finds it done", true)]
    [InlineData("or", false)]
    [InlineData("and", false)]
    [InlineData("store and load", false)]
    [InlineData("load of one, store of another", false)]
    public void What_was_read_before_it_was_overwritten_is_noted(string what, bool isNoted)
    {
        var f = new AssembledFunction((a, _) =>
        {
            switch (what)
            {
                case "xchg": a.xchg(__dword_ptr[rdi], esi); break;
                case "bts": a.@lock.bts(__dword_ptr[rdi], 0); break;
                case "load and store": a.mov(ecx, __dword_ptr[rdi]); a.mov(__dword_ptr[rdi], esi); break;
                case "cmpxchg that finds it done": a.@lock.cmpxchg(__dword_ptr[rdi], esi); break;
                case "or": a.or(__dword_ptr[rdi], 5); break;
                case "and": a.and(__dword_ptr[rdi], 7); break;
                case "store and load": a.mov(__dword_ptr[rdi], esi); a.mov(ecx, __dword_ptr[rdi]); break;
                default: a.mov(ecx, __dword_ptr[rdi + 4]); a.mov(__dword_ptr[rdi], esi); break;
            }

            a.nop();
            a.ret();
        });
        foreach (bool repeats in (bool[])[true, false])
        {
            (ReplayCpu cpu, ReplayMemory memory) = Machine(f, 5);
            (cpu[Gpr.Rax], cpu[Gpr.Rsi], cpu.Repeats) = (Bits.Of(4), Bits.Of(5), repeats);
            while (cpu.TryDecode(out Instruction next) && next.Mnemonic != Mnemonic.Nop)
                Assert.Equal(StepEnd.Done, cpu.Step(next));
            Assert.Null(memory.Conflict());
            Assert.Equal(isNoted && repeats ? 4 : 0, memory.Overwritten.Count);
        }
    }

    /// <summary>What it held before is not known any more; what a store leaves there is what is there.</summary>
    [Fact]
    public void What_was_overwritten_is_not_known_until_it_is_stored_again()
    {
        var f = new AssembledFunction((a, _) => { a.mov(ecx, __dword_ptr[rdi]); a.or(ecx, 1); a.mov(__dword_ptr[rdi], ecx); a.mov(edx, __dword_ptr[rdi]); a.or(__dword_ptr[rdi + 4], 1); a.mov(r8d, __dword_ptr[rdi + 4]); a.nop(); a.ret(); });
        (ReplayCpu cpu, ReplayMemory memory) = Machine(f, 5, new HashSet<ulong>(Enumerable.Range(0, 4).Select(i => Data + (ulong)i)));
        cpu.Repeats = true;
        while (cpu.TryDecode(out Instruction next) && next.Mnemonic != Mnemonic.Nop)
            Assert.Equal(StepEnd.Done, cpu.Step(next));
        Assert.False(cpu[Gpr.Rcx].Knows(4));
        Assert.Equal((5UL, true), (cpu[Gpr.Rdx].Value, cpu[Gpr.Rdx].Knows(4)));
        Assert.True(cpu[Gpr.R8].Knows(4));
        Assert.Empty(memory.Overwritten);
    }

    [Theory]
    [InlineData("memset", 100UL)]
    [InlineData("memcpy_orig", 100UL)]
    [InlineData("clear_page_rep", 4096UL)]
    public void Blocks_are_filled_and_copied_at_once(string name, ulong length)
    {
        var f = new AssembledFunction((a, _) => a.ret());
        (ReplayCpu cpu, ReplayMemory memory) = Machine(f, 0x0403_0201);
        cpu[Gpr.Rdi] = Bits.Of(Data + 0x1000);
        cpu[Gpr.Rsi] = Bits.Of(name == "memset" ? 0x5a5a5a5a_00000017 : Data);
        cpu[Gpr.Rdx] = Bits.Of(length);
        Assert.True(cpu.TryBlock(name, out StepEnd end));
        Assert.Equal((StepEnd.Done, Data + 0x1000, Callee, Stack + 8), (end, cpu[Gpr.Rax].Value, cpu.Ip, cpu.StackPointer));
        memory.Read(Data + 0x1000, 4, out Bits first);
        Assert.Equal(name switch { "memset" => 0x1717_1717u, "memcpy_orig" => 0x0403_0201u, _ => 0u }, (uint)first.Value);
        memory.Read(Data + 0x1000 + length - 1, 1, out Bits last);
        Assert.Equal(name == "memset" ? 0x17u : 0, (uint)last.Value & 0xff);
        if (length < 4096)
        {
            memory.Read(Data + 0x1000 + length, 1, out Bits behind);
            Assert.Equal(0xeeu, (uint)behind.Value & 0xff);
        }

        Assert.False(cpu[Gpr.Rcx].Knows(1));
        Assert.False(cpu.TryBlock("memcmp", out _));
    }

    [Fact]
    public void Blocks_trap_where_memory_ends_and_tell_nothing_of_what_is_not_known()
    {
        var f = new AssembledFunction((a, _) => a.ret());
        (ReplayCpu cpu, _) = Machine(f, 0);
        (cpu[Gpr.Rdi], cpu[Gpr.Rsi], cpu[Gpr.Rdx]) = (Bits.Of(Data + 0x1f00), Bits.Of(0), Bits.Of(0x200));
        Assert.True(cpu.TryBlock("memset", out StepEnd end));
        Assert.Equal(StepEnd.Traps, end);
        (cpu, _) = Machine(f, 0);
        (cpu[Gpr.Rdi], cpu[Gpr.Rsi], cpu[Gpr.Rdx]) = (Bits.Of(Data), Bits.Of(0), Bits.None);
        Assert.True(cpu.TryBlock("memset", out end));
        Assert.Equal((StepEnd.Unknown, true), (end, cpu.LacksValue));
        (cpu[Gpr.Rdi], cpu[Gpr.Rsi], cpu[Gpr.Rdx]) = (Bits.Of(Data), Bits.Of(0), Bits.Of(ReplayCpu.MaxStringBytes + 1));
        Assert.True(cpu.TryBlock("memset", out end));
        Assert.Equal(StepEnd.Unknown, end);
    }

    /// <summary>That something was not known is said of the step that needed it, and of no later one: a replay goes on after having tried to set up a call in one way.</summary>
    [Fact]
    public void What_was_not_known_once_is_not_held_against_later_steps()
    {
        var f = new AssembledFunction((a, _) => { a.mov(eax, __dword_ptr[rsi]); a.mov(eax, __dword_ptr[rdi]); a.ret(); });
        (ReplayCpu cpu, _) = Machine(f, 5);
        Assert.Equal((StepEnd.Unknown, true), (Step(cpu), cpu.LacksValue));
        cpu.Ip += 2;
        Assert.Equal((StepEnd.Done, false), (Step(cpu), cpu.LacksValue));
    }

    [Fact]
    public void The_last_stretch_goes_back_to_the_last_call_over_branches()
    {
        var f = new AssembledFunction((a, at) =>
        {
            a.call(Callee);
            at.Mark(a, "start");
            a.mov(edx, 0x1000);
            a.cmp(rax, __qword_ptr[rbx]);
            a.jne(at["over"]);
            a.mov(edx, eax);
            at.Mark(a, "over");
            a.mov(__qword_ptr[rbx + 8], rdx);
            at.Mark(a, "end");
            a.mov(ecx, __dword_ptr[rdx]);
            a.ret();
        });
        Assert.True(LastStretch.TryFind(f.Code, f.Parts, null, f["end"], out LastStretch stretch));
        Assert.Equal(f["start"], stretch.Start);
        Assert.Equal([Gpr.Rdx], stretch.Written);
        Assert.False(LastStretch.TryFind(f.Code, f.Parts, null, f["start"], out _));
    }

    /// <summary>A jump from elsewhere brings other registers with it: what lies before the place that it leads to is not the way that was taken, perhaps.</summary>
    [Fact]
    public void The_last_stretch_begins_where_control_may_come_from_elsewhere()
    {
        var f = new AssembledFunction((a, at) =>
        {
            a.test(edi, edi);
            a.jne(at["before"]);
            a.call(Callee);
            a.mov(edx, 1);
            at.Mark(a, "in");
            a.mov(ecx, 2);
            at.Mark(a, "end");
            a.mov(eax, __dword_ptr[rdx]);
            a.ret();
            at.Mark(a, "before");
            a.mov(edx, 3);
            a.call(Callee);
            a.jmp(at["in"]);
        });
        Assert.True(LastStretch.TryFind(f.Code, f.Parts, null, f["end"], out LastStretch stretch));
        Assert.Equal(f["in"], stretch.Start);
    }

    [Theory]
    [InlineData("plain", true)]
    [InlineData("kept", true)]
    [InlineData("stores", false)]
    [InlineData("calls", false)]
    [InlineData("changes", false)]
    [InlineData("loaded", false)]
    public void A_call_that_returned_NULL_is_found_where_nothing_is_done_twice(string kind, bool isFound)
    {
        var f = new AssembledFunction((a, at) =>
        {
            at.Mark(a, "start");
            a.mov(rdi, rbx);
            at.Mark(a, "call");
            a.call(Callee);
            switch (kind)
            {
                case "kept": a.mov(r12, rax); break;
                case "stores": a.mov(__qword_ptr[rbx + 8], rax); break;
                case "calls": a.mov(r12, rax); a.call(Callee + 0x100); a.mov(rax, r12); break;
                case "changes": a.add(rbx, 8); break;
                case "loaded": a.mov(rax, __qword_ptr[rbx]); break;
                default: break;
            }

            at.Mark(a, "fault");
            a.mov(ecx, __dword_ptr[rax + 8]);
            a.ret();
        });
        Assert.Equal(isFound, ReturnedNull.TryFind(f.Code, f.Parts, null, f["fault"], Gpr.Rax, _ => null, out ReturnedNull found, out string whyNot));
        if (isFound)
            Assert.Equal(new ReturnedNull(f["start"], f["call"], Callee), found);
        else
            Assert.NotEmpty(whyNot);
    }

    private static StepEnd Step(ReplayCpu cpu)
    {
        Assert.True(cpu.TryDecode(out Instruction instruction));
        return cpu.Step(instruction);
    }

    /// <summary>Between STAC and CLAC a process's memory is what is mapped for it; the rest the kernel would map, or copy, at the first access: whether that can be done nobody knows here.</summary>
    [Fact]
    public void User_memory_is_read_where_it_is_mapped()
    {
        const ulong user = 0x7fff_0000_0000;
        var physical = new SparsePhysicalMemory(0x1000_0000);
        PageTableBuilder kernel = new(physical, PagingMode.FourLevel, 0x100_0000), process = new(physical, PagingMode.FourLevel, 0x200_0000);
        process.Map(user, 0x10_0000, access: PageAccess.User | PageAccess.Writable);
        process.Map(user + 0x1000, 0x10_1000, access: PageAccess.User);
        process.Map(user + 0x2000, 0x10_2000, access: PageAccess.Writable);
        physical.Write(0x10_0000, BitConverter.GetBytes(0x1234UL));
        var memory = new ReplayMemory(kernel.Space, user: process.Space);
        Assert.Equal(ReplayAccess.Faults, memory.Read(user, 8, out _));
        memory.AllowsUser = true;
        Assert.Equal((ReplayAccess.Done, 0x1234UL), (memory.Read(user, 8, out Bits value), value.Value));
        Assert.Equal(0, memory.ReadCode(user, new byte[8]));
        Assert.Equal(ReplayAccess.Done, memory.Write(user, 8, Bits.Of(5), Callee, repeats: true));
        Assert.Equal((ReplayAccess.Done, ReplayAccess.Unreadable), (memory.Read(user + 0x1000, 8, out _), memory.Write(user + 0x1000, 8, Bits.Of(5), Callee, repeats: false)));
        Assert.Equal(ReplayAccess.Unreadable, memory.Read(user + 0x2000, 8, out _));
        Assert.Equal(ReplayAccess.Unreadable, memory.Read(user + 0x3000, 8, out _));
        memory.AllowsUser = false;
        Assert.Equal(ReplayAccess.Faults, memory.Read(user, 8, out _));
        Assert.Equal(user, memory.Conflict()!.Value.Address);
        Assert.Equal(ReplayAccess.Unreadable, new ReplayMemory(kernel.Space) { AllowsUser = true }.Read(user, 8, out _));
    }

    /// <summary>A CPU at the function's beginning: RDI leads to a word, and a return address lies on the stack. Two pages of data, the second full of 0xee.</summary>
    private static (ReplayCpu Cpu, ReplayMemory Memory) Machine(AssembledFunction function, uint word, IReadOnlySet<ulong>? forgotten = null)
    {
        var physical = new SparsePhysicalMemory(0x1000_0000);
        var tables = new PageTableBuilder(physical, PagingMode.FourLevel, 0x100_0000);
        tables.Map(Data, 0x10_0000);
        tables.Map(Data + 0x1000, 0x10_1000);
        tables.Map(AssembledFunction.Start, 0x20_0000);
        physical.Write(0x20_0000, function.Bytes);
        physical.Write(0x10_0000, BitConverter.GetBytes(word));
        physical.Write(0x10_0000 + (Stack - Data), BitConverter.GetBytes(Callee));
        physical.Write(0x10_1000, Enumerable.Repeat((byte)0xee, 0x1000).ToArray());
        var memory = new ReplayMemory(tables.Space) { Forgotten = forgotten };
        var cpu = new ReplayCpu(memory, 0) { Ip = AssembledFunction.Start, StackPointer = Stack };
        cpu[Gpr.Rdi] = Bits.Of(Data);
        return (cpu, memory);
    }
}
