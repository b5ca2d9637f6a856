using System.Buffers.Binary;
using Iced.Intel;
using Panacea.Formats.Orc;
using Panacea.Kernel.Code;
using Panacea.Target;
using static Iced.Intel.AssemblerRegisters;

namespace Panacea.Kernel.Tests.Code;

public class CodeTests
{
    private const ulong Start = AssembledFunction.Start;
    private const ulong Lock = Start + 0x10000, Unlock = Start + 0x20000, Panic = Start + 0x30000;

    [Theory]
    [InlineData("90", 1)]
    [InlineData("6690", 2)]
    [InlineData("0f1f00", 3)]
    [InlineData("0f1f440000", 5)]
    [InlineData("660f1f840000000000", 9)]
    [InlineData("f30f1efa", 4)]
    [InlineData("f30f1efac3", 4)]
    [InlineData("e800000000", 0)]
    [InlineData("55", 0)]
    [InlineData("f390", 0)]
    [InlineData("0f1f44", 0)]
    [InlineData("", 0)]
    public void LeadingNops(string hex, int expected)
    {
        Assert.Equal(expected != 0, Nops.TryLengthOfLeadingNop(Convert.FromHexString(hex), out int length));
        Assert.Equal(expected, length);
    }

    private static AssembledFunction Locking() => new((a, at) =>
    {
        a.call(Lock);
        at.Mark(a, "locked");
        a.test(rdi, rdi);
        a.je(at["skip"]);
        a.call(__qword_ptr[rdi]);
        at.Mark(a, "skip");
        a.mov(rax, __qword_ptr[rsi]);
        at.Mark(a, "unlock");
        a.call(Unlock);
        at.Mark(a, "unlocked");
        a.ret();
        at.Mark(a, "dead");
        a.call(Panic);
    });

    [Fact]
    public void CallsOnTheWay()
    {
        AssembledFunction f = Locking();
        Assert.True(CallSites.TryFind(f.Code, f.Parts, Start, CodePoint.Trap(f["skip"]), null, out CallsOnPaths found, out _));
        Assert.True(found.IsComplete);
        Assert.Equal([Lock, null], found.Calls.Select(c => c.Target));
        Assert.Equal(f["locked"], found.Calls[0].ReturnAddress);
        Assert.True(CallSites.TryFind(f.Code, f.Parts, Start, CodePoint.Trap(f["locked"]), null, out found, out _));
        Assert.Single(found.Calls);
        Assert.True(CallSites.TryFind(f.Code, f.Parts, f["skip"], CodePoint.Trap(f["unlocked"]), null, out found, out _));
        Assert.Equal([Unlock], found.Calls.Select(c => c.Target!.Value));

        // The call that has not come back is not among those that were made.
        Assert.True(CallSites.TryFind(f.Code, f.Parts, Start, CodePoint.Return(f["unlocked"]), null, out found, out _));
        Assert.Equal([Lock, null], found.Calls.Select(c => c.Target));
        Assert.False(CallSites.TryFind(f.Code, f.Parts, Start, CodePoint.Trap(f["dead"]), null, out _, out Decline why));
        Assert.Equal(DeclineReason.Unreached, why.Reason);
        Assert.False(CallSites.TryFind(f.Code, f.Parts, Start + 1, CodePoint.Trap(f["skip"]), null, out _, out why));
        Assert.Equal(DeclineReason.Unreached, why.Reason);
    }

    [Fact]
    public void CallsInALoop()
    {
        var f = new AssembledFunction((a, at) =>
        {
            at.Mark(a, "loop");
            a.mov(rdi, __qword_ptr[rdi]);
            a.call(Unlock);
            at.Mark(a, "behind");
            a.test(rdi, rdi);
            a.jne(at["loop"]);
            a.ret();
        });
        Assert.True(CallSites.TryFind(f.Code, f.Parts, Start, CodePoint.Trap(f["loop"]), null, out CallsOnPaths found, out _));
        Assert.Single(found.Calls);
        Assert.True(CallSites.TryFind(f.Code, f.Parts, Start, CodePoint.Return(f["behind"]), null, out found, out _));
        Assert.Single(found.Calls);
    }

    [Fact]
    public void AJumpTableMakesTheListIncomplete()
    {
        var f = new AssembledFunction((a, at) =>
        {
            a.test(rdi, rdi);
            a.je(at["fault"]);
            a.jmp(__qword_ptr[rax * 8 + 0x1000]);
            at.Mark(a, "fault");
            a.mov(rax, __qword_ptr[rsi]);
            a.ret();
        });
        Assert.True(CallSites.TryFind(f.Code, f.Parts, Start, CodePoint.Trap(f["fault"]), null, out CallsOnPaths found, out _));
        Assert.False(found.IsComplete);
    }

