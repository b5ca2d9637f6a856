using Panacea.Formats.Orc;
using Panacea.Kernel.Code;
using Panacea.Kernel.Tests.Code;
using Panacea.Kernel.Unwind;
using Panacea.Target;
using Panacea.TestKit.Formats;
using static Iced.Intel.AssemblerRegisters;

namespace Panacea.Kernel.Tests.Unwind;

/// <summary>outer() calls middle() calls inner(), which faults; below them what the kernel has there: a syscall's pt_regs, interrupts, other stacks.</summary>
public class OrcUnwinderTests
{
    private const ulong Text = 0xffff_ffff_8100_0000;
    private const ulong TaskStack = 0xffff_c900_0001_0000, TaskEnd = TaskStack + 0x4000;
    private const ulong IrqStack = 0xffff_c900_0010_0000, IrqEnd = IrqStack + 0x4000;
    private static readonly OrcEntry EndRow = new(OrcRegister.Undefined, 0, OrcRegister.Undefined, 0, OrcType.End, false);
    private static readonly OrcEntry RegsRow = new(OrcRegister.Sp, 0, OrcRegister.Undefined, 0, OrcType.Regs, true);

    private readonly SyntheticText _text = new();
    private readonly SyntheticStacks _stacks = new SyntheticStacks()
        .Stack(StackKind.Task, TaskStack, 0x4000).Stack(StackKind.Irq, IrqStack, 0x4000, 0);
    private readonly AssembledFunction _inner, _middle, _outer, _entry;

    public OrcUnwinderTests()
    {
        _inner = new AssembledFunction((a, at) =>
        {
            a.push(rbx);
            a.mov(rbx, rdi);
            at.Mark(a, "fault");
            a.mov(__qword_ptr[rbx], rsi);
            a.pop(rbx);
            a.ret();
        }, "inner", Text);
        _text.Add(_inner, new OrcRows().At(Text, 8).At(_inner["fault"], 16));
        _middle = new AssembledFunction((a, at) =>
        {
            a.push(rbp);
            a.mov(rbp, rsp);
            a.push(r12);
            a.sub(rsp, 0x10);
            a.xor(r12d, r12d);
            a.call(Text);
            at.Mark(a, "returns");
            a.add(rsp, 0x10);
            a.pop(r12);
            a.pop(rbp);
            a.ret();
        }, "middle", Text + 0x1000);
        var byBp = new OrcEntry(OrcRegister.Bp, 16, OrcRegister.PrevSp, -16, OrcType.Call, false);
        _text.Add(_middle, new OneRow(byBp));
        _outer = new AssembledFunction((a, at) =>
        {
            a.push(r13);
            a.push(rbx);
            a.mov(rbx, rdi);
            a.xor(r13d, r13d);
            a.call(Text + 0x1000);
            at.Mark(a, "returns");
            a.pop(rbx);
            a.pop(r13);
            a.ret();
        }, "outer", Text + 0x2000);
        _text.Add(_outer, new OneRow(24));
        _entry = new AssembledFunction((a, at) =>
        {
            a.nop();
            a.call(Text + 0x2000);
            at.Mark(a, "returns");
            a.nop();
            at.Mark(a, "end");
            a.nop();
        }, "entry_SYSCALL_64", Text + 0x3000);
        _text.Add(_entry, new OrcRows().At(Text + 0x3000, RegsRow).At(_entry["end"], EndRow));
    }

    private OrcUnwinder Unwinder(TargetLimits? limits = null) =>
        new(_text, _text, _text, _stacks.Space, _stacks, limits ?? TargetLimits.Default);

    private FrameAnalysis Analysis => new(_text, _text, _text, new GuestStack(_stacks.Space, _stacks), _text);

    private static PtRegs Regs(ulong ip, ulong sp, ushort cs = 0x10)
    {
        GprFile gpr = default;
        for (int i = 0; i < 16; i++)
            gpr[(Gpr)i] = 0x1000 + (ulong)i;
        gpr[Gpr.Rsp] = sp;
        return new PtRegs { Gpr = gpr, Ip = ip, Cs = cs, Flags = 0x246, Ss = 0x18, OrigAx = ulong.MaxValue };
    }

