using Iced.Intel;
using Panacea.Formats.Orc;
using Panacea.Kernel.Code;
using Panacea.Target;
using static Iced.Intel.AssemblerRegisters;
using static Panacea.Kernel.Tests.Code.AssembledFunction;

namespace Panacea.Kernel.Tests.Code;

public partial class PrologueAnalysisTests
{
    private const ulong Elsewhere = Start + 0x100000;

    private static RegisterLocations Locate(AssembledFunction f, CodePoint point, IOrcLookup orc, IControlFlowHints? hints = null)
    {
        Assert.True(PrologueAnalysis.TryLocate(f.Code, f.Parts, point, orc, hints, out RegisterLocations found, out Decline why), why.ToString());
        return found;
    }

    private static Decline Refused(AssembledFunction f, CodePoint point, IOrcLookup orc, IControlFlowHints? hints = null)
    {
        Assert.False(PrologueAnalysis.TryLocate(f.Code, f.Parts, point, orc, hints, out _, out Decline why));
        Assert.NotEqual(DeclineReason.None, why.Reason);
        return why;
    }

    private static void IsAt(RegisterLocations found, Gpr register, int offset)
    {
        Assert.Equal(RegisterPlace.OnStack, found[register].Place);
        Assert.Equal(FrameBase.Cfa, found[register].Base);
        Assert.Equal(offset, found[register].Offset);
    }

    private static void IsUntouched(RegisterLocations found, Gpr register)
    {
        Assert.Equal(RegisterPlace.InRegister, found[register].Place);
        Assert.Equal(register, found[register].Holder);
    }

    /// <summary>What gcc makes of a function with all six registers and locals, under -mfentry and IBT.</summary>
    private static AssembledFunction Ordinary() => new((a, at) =>
    {
        a.endbr64();
        a.call(Elsewhere);
        at.Mark(a, "behind fentry");
        a.push(r15);
        a.push(r14);
        a.push(r13);
        a.push(r12);
        at.Mark(a, "four pushed");
        a.push(rbp);
        a.push(rbx);
        a.sub(rsp, 0x18);
        a.mov(rbx, rdi);
        a.xor(ebp, ebp);
        a.mov(r12, __qword_ptr[rdi + 8]);
        at.Mark(a, "fault");
        a.mov(__qword_ptr[r12], rsi);
        a.call(Elsewhere);
        at.Mark(a, "returns");
        a.add(rsp, 0x18);
        a.pop(rbx);
        at.Mark(a, "rbx popped");
        a.pop(rbp);
        a.pop(r12);
        a.pop(r13);
        a.pop(r14);
        a.pop(r15);
        at.Mark(a, "ret");
        a.ret();
    });

    /// <summary>Rows of <see cref="Ordinary"/>: right up to the fault, then as given.</summary>
    private static OrcRows Rows(AssembledFunction f, short depth, short bp = 0) =>
        new OrcRows().At(Start, 8).At(f["fault"], depth, bp);

    [Fact]
    public void OrdinaryFrame()
    {
        AssembledFunction f = Ordinary();
        foreach (CodePoint point in (CodePoint[])[CodePoint.Trap(f["fault"]), CodePoint.Return(f["returns"])])
        {
            RegisterLocations found = Locate(f, point, Rows(f, 8 + 48 + 24, -48));
            Assert.Equal(80, found.Depth);
            IsAt(found, Gpr.R15, -16);
            IsAt(found, Gpr.R14, -24);
            IsAt(found, Gpr.R13, -32);
            IsAt(found, Gpr.R12, -40);
            IsAt(found, Gpr.Rbp, -48);
            IsAt(found, Gpr.Rbx, -56);
            Assert.False(found[Gpr.Rbx].AlsoUnchanged);
            Assert.True(found[Gpr.R15].AlsoUnchanged);
        }
    }