    [Theory]
    [InlineData("e800000000", true)]
    [InlineData("ffd0", true)]
    [InlineData("41ffd3", true)]
    [InlineData("ff5018", true)]
    [InlineData("ff1500000000", true)]
    [InlineData("ff9480000000aa", true)]
    [InlineData("2ee800000000", true)]
    [InlineData("9090909090909090", false)]
    [InlineData("ffe0", false)]
    [InlineData("e900000000", false)]
    public void WhatStandsBeforeAReturnAddress(string hex, bool expected)
    {
        byte[] padded = [.. Enumerable.Repeat((byte)0x90, 8), .. Convert.FromHexString(hex)];
        Assert.Equal(expected, CallSites.IsPrecededByCall(new CodeBytes(Start, padded), Start + (ulong)padded.Length));
        Assert.False(CallSites.IsPrecededByCall(new CodeBytes(Start, padded), 4));
        Assert.False(CallSites.IsPrecededByCall(new CodeBytes(Start, padded), Start));
    }

    [Fact]
    public void TheCallBeforeAReturnAddress()
    {
        AssembledFunction f = Locking();
        Assert.True(CallSites.TryFindCallBefore(f.Code, f.Parts, f["unlocked"], out CallSite call));
        Assert.Equal((f["unlock"], Unlock), (call.Address, call.Target!.Value));
        Assert.False(CallSites.TryFindCallBefore(f.Code, f.Parts, f["unlocked"] + 1, out _));
    }

    [Fact]
    public void Listing()
    {
        AssembledFunction f = Locking();
        IReadOnlyList<DisassembledLine> lines = Disassembly.Around(f.Code, f.Range, f["skip"], 3, 1, a => a == Unlock ? "unlock" : null);
        Assert.Equal(5, lines.Count);
        Assert.Equal([false, false, false, true, false], lines.Select(l => l.IsMarked));
        Assert.Equal("test %rdi,%rdi", lines[0].Text);
        Assert.Equal("callq *(%rdi)", lines[2].Text);
        Assert.Equal("mov (%rsi),%rax", lines[3].Text);
        Assert.Equal("call unlock", lines[4].Text);
        Assert.Equal($"=> 0x{f["skip"]:x16}: mov (%rsi),%rax", lines[3].ToString());

        // In the middle of an instruction: nothing before it can be trusted.
        lines = Disassembly.Around(f.Code, f.Range, f["skip"] + 1, 3, 0);
        Assert.Single(lines);
        Assert.True(lines[0].IsMarked);
        Assert.Empty(Disassembly.Around(f.Code, f.Range, Start - 0x1000, 3, 3));
        lines = Disassembly.Around(new CodeBytes(Start, new byte[] { 0x90, 0x06 }), new FunctionRange(Start, Start + 2, "f"), Start + 1, 1, 1);
        Assert.Equal(["nop", "(bad)"], lines.Select(l => l.Text));
    }