    /// <summary>Lays the frames of the three functions onto a stack that ends with a user's pt_regs; returns the registers at the fault.</summary>
    private PtRegs Crash(ulong end = TaskEnd)
    {
        ulong user = end - PtRegs.Size;
        _stacks.Put(user, Regs(0x401000, 0x7ffd_0000, cs: 0x33));
        ulong cfaOuter = user;
        _stacks.Put(cfaOuter - 8, _entry["returns"]);
        _stacks.Put(cfaOuter - 16, 0x13).Put(cfaOuter - 24, 0xb);
        ulong cfaMiddle = cfaOuter - 24;
        _stacks.Put(cfaMiddle - 8, _outer["returns"]).Put(cfaMiddle - 16, 0x5b5b).Put(cfaMiddle - 24, 0x12);
        ulong cfaInner = cfaMiddle - 24 - 16;
        _stacks.Put(cfaInner - 8, _middle["returns"]).Put(cfaInner - 16, 0xbb);
        return Regs(_inner["fault"], cfaInner - 16).With(Gpr.Rbp, cfaMiddle - 16).With(Gpr.Rbx, 0).With(Gpr.R12, 0).With(Gpr.R13, 0);
    }

    [Fact]
    public void FromTheFaultToUserMode()
    {
        Backtrace trace = Unwinder().Unwind(UnwindStart.From(Crash()));
        Assert.Equal(UnwindEnd.UserMode, trace.End);
        Assert.Equal(0x401000UL, trace.UserRegs!.Value.Ip);
        Assert.Equal([_inner["fault"], _middle["returns"], _outer["returns"], _entry["returns"]], trace.Frames.Select(f => f.Ip));
        Assert.All(trace.Frames, f => Assert.Equal((FrameReliability.Exact, StackKind.Task), (f.Reliability, f.Stack)));
        Assert.Equal([true, false, false, false], trace.Frames.Select(f => f.IsTrap));
        Assert.Equal(0x5b5bUL, trace.Frames[2].Bp);
        Assert.Equal(TaskEnd - PtRegs.Size, trace.Frames[2].Cfa);
        Assert.Null(trace.Frames[1].Registers[Gpr.R12]);
    }