    [Fact]
    public void AtTheEntryNothingIsSaved()
    {
        AssembledFunction f = Ordinary();
        RegisterLocations found = Locate(f, CodePoint.Trap(Start), new OneRow(8));
        foreach (Gpr register in KnownRegisters.CalleeSaved)
            IsUntouched(found, register);
        found = Locate(f, CodePoint.Return(f["behind fentry"]), new OneRow(8));
        IsUntouched(found, Gpr.Rbx);
    }

    [Fact]
    public void HalfwayThroughPrologueAndEpilogue()
    {
        AssembledFunction f = Ordinary();
        RegisterLocations found = Locate(f, CodePoint.Trap(f["four pushed"]), new OrcRows().At(Start, 8).At(f["four pushed"], 40));
        IsAt(found, Gpr.R12, -40);
        IsUntouched(found, Gpr.Rbp);
        IsUntouched(found, Gpr.Rbx);

        // What was popped lies below the stack pointer: an interrupt may have overwritten it.
        OrcRows rows = Rows(f, 80, -48).At(f["rbx popped"], 48, -48).At(f["ret"], 8);
        found = Locate(f, CodePoint.Trap(f["rbx popped"]), rows);
        IsUntouched(found, Gpr.Rbx);
        IsAt(found, Gpr.Rbp, -48);
        found = Locate(f, CodePoint.Trap(f["ret"]), rows);
        foreach (Gpr register in KnownRegisters.CalleeSaved)
            IsUntouched(found, register);
    }

    [Fact]
    public void ADepthThatUnwindDataContradictsIsRefused()
    {
        AssembledFunction f = Ordinary();
        Assert.Equal(DeclineReason.DepthMismatch, Refused(f, CodePoint.Trap(f["fault"]), Rows(f, 72, -48)).Reason);
        Assert.Equal(DeclineReason.FramePointerMismatch, Refused(f, CodePoint.Trap(f["fault"]), Rows(f, 80, -56)).Reason);
        Assert.Equal(DeclineReason.FramePointerMismatch, Refused(f, CodePoint.Trap(f["fault"]), Rows(f, 80)).Reason);
        Assert.Equal(DeclineReason.NotAFunctionFrame,
            Refused(f, CodePoint.Trap(f["fault"]), Rows(f, 80, -48).At(f["fault"], new OrcEntry(OrcRegister.Sp, 80, OrcRegister.Undefined, 0, OrcType.Regs, true))).Reason);
        Assert.Equal(DeclineReason.DepthMismatch, Refused(f, CodePoint.Trap(f["fault"]), new OneRow(80, -48)).Reason);
        Assert.Equal(DeclineReason.NoUnwindRow, Refused(f, CodePoint.Trap(f["fault"]), new OrcRows()).Reason);
        Assert.Equal(DeclineReason.OutsideFunction, Refused(f, CodePoint.Trap(f.Range.End), new OneRow(80, -48)).Reason);
    }

    [Fact]
    public void AnAddressInsideAnInstructionIsRefused()
    {
        AssembledFunction f = Ordinary();
        Assert.Equal(DeclineReason.Unreached, Refused(f, CodePoint.Trap(f["fault"] + 1), Rows(f, 80, -48)).Reason);
        Assert.Equal(DeclineReason.Unreached, Refused(f, CodePoint.Return(f["fault"]), Rows(f, 80, -48)).Reason);
    }