    [Fact]
    public void Tables()
    {
        const ulong Jumps = Start + 0x100000, Exceptions = Start + 0x200000, Bugs = Start + 0x300000;
        var jump = new byte[35];
        Put(jump, 0, Start + 0x50, Jumps);
        Put(jump, 4, Start + 0x60, Jumps);
        Put(jump, 16, Start + 0x10, Jumps);
        Put(jump, 20, Start + 0x80, Jumps);
        var exception = new byte[12];
        Put(exception, 0, Start + 0x50, Exceptions);
        Put(exception, 4, Start + 0x90, Exceptions);
        var bug = new byte[24];
        Put(bug, 0, Start + 0x20, Bugs);
        bug[10] = 1;
        Put(bug, 12, Start + 0x30, Bugs);
        byte[] built = ControlFlowTable.Build(
            new KernelTable(Jumps, jump), new KernelTable(Exceptions, exception), new KernelTable(Bugs, bug), BugEntryLayout.Verbose, Start);
        Assert.True(ControlFlowTable.TryOpen(built, Start, out ControlFlowTable tables, new HashSet<ulong> { Panic }));
        Assert.Equal(3, tables.Count);
        Assert.Equal([Start + 0x60, Start + 0x90], tables.ExtraTargets(Start + 0x50).Order());
        Assert.Equal([Start + 0x80], tables.ExtraTargets(Start + 0x10));
        Assert.Empty(tables.ExtraTargets(Start + 0x11));
        Assert.True(tables.ContinuesAfterTrap(Start + 0x20));
        Assert.False(tables.ContinuesAfterTrap(Start + 0x30));
        Assert.True(tables.IsNoReturn(Panic));
        Assert.False(tables.IsNoReturn(Lock));

        // A layout that makes no sense gives no warnings, and an exception none either.
        built = ControlFlowTable.Build(default, default, new KernelTable(Bugs, bug), new BugEntryLayout(0, 10), Start);
        Assert.True(ControlFlowTable.TryOpen(built, Start, out tables));
        Assert.False(tables.ContinuesAfterTrap(Start + 0x20));
        Assert.False(tables.IsNoReturn(Panic));

        // At another base the same bytes; what is too far away is nowhere; bytes that are no table are refused.
        built = ControlFlowTable.Build(new KernelTable(Jumps, jump), default, default, default, Start);
        Assert.True(ControlFlowTable.TryOpen(built, Start + 0x1000, out tables));
        Assert.Equal([Start + 0x1060], tables.ExtraTargets(Start + 0x1050));
        Assert.Empty(tables.ExtraTargets(0x50));
        Assert.Equal(8, ControlFlowTable.Build(new KernelTable(Jumps, jump), default, default, default, 0xffff_8880_0000_0000).Length);
        Assert.False(ControlFlowTable.TryOpen(built.AsMemory(1), Start, out _));
        Assert.False(ControlFlowTable.TryOpen(new byte[] { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff }, Start, out _));
        Assert.False(ControlFlowTable.TryOpen(default, Start, out _));
        static void Put(byte[] bytes, int at, ulong value, ulong table) =>
            BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(at), unchecked((int)(value - table - (ulong)at)));
    }

    [Fact]
    public void ASwitchedOnJumpLabelStillLeadsOn()
    {
        var f = new AssembledFunction((a, at) =>
        {
            a.push(rbx);
            at.Mark(a, "label");
            a.jmp(at["target"]);
            at.Mark(a, "next");
            a.mov(rax, __qword_ptr[rsi]);
            at.Mark(a, "target");
            a.pop(rbx);
            a.ret();
        });
        const ulong Jumps = Start + 0x100000;
        var jump = new byte[16];
        BinaryPrimitives.WriteInt32LittleEndian(jump, unchecked((int)(f["label"] - Jumps)));
        BinaryPrimitives.WriteInt32LittleEndian(jump.AsSpan(4), unchecked((int)(f["target"] - Jumps - 4)));
        Assert.True(ControlFlowTable.TryOpen(ControlFlowTable.Build(new KernelTable(Jumps, jump), default, default, default, Start), Start, out ControlFlowTable tables));
        var orc = new OneRow(16);
        Assert.False(PrologueAnalysis.TryLocate(f.Code, f.Parts, CodePoint.Trap(f["next"]), orc, null, out _, out _));
        Assert.True(PrologueAnalysis.TryLocate(f.Code, f.Parts, CodePoint.Trap(f["next"]), orc, tables, out RegisterLocations found, out _));
        Assert.Equal(-16, found[Gpr.Rbx].Offset);
    }

    private sealed class Words(Dictionary<ulong, ulong> words) : IStackReader
    {
        public bool TryReadUInt64(ulong address, out ulong value) => words.TryGetValue(address, out value);
    }

    [Fact]
    public void ValuesOfARealignedFrame()
    {
        var locations = new RegisterLocations
        {
            Function = Start,
            Instruction = Start,
            Cfa = [new BaseRule(Gpr.Rbp, -16, Indirect: true)],
            Aligned = [new BaseRule(Gpr.Rsp, 0x60), new BaseRule(Gpr.Rbp, 16)],
            Depth = null,
            CalleeSaved =
            [
                new RegisterLocation(RegisterPlace.OnStack, Gpr.Rbx, FrameBase.Aligned, -40, false),
                new RegisterLocation(RegisterPlace.OnStack, Gpr.Rbp, FrameBase.Aligned, -16, false),
                new RegisterLocation(RegisterPlace.Lost, default, default, 0, false),
                new RegisterLocation(RegisterPlace.InRegister, Gpr.R13, default, 0, true),
                new RegisterLocation(RegisterPlace.InRegister, Gpr.Rax, default, 0, false),
                new RegisterLocation(RegisterPlace.OnStack, Gpr.R15, FrameBase.Cfa, -16, true),
            ],
        };
        const ulong Rbp = 0xffff_c900_0000_1000, Cfa = Rbp + 0x38;
        var words = new Dictionary<ulong, ulong> { [Rbp - 16] = Cfa, [Cfa - 8] = 0x1111, [Rbp] = 0xb9, [Rbp - 24] = 0xbb, [Cfa - 16] = 0x15 };
        KnownRegisters registers = default;
        registers[Gpr.Rbp] = Rbp;
        registers[Gpr.Rsp] = Rbp + 16 - 0x60;
        registers[Gpr.R13] = 0x13;
        registers[Gpr.Rax] = 0x14;
        registers[Gpr.R15] = 0x15;
        Assert.True(EntryRegisters.TryEvaluate(locations, registers, new Words(words), out EntryState state, out Decline why), why.ToString());
        Assert.Equal((Cfa, 0x1111UL), (state.Cfa, state.ReturnAddress));
        Assert.Equal((0xbbUL, 0xb9UL, 0x13UL, 0x14UL, 0x15UL), (
            state.Registers[Gpr.Rbx]!.Value, state.Registers[Gpr.Rbp]!.Value, state.Registers[Gpr.R13]!.Value, state.Registers[Gpr.R14]!.Value, state.Registers[Gpr.R15]!.Value));
        Assert.Null(state.Registers[Gpr.R12]);
        Assert.False(state.Registers.HasCalleeSaved);

        registers[Gpr.R15] = 0x16;
        Assert.False(EntryRegisters.TryEvaluate(locations, registers, new Words(words), out _, out why));
        Assert.Equal(DeclineReason.SlotDisagrees, why.Reason);
        registers[Gpr.R15] = null;
        Assert.True(EntryRegisters.TryEvaluate(locations, registers, new Words(words), out state, out _));
        words.Remove(Cfa - 8);
        Assert.False(EntryRegisters.TryEvaluate(locations, registers, new Words(words), out _, out why));
        Assert.Equal(DeclineReason.StackUnreadable, why.Reason);
        registers[Gpr.Rbp] = null;
        Assert.False(EntryRegisters.TryEvaluate(locations, registers, new Words(words), out _, out why));
        Assert.Equal(DeclineReason.RegisterUnknown, why.Reason);
    }

    /// <summary>A mistake has changed a register that pointed into the frame: the stack pointer is right. The frame pointer is as good as that.</summary>
    [Theory]
    [InlineData(Gpr.R15, true)]
    [InlineData(Gpr.Rbp, false)]
    public void A_register_is_outvoted_by_the_stack_pointer(Gpr register, bool isOutvoted)
    {
        foreach (bool isFirst in (bool[])[true, false])
        {
            BaseRule wrong = new(register, 0x20), sp = new(Gpr.Rsp, 0x40);
            var locations = new RegisterLocations
            {
                Function = Start, Instruction = Start, Cfa = isFirst ? [wrong, sp] : [sp, wrong], Aligned = [], Depth = 0x40,
                CalleeSaved = [.. Enumerable.Repeat(new RegisterLocation(RegisterPlace.OnStack, default, FrameBase.Cfa, -16, false), KnownRegisters.CalleeSaved.Length)],
            };
            KnownRegisters registers = default;
            registers[Gpr.Rsp] = 0xffff_c900_0000_1000;
            registers[register] = 0xa78;
            var words = new Words(new Dictionary<ulong, ulong> { [0xffff_c900_0000_1038] = 0x1111, [0xffff_c900_0000_1030] = 0x15 });
            Assert.Equal(isOutvoted, EntryRegisters.TryEvaluate(locations, registers, words, out EntryState state, out Decline why));
            if (isOutvoted)
                Assert.Equal((0xffff_c900_0000_1040, 0x15UL), (state.Cfa, state.Registers[Gpr.R15]!.Value));
            else
                Assert.Equal(DeclineReason.CfaMismatch, why.Reason);
        }
    }

    [Fact]
    public void UnknownRegistersHaveNoValue()
    {
        KnownRegisters registers = default;
        Assert.Null(registers[Gpr.Rax]);
        Assert.False(registers.TryGet(Gpr.Rax, out _));
        registers[Gpr.Rax] = 0;
        Assert.Equal(0UL, registers[Gpr.Rax]);
        registers[Gpr.Rax] = null;
        Assert.False(registers.Knows(Gpr.Rax));
        Assert.True(KnownRegisters.All(default).IsComplete);
    }
}