    [Fact]
    public void RegistersOfOuterFrames()
    {
        Backtrace trace = Unwinder().Unwind(UnwindStart.From(Crash()));
        Assert.True(FrameRegisters.TryRecover(Analysis, trace.Frames, 1, out KnownRegisters registers, out _));
        Assert.Equal((0xbbUL, 0UL, 0UL), (registers[Gpr.Rbx], registers[Gpr.R12], registers[Gpr.R13]));
        Assert.True(FrameRegisters.TryRecover(Analysis, trace.Frames, 2, out registers, out _));
        Assert.Equal((0xbbUL, 0x12UL, 0UL, 0x5b5bUL), (registers[Gpr.Rbx], registers[Gpr.R12], registers[Gpr.R13], registers[Gpr.Rbp]));
        Assert.True(FrameRegisters.TryRecover(Analysis, trace.Frames, 3, out registers, out _));
        Assert.Equal((0xbUL, 0x13UL), (registers[Gpr.Rbx], registers[Gpr.R13]));
        Assert.Null(registers[Gpr.Rax]);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public void ReturningFromEachFrame(int index)
    {
        PtRegs crash = Crash();
        Backtrace trace = Unwinder().Unwind(UnwindStart.From(crash));
        Assert.True(FunctionReturn.TryCompute(Analysis, trace.Frames, index, out ReturnState state, out Decline why), why.ToString());
        Assert.Equal(trace.Frames[index + 1].Ip, state.Rip);
        Assert.Equal(trace.Frames[index + 1].Sp, state.Rsp);
        Assert.Equal(((string[])["inner", "middle", "outer"])[index], state.Function!.Value.Name);
        PtRegs after = state.Apply(crash with { Flags = 0x50f93 }, 0xdead);
        Assert.Equal((0xdeadUL, state.Rip, state.Rsp, 0x202UL), (after.Gpr[Gpr.Rax], after.Ip, after.Sp, after.Flags));
        Assert.Equal(((ulong[])[0xbb, 0xbb, 0xb])[index], after.Gpr[Gpr.Rbx]);
        Assert.Equal(((ulong[])[0, 0x12, 0x12])[index], after.Gpr[Gpr.R12]);
        Assert.Equal(((ulong[])[0, 0, 0x13])[index], after.Gpr[Gpr.R13]);
        Assert.Equal(index == 0 ? crash.Bp : 0x5b5bUL, after.Bp);
        Assert.Equal(crash.Gpr[Gpr.R15], after.Gpr[Gpr.R15]);
    }

    [Fact]
    public void WhatCannotReturn()
    {
        Backtrace trace = Unwinder().Unwind(UnwindStart.From(Crash()));
        Assert.False(FunctionReturn.TryCompute(Analysis, trace.Frames, 3, out _, out Decline why));
        Assert.Equal(DeclineReason.NoCaller, why.Reason);

        // The save slot of a register that has not been used yet no longer agrees with it.
        PtRegs crash = Crash();
        _stacks.Put(crash.Sp + 16 + 16 + 8 + 16, 0x5b5b);
        trace = Unwinder().Unwind(UnwindStart.From(crash with { Ip = _inner.Range.Start + 1 }));
        Assert.False(FunctionReturn.TryCompute(Analysis, trace.Frames, 0, out _, out why));
        Assert.NotEqual(DeclineReason.None, why.Reason);
    }

    [Fact]
    public void AReturnAddressBehindNoCallIsRefused()
    {
        PtRegs crash = Crash();
        _stacks.Put(crash.Sp + 8, _middle.Range.Start + 4);
        Backtrace trace = Unwinder().Unwind(UnwindStart.From(crash));
        Assert.False(FunctionReturn.TryCompute(Analysis, trace.Frames, 0, out _, out Decline why));
        Assert.Equal(DeclineReason.NotAReturnAddress, why.Reason);
    }

    [Theory]
    [InlineData(0UL)]
    [InlineData(0x1234UL)]
    [InlineData(0xffff_8880_0000_1000UL)]
    public void CallThroughABadPointer(ulong ip)
    {
        PtRegs crash = Crash();
        PtRegs called = crash.With(Gpr.Rsp, crash.Sp + 8).With(Gpr.Rbx, 0xbb) with { Ip = ip };
        Backtrace trace = Unwinder().Unwind(UnwindStart.From(called));
        Assert.Equal(UnwindEnd.UserMode, trace.End);
        Assert.Equal([ip, _middle["returns"], _outer["returns"], _entry["returns"]], trace.Frames.Select(f => f.Ip));
        Assert.True(FunctionReturn.TryCompute(Analysis, trace.Frames, 0, out ReturnState state, out Decline why), why.ToString());
        Assert.Equal((_middle["returns"], crash.Sp + 16, 0xbbUL), (state.Rip, state.Rsp, state.CalleeSaved[Gpr.Rbx]));
        Assert.True(FunctionReturn.TryCompute(Analysis, trace.Frames, 1, out state, out why), why.ToString());
        Assert.Equal(0x12UL, state.CalleeSaved[Gpr.R12]);
    }

    [Fact]
    public void ABadPointerWithoutAReturnAddressEndsTheExactPart()
    {
        PtRegs crash = Crash();
        PtRegs jumped = crash with { Ip = 0x1234 };
        Backtrace trace = Unwinder().Unwind(UnwindStart.From(jumped));
        Assert.Equal((UnwindEnd.NotText, 0x1234UL), (trace.End, trace.EndAddress));
        Assert.Equal(FrameReliability.Exact, trace.Frames[0].Reliability);
        Assert.All(trace.Frames.Skip(1), f => Assert.Equal(FrameReliability.Guess, f.Reliability));

        // RBP is not known to a guess, so middle's row can't be followed; every return address is still listed.
        Assert.Equal([_middle["returns"], _outer["returns"], _entry["returns"]], trace.Frames.Skip(1).Select(f => f.Ip));
        Assert.False(FunctionReturn.TryCompute(Analysis, trace.Frames, 0, out _, out Decline why));
        Assert.Equal(DeclineReason.NotExact, why.Reason);
    }

    [Fact]
    public void InterruptOverTheTaskStack()
    {
        // The fault happens in an interrupt, on the IRQ stack, whose entry code left the task's pt_regs on the task stack and a pointer to it below.
        PtRegs interrupted = Crash();
        ulong regsAt = interrupted.Sp - PtRegs.Size;
        _stacks.Put(regsAt, interrupted);
        var irqEntry = new AssembledFunction((a, at) =>
        {
            a.nop();
            a.call(Text + 0x2000);
            at.Mark(a, "returns");
            a.nop();
        }, "asm_common_interrupt", Text + 0x4000);
        _text.Add(irqEntry, new OneRow(RegsRow));
        var switcher = new AssembledFunction((a, at) =>
        {
            a.nop();
            a.call(Text);
            at.Mark(a, "returns");
            a.ret();
        }, "common_interrupt", Text + 0x5000);
        _text.Add(switcher, new OneRow(new OrcEntry(OrcRegister.SpIndirect, 8, OrcRegister.Undefined, 0, OrcType.Call, false)));
        _stacks.Put(regsAt - 8, irqEntry["returns"]);
        _stacks.Put(IrqEnd - 8, regsAt - 8);
        _stacks.Put(IrqEnd - 16, switcher["returns"]).Put(IrqEnd - 24, 0x77);
        PtRegs crash = Regs(_inner["fault"], IrqEnd - 24);
        Backtrace trace = Unwinder().Unwind(UnwindStart.From(crash));
        Assert.Equal(UnwindEnd.UserMode, trace.End);
        Assert.Equal(
            [_inner["fault"], switcher["returns"], irqEntry["returns"], _inner["fault"], _middle["returns"], _outer["returns"], _entry["returns"]],
            trace.Frames.Select(f => f.Ip));
        Assert.Equal([StackKind.Irq, StackKind.Irq, StackKind.Task, StackKind.Task], trace.Frames.Take(4).Select(f => f.Stack));
        Assert.Equal(interrupted, trace.Frames[3].Regs);
        Assert.Equal(regsAt, trace.Frames[3].RegsAddress);
        Assert.True(trace.Frames[3].IsTrap);

        // Registers of the interrupted context come from its pt_regs, whatever lies inside it.
        Assert.True(FrameRegisters.TryRecover(Analysis, trace.Frames, 3, out KnownRegisters registers, out _));
        Assert.True(registers.IsComplete);
        Assert.True(FunctionReturn.TryCompute(Analysis, trace.Frames, 3, out ReturnState state, out _));
        Assert.Equal(0xbbUL, state.CalleeSaved[Gpr.Rbx]);

        // The interrupt's entry code has no caller.
        Assert.False(FunctionReturn.TryCompute(Analysis, trace.Frames, 2, out _, out Decline why));
        Assert.Equal(DeclineReason.NoCaller, why.Reason);
    }

    [Fact]
    public void PartialRegs()
    {
        PtRegs interrupted = Crash();
        ulong regsAt = interrupted.Sp - PtRegs.Size;
        _stacks.Put(regsAt, interrupted);
        var early = new AssembledFunction((a, at) =>
        {
            at.Mark(a, "nmi");
            a.nop();
        }, "asm_exc_int3", Text + 0x4000);
        _text.Add(early, new OneRow(new OrcEntry(OrcRegister.Sp, 0, OrcRegister.Undefined, 0, OrcType.RegsPartial, true)));
        PtRegs nmi = Regs(early["nmi"], regsAt + PtRegs.IretFrameOffset).With(Gpr.Rbp, interrupted.Bp);
        Backtrace trace = Unwinder().Unwind(UnwindStart.From(nmi));
        Assert.Equal(UnwindEnd.UserMode, trace.End);
        Assert.Equal([early["nmi"], _inner["fault"], _middle["returns"]], trace.Frames.Take(3).Select(f => f.Ip));
        Assert.Null(trace.Frames[1].Regs);
        Assert.Null(trace.Frames[1].Registers[Gpr.R12]);
        Assert.True(trace.Frames[1].IsTrap);
    }

    [Fact]
    public void KernelThreadEnds()
    {
        var kthread = new AssembledFunction((a, at) =>
        {
            a.nop();
            a.call(Text);
            at.Mark(a, "returns");
            a.ud2();
        }, "ret_from_fork_asm", Text + 0x4000);
        _text.Add(kthread, new OneRow(EndRow));
        _stacks.Put(TaskEnd - 8, kthread["returns"]).Put(TaskEnd - 16, 0);
        Backtrace trace = Unwinder().Unwind(UnwindStart.From(Regs(_inner["fault"], TaskEnd - 16)));
        Assert.Equal((UnwindEnd.Complete, 2), (trace.End, trace.Frames.Count));
        Assert.True(trace.IsComplete);
    }

    /// <summary>As __crash_kexec(), where a CPU that panics saves its registers.</summary>
    [Fact]
    public void AFunctionWithoutRowsIsLeftByTheCallOfIt()
    {
        var saves = new AssembledFunction((a, at) =>
        {
            a.sub(rsp, 0xb0);
            at.Mark(a, "saved");
            a.nop();
        }, "__crash_kexec", Text + 0x5000);
        _text.Add(saves, new OneRow(SyntheticOrc.Gap));
        var caller = new AssembledFunction((a, at) =>
        {
            a.nop();
            a.call(Text + 0x5000);
            at.Mark(a, "returns");
            a.ud2();
        }, "panic", Text + 0x4000);
        _text.Add(caller, new OneRow(EndRow));
        ulong sp = TaskEnd - 0x200;

        // What is behind a call of another function was left there by that.
        _stacks.Put(sp + 0x40, _outer["returns"]).Put(sp + 0xb0, caller["returns"]);
        Backtrace trace = Unwinder().Unwind(UnwindStart.From(Regs(saves["saved"], sp)));
        Assert.Equal(UnwindEnd.Complete, trace.End);
        Assert.Equal([saves["saved"], caller["returns"]], trace.Frames.Select(f => f.Ip));
        Assert.All(trace.Frames, f => Assert.Equal(FrameReliability.Exact, f.Reliability));
        Assert.Equal((sp + 0xb8, null, 0x1005UL), (trace.Frames[1].Sp, trace.Frames[1].Registers[Gpr.Rbx], trace.Frames[1].Bp));

        // Without such a word there is no way on.
        _stacks.Put(sp + 0xb0, 0);
        Assert.Equal(UnwindEnd.Undefined, Unwinder().Unwind(UnwindStart.From(Regs(saves["saved"], sp))).End);
    }

    [Fact]
    public void TracersTrampolineIsNamed()
    {
        PtRegs crash = Crash();
        var handler = new AssembledFunction((a, at) => a.nop(), "return_to_handler", Text + 0x4000);
        _text.Add(handler, new OneRow(8));
        _text.Trampolines[handler.Range.Start] = "return_to_handler";
        _stacks.Put(crash.Sp + 8, handler.Range.Start);
        Backtrace trace = Unwinder().Unwind(UnwindStart.From(crash));
        Assert.Equal((UnwindEnd.Trampoline, "return_to_handler"), (trace.End, trace.Detail));
        Assert.Equal([_outer["returns"], _entry["returns"]], trace.Frames.Skip(2).Select(f => f.Ip));
        Assert.Equal(UnwindEnd.Trampoline, trace.End);
        Assert.False(FunctionReturn.TryCompute(Analysis, trace.Frames, 0, out _, out Decline why));
        Assert.Equal(DeclineReason.Trampoline, why.Reason);
    }

    [Fact]
    public void ScanPrefersAWholeUnwind()
    {
        // Nothing is known of the function that faulted, but outer() below it can be followed to the end.
        PtRegs crash = Crash();
        var asm = new AssembledFunction((a, at) => a.nop(), "no_rows", Text + 0x4000);
        _text.Add(asm, new OrcRows());
        Backtrace trace = Unwinder().Unwind(UnwindStart.From(crash.With(Gpr.Rsp, crash.Sp + 16) with { Ip = asm.Range.Start }));
        Assert.Equal(UnwindEnd.NoUnwindRow, trace.End);
        Assert.Equal([asm.Range.Start, _outer["returns"], _entry["returns"]], trace.Frames.Select(f => f.Ip));
        Assert.Equal([0, 1, 2], trace.Frames.Select(f => f.Index));
        Assert.Equal(trace.Frames[2].Sp, trace.Frames[1].Cfa);
        Assert.Equal(FrameReliability.Guess, trace.Frames[1].Reliability);
    }

    [Fact]
    public void HostileStacksEndTyped()
    {
        // A frame pointer that points at itself.
        PtRegs crash = Crash();
        ulong bp = crash.Bp;
        _stacks.Put(bp, bp).Put(bp + 8, _middle["returns"]);
        Backtrace trace = Unwinder().Unwind(UnwindStart.From(crash));
        Assert.Equal(UnwindEnd.Loop, trace.End);

        Assert.Equal(UnwindEnd.OffStack, Unwinder().Unwind(UnwindStart.From(crash.With(Gpr.Rsp, 0x1000))).End);
        Assert.Equal(UnwindEnd.OffStack, Unwinder().Unwind(UnwindStart.From(crash.With(Gpr.Rsp, ulong.MaxValue - 3))).End);
        Assert.Equal(UnwindEnd.OffStack, Unwinder().Unwind(UnwindStart.From(crash.With(Gpr.Rsp, TaskEnd - 8))).End);
        _stacks.Unmapped(StackKind.Nmi, 0xffff_c900_0100_0000, 0x1000);
        Assert.Equal(UnwindEnd.Unreadable, Unwinder().Unwind(UnwindStart.From(crash.With(Gpr.Rsp, 0xffff_c900_0100_0100))).End);
        Assert.Equal(UnwindEnd.NotText, Unwinder().Unwind(UnwindStart.From(crash.With(Gpr.Rsp, 0x1000) with { Ip = 0 })).End);

        // A recursion of the same frame up to the whole stack.
        for (ulong at = TaskStack; at < TaskEnd; at += 8)
            _stacks.Put(at, _outer["returns"]);
        trace = Unwinder(TargetLimits.Default with { MaxStackFrames = 20 }).Unwind(UnwindStart.From(Regs(_outer["returns"], TaskStack)));
        Assert.Equal((UnwindEnd.TooManyFrames, 20), (trace.End, trace.Frames.Count));
        var random = new Random(3);
        for (int round = 0; round < 200; round++)
        {
            for (int i = 0; i < 64; i++)
            {
                ulong value = random.Next(4) switch
                {
                    0 => _outer["returns"],
                    1 => TaskStack + (ulong)random.Next(0x4000),
                    2 => IrqStack + (ulong)random.Next(0x4000),
                    _ => (ulong)random.NextInt64(),
                };
                _stacks.Put(TaskStack + ((ulong)random.Next(0x800) * 8), value);
            }

            PtRegs regs = Regs(_outer["returns"], TaskStack + (ulong)random.Next(0x4000)).With(Gpr.Rbp, TaskStack + (ulong)random.Next(0x4000));
            trace = Unwinder().Unwind(UnwindStart.From(regs));
            Assert.InRange(trace.Frames.Count, 1, TargetLimits.Default.MaxStackFrames);
            for (int i = 0; i < trace.Frames.Count; i++)
                FunctionReturn.TryCompute(Analysis, trace.Frames, i, out _, out _);
        }
    }

    [Fact]
    public void BackAndForthBetweenStacksIsALoop()
    {
        PtRegs crash = Crash();
        var entry = new AssembledFunction((a, at) => a.nop(), "asm_exc_nmi", Text + 0x4000);
        _text.Add(entry, new OneRow(RegsRow));
        _stacks.Put(TaskStack + 0x100, Regs(entry.Range.Start, IrqStack + 0x100));
        _stacks.Put(IrqStack + 0x100, Regs(entry.Range.Start, TaskStack + 0x100));
        Backtrace trace = Unwinder().Unwind(UnwindStart.From(crash.With(Gpr.Rsp, TaskStack + 0x100) with { Ip = entry.Range.Start }));
        Assert.Equal(UnwindEnd.Loop, trace.End);
        Assert.Equal(2, trace.Frames.Count(f => f.Reliability == FrameReliability.Exact));
    }
}