    [Fact]
    public void FramePointer()
    {
        var f = new AssembledFunction((a, at) =>
        {
            a.push(rbp);
            a.mov(rbp, rsp);
            a.push(r12);
            a.push(rbx);
            a.sub(rsp, rax);
            a.mov(r12, rsp);
            a.mov(rbx, rdi);
            at.Mark(a, "fault");
            a.mov(__qword_ptr[rax], rsi);
            a.lea(rsp, __qword_ptr[rbp - 16]);
            a.pop(rbx);
            a.pop(r12);
            a.leave();
            at.Mark(a, "ret");
            a.ret();
        });
        var row = new OrcEntry(OrcRegister.Bp, 16, OrcRegister.PrevSp, -16, OrcType.Call, false);
        RegisterLocations found = Locate(f, CodePoint.Trap(f["fault"]), new OneRow(row));
        Assert.Null(found.Depth);
        IsAt(found, Gpr.Rbp, -16);
        IsAt(found, Gpr.R12, -24);
        IsAt(found, Gpr.Rbx, -32);
        found = Locate(f, CodePoint.Trap(f["ret"]), new OneRow(8));
        IsUntouched(found, Gpr.Rbp);
        IsUntouched(found, Gpr.R12);
        IsUntouched(found, Gpr.Rbx);

        // A row that counts from RSP can't be checked where the depth varies.
        Assert.Equal(DeclineReason.DepthMismatch, Refused(f, CodePoint.Trap(f["fault"]), new OneRow(32, -16)).Reason);
    }

    [Fact]
    public void ShrinkWrappedPrologue()
    {
        var f = new AssembledFunction((a, at) =>
        {
            a.test(rdi, rdi);
            a.je(at["early"]);
            a.push(rbx);
            a.mov(rbx, rdi);
            at.Mark(a, "inside");
            a.mov(rax, __qword_ptr[rbx]);
            a.pop(rbx);
            at.Mark(a, "early");
            a.mov(rcx, __qword_ptr[rsi]);
            a.ret();
        });
        IsAt(Locate(f, CodePoint.Trap(f["inside"]), new OneRow(16)), Gpr.Rbx, -16);
        IsUntouched(Locate(f, CodePoint.Trap(f["early"]), new OneRow(8)), Gpr.Rbx);
    }

    [Fact]
    public void PathsThatDisagreeAreRefused()
    {
        // No compiler does this; a corrupted or hand-written function may.
        var f = new AssembledFunction((a, at) =>
        {
            a.test(rdi, rdi);
            a.je(at["other"]);
            a.push(rbx);
            a.push(r12);
            a.jmp(at["join"]);
            at.Mark(a, "other");
            a.push(r12);
            a.push(rbx);
            at.Mark(a, "join");
            a.xor(ebx, ebx);
            a.xor(r12d, r12d);
            at.Mark(a, "fault");
            a.mov(rcx, __qword_ptr[rsi]);
            a.add(rsp, 16);
            a.ret();
        });
        RegisterLocations found = Locate(f, CodePoint.Trap(f["fault"]), new OneRow(24));
        Assert.Equal(RegisterPlace.Lost, found[Gpr.Rbx].Place);
        Assert.Equal(RegisterPlace.Lost, found[Gpr.R12].Place);
        IsUntouched(found, Gpr.R13);

        var deep = new AssembledFunction((a, at) =>
        {
            a.test(rdi, rdi);
            a.je(at["join"]);
            a.push(rbx);
            at.Mark(a, "join");
            a.mov(rcx, __qword_ptr[rsi]);
            a.ret();
        });
        Assert.Equal(DeclineReason.DepthMismatch, Refused(deep, CodePoint.Trap(deep["join"]), new OneRow(8)).Reason);
        Assert.Equal(DeclineReason.DepthMismatch, Refused(deep, CodePoint.Trap(deep["join"]), new OneRow(16)).Reason);
    }

    [Fact]
    public void ALoopThatOverwritesTheRegisterIsNotUntouched()
    {
        var f = new AssembledFunction((a, at) =>
        {
            at.Mark(a, "loop");
            a.mov(rax, __qword_ptr[rdi]);
            a.add(rbx, 1);
            a.cmp(rax, rbx);
            a.jne(at["loop"]);
            a.ret();
        });
        Assert.Equal(RegisterPlace.Lost, Locate(f, CodePoint.Trap(f["loop"]), new OneRow(8))[Gpr.Rbx].Place);
    }

    [Fact]
    public void SavedByMovAndOverwrittenSlot()
    {
        var f = new AssembledFunction((a, at) =>
        {
            a.sub(rsp, 0x28);
            a.mov(__qword_ptr[rsp + 0x10], rbx);
            a.mov(__qword_ptr[rsp + 0x18], r12);
            a.xor(ebx, ebx);
            a.xor(r12d, r12d);
            at.Mark(a, "both");
            a.mov(rax, __qword_ptr[rdi]);
            a.mov(__dword_ptr[rsp + 0x14], eax);
            at.Mark(a, "overwritten");
            a.mov(rax, __qword_ptr[rdi]);
            a.mov(r12, __qword_ptr[rsp + 0x18]);
            at.Mark(a, "restored");
            a.add(rsp, 0x28);
            a.ret();
        });
        RegisterLocations found = Locate(f, CodePoint.Trap(f["both"]), new OneRow(0x30));
        IsAt(found, Gpr.Rbx, -0x20);
        IsAt(found, Gpr.R12, -0x18);
        found = Locate(f, CodePoint.Trap(f["overwritten"]), new OneRow(0x30));
        Assert.Equal(RegisterPlace.Lost, found[Gpr.Rbx].Place);
        IsAt(found, Gpr.R12, -0x18);
        Assert.True(Locate(f, CodePoint.Trap(f["restored"]), new OneRow(0x30))[Gpr.R12].AlsoUnchanged);
    }

    [Fact]
    public void AnIteratorOverALocalListIsNoStoreIntoASaveSlot()
    {
        // list_for_each_entry over a list head at [rsp]: the entry that the head itself would be lies 0x20 below it; its member at 0x38 would be where rbx was saved.
        var f = new AssembledFunction((a, at) =>
        {
            a.push(rbx);
            a.sub(rsp, 0x18);
            a.xor(ebx, ebx);
            a.lea(rax, __qword_ptr[rsp - 0x20]);
            at.Mark(a, "loop");
            a.mov(__dword_ptr[rax + 0x38], ecx);
            a.mov(__qword_ptr[rax + 0x38], rcx);
            a.test(rcx, rcx);
            a.jne(at["loop"]);
            at.Mark(a, "fault");
            a.mov(rcx, __qword_ptr[rsi]);
            a.add(rsp, 0x18);
            a.pop(rbx);
            a.ret();
        });
        IsAt(Locate(f, CodePoint.Trap(f["fault"]), new OneRow(0x28)), Gpr.Rbx, -16);
    }

    [Fact]
    public void CallThatNeverComesBackDoesNotSpoilTheNextBlock()
    {
        var f = new AssembledFunction((a, at) =>
        {
            a.test(rdi, rdi);
            a.je(at["plain"]);
            a.push(rbx);
            a.sub(rsp, 0x10);
            a.call(Elsewhere);
            at.Mark(a, "plain");
            a.mov(rax, __qword_ptr[rsi]);
            a.call(Elsewhere);
        });
        var rows = new OrcRows().At(Start, 8).At(f["plain"], 8);
        IsUntouched(Locate(f, CodePoint.Trap(f["plain"]), rows), Gpr.Rbx);

        // A call as the very last instruction: its return address lies outside the function.
        IsUntouched(Locate(f, CodePoint.Return(f.Range.End), rows), Gpr.Rbx);
    }

    private sealed class Hints(ulong noReturn = 0, ulong warn = 0, ulong from = 0, ulong to = 0) : IControlFlowHints
    {
        public bool IsNoReturn(ulong target) => target == noReturn;

        public bool ContinuesAfterTrap(ulong instruction) => instruction == warn;

        public IReadOnlyList<ulong> ExtraTargets(ulong instruction) => instruction == from ? [to] : [];
    }

    [Fact]
    public void WhatOnlyHintsReach()
    {
        var f = new AssembledFunction((a, at) =>
        {
            a.push(rbx);
            at.Mark(a, "warn");
            a.ud2();
            at.Mark(a, "behind warn");
            a.mov(rax, __qword_ptr[rsi]);
            a.pop(rbx);
            a.ret();
            at.Mark(a, "fixup");
            a.mov(rax, __qword_ptr[rdi]);
            a.pop(rbx);
            a.ret();
        });
        var orc = new OneRow(16);
        Assert.Equal(DeclineReason.Unreached, Refused(f, CodePoint.Trap(f["behind warn"]), orc).Reason);
        IsAt(Locate(f, CodePoint.Trap(f["warn"]), orc), Gpr.Rbx, -16);
        IsAt(Locate(f, CodePoint.Trap(f["behind warn"]), orc, new Hints(warn: f["warn"])), Gpr.Rbx, -16);
        Assert.Equal(DeclineReason.Unreached, Refused(f, CodePoint.Trap(f["fixup"]), orc, new Hints(warn: f["warn"])).Reason);
        IsAt(Locate(f, CodePoint.Trap(f["fixup"]), orc, new Hints(from: f["warn"], to: f["fixup"])), Gpr.Rbx, -16);
        var g = new AssembledFunction((a, at) =>
        {
            a.call(Elsewhere);
            at.Mark(a, "never");
            a.ret();
        });
        Locate(g, CodePoint.Trap(g["never"]), new OneRow(8));
        Assert.Equal(DeclineReason.Unreached, Refused(g, CodePoint.Trap(g["never"]), new OneRow(8), new Hints(noReturn: Elsewhere)).Reason);
    }

    [Fact]
    public void JumpTableTargetsAreRefusedTheRestIsNot()
    {
        var f = new AssembledFunction((a, at) =>
        {
            a.push(rbx);
            a.xor(ebx, ebx);
            at.Mark(a, "jump");
            a.jmp(__qword_ptr[rax * 8 + 0x1000]);
            at.Mark(a, "case");
            a.mov(rax, __qword_ptr[rsi]);
            a.pop(rbx);
            a.ret();
        });
        IsAt(Locate(f, CodePoint.Trap(f["jump"]), new OneRow(16)), Gpr.Rbx, -16);
        Assert.Equal(DeclineReason.Unreached, Refused(f, CodePoint.Trap(f["case"]), new OneRow(16)).Reason);
    }

    [Fact]
    public void ColdFragment()
    {
        const ulong ColdStart = Start + 0x2000;
        var cold = new AssembledFunction((a, at) =>
        {
            at.Mark(a, "fault");
            a.mov(rax, __qword_ptr[rbx]);
            a.jmp(Start + 7);
        }, "f.cold", ColdStart);
        var main = new AssembledFunction((a, at) =>
        {
            a.push(rbx);
            a.mov(rbx, rdi);
            a.nop(1);
            a.nop(1);
            a.nop(1);
            a.mov(rax, __qword_ptr[rsi]);
            a.je(ColdStart);
            a.pop(rbx);
            a.ret();
        });
        var code = new TwoPieces(main.Code, cold.Code);
        var orc = new OneRow(16);
        var whole = new FunctionParts(main.Range, [cold.Range]);
        Assert.True(PrologueAnalysis.TryLocate(code, whole, CodePoint.Trap(cold["fault"]), orc, null, out RegisterLocations found, out _));
        IsAt(found, Gpr.Rbx, -16);

        // The fragment alone begins in the middle of a frame.
        Assert.False(PrologueAnalysis.TryLocate(code, cold.Parts, CodePoint.Trap(cold["fault"]), orc, null, out _, out Decline why));
        Assert.Equal(DeclineReason.DepthMismatch, why.Reason);
        Assert.False(PrologueAnalysis.TryLocate(code, main.Parts, CodePoint.Trap(cold["fault"]), orc, null, out _, out why));
        Assert.Equal(DeclineReason.OutsideFunction, why.Reason);
    }

    private sealed class TwoPieces(ICodeSource one, ICodeSource two) : ICodeSource
    {
        public bool TryReadCode(ulong address, Span<byte> destination) =>
            one.TryReadCode(address, destination) || two.TryReadCode(address, destination);
    }
}
