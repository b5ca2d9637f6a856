using Iced.Intel;
using Panacea.Formats.Orc;
using Panacea.Kernel.Code;
using Panacea.Target;
using static Iced.Intel.AssemblerRegisters;
using static Panacea.Kernel.Tests.Code.AssembledFunction;

namespace Panacea.Kernel.Tests.Code;

/// <summary>Frames that are rare, and text that is hostile.</summary>
public partial class PrologueAnalysisTests
{
    /// <summary>gcc's dynamic realignment: the argument pointer in r10, spilled below the saved rbp.</summary>
    private static AssembledFunction Realigned() => new((a, at) =>
    {
        a.lea(r10, __qword_ptr[rsp + 8]);
        a.and(rsp, -32);
        a.push(__qword_ptr[r10 - 8]);
        a.push(rbp);
        a.mov(rbp, rsp);
        a.push(r12);
        at.Mark(a, "r10");
        a.push(r10);
        a.push(rbx);
        a.sub(rsp, 0x48);
        a.mov(rbx, rdi);
        a.xor(r12d, r12d);
        at.Mark(a, "fault");
        a.mov(__qword_ptr[rbx], rsi);
        a.call(Elsewhere);
        at.Mark(a, "returns");
        a.add(rsp, 0x48);
        a.pop(rbx);
        a.pop(r10);
        a.pop(r12);
        a.pop(rbp);
        a.lea(rsp, __qword_ptr[r10 - 8]);
        at.Mark(a, "ret");
        a.ret();
    });

    /// <summary>A loop that ends in a call, and is begun by a jump to behind it: the second time around a saved register holds something else.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_register_that_a_loop_changes_before_a_call_is_not_taken_for_unchanged(bool isChanged)
    {
        var f = new AssembledFunction((a, at) =>
        {
            Label top = a.CreateLabel(), again = a.CreateLabel();
            a.push(rbp);
            a.push(rbx);
            a.mov(rbx, rdi);
            a.jmp(top);
            a.Label(ref again);
            if (isChanged)
                a.lea(rbp, __qword_ptr[rbx + 0x40]);
            a.call(Elsewhere);
            a.Label(ref top);
            a.nop();
            at.Mark(a, "fault");
            a.mov(rax, __qword_ptr[rbx]);
            a.test(rax, rax);
            a.jne(again);
            a.pop(rbx);
            a.pop(rbp);
            a.ret();
        });
        RegisterLocations found = Locate(f, CodePoint.Trap(f["fault"]), new OrcRows().At(Start, 8).At(f["fault"] - 1, 24, -16));
        IsAt(found, Gpr.Rbp, -16);
        Assert.Equal(!isChanged, found[Gpr.Rbp].AlsoUnchanged);
        Assert.Equal(Gpr.Rbx, found.Arguments[0].Holder);
    }

    [Fact]
    public void RealignedStack()
    {
        AssembledFunction f = Realigned();
        var row = new OrcEntry(OrcRegister.BpIndirect, -16, OrcRegister.Bp, 0, OrcType.Call, false);
        var indirect = new OneRow(row);
        foreach (CodePoint point in (CodePoint[])[CodePoint.Trap(f["fault"]), CodePoint.Return(f["returns"])])
        {
            RegisterLocations found = Locate(f, point, indirect);
            Assert.Null(found.Depth);
            Assert.Contains(new BaseRule(Gpr.Rbp, -16, Indirect: true), found.Cfa);
            Assert.Equal((FrameBase.Aligned, -16), (found[Gpr.Rbp].Base, found[Gpr.Rbp].Offset));
            Assert.Equal((FrameBase.Aligned, -24), (found[Gpr.R12].Base, found[Gpr.R12].Offset));
            Assert.Equal((FrameBase.Aligned, -40), (found[Gpr.Rbx].Base, found[Gpr.Rbx].Offset));
            IsUntouched(found, Gpr.R13);
        }

        var r10 = new OneRow(new OrcEntry(OrcRegister.R10, 0, OrcRegister.Bp, 0, OrcType.Call, false));
        Locate(f, CodePoint.Trap(f["r10"]), r10);
        RegisterLocations atRet = Locate(f, CodePoint.Trap(f["ret"]), new OrcRows().At(Start, row).At(f["ret"], 8));
        IsUntouched(atRet, Gpr.Rbx);
        IsUntouched(atRet, Gpr.Rbp);
        Assert.Equal(DeclineReason.DepthMismatch, Refused(f, CodePoint.Trap(f["fault"]), new OneRow(0x80)).Reason);
    }

    [Fact]
    public void ReturnStackFillingForgetsEverything()
    {
        var f = new AssembledFunction((a, at) =>
        {
            a.push(rbx);
            a.call(at["inner"]);
            a.int3();
            at.Mark(a, "inner");
            a.add(rsp, 8);
            at.Mark(a, "fault");
            a.mov(rax, __qword_ptr[rsi]);
            a.pop(rbx);
            a.ret();
        });
        Assert.Equal(DeclineReason.DepthMismatch, Refused(f, CodePoint.Trap(f["fault"]), new OneRow(16)).Reason);
    }

    [Fact]
    public void HostileTextEndsTyped()
    {
        // Unreadable, undecodable, endless, and a function that claims the whole address space.
        var nothing = new CodeBytes(Start, ReadOnlyMemory<byte>.Empty);
        var function = new FunctionParts(new FunctionRange(Start, Start + 64, "f"));
        Assert.False(PrologueAnalysis.TryLocate(nothing, function, CodePoint.Trap(Start + 1), new OneRow(8), null, out _, out Decline why));
        Assert.Equal(DeclineReason.TextUnreadable, why.Reason);
        var bad = new CodeBytes(Start, Enumerable.Repeat((byte)0x06, 64).ToArray());
        Assert.False(PrologueAnalysis.TryLocate(bad, function, CodePoint.Trap(Start + 1), new OneRow(8), null, out _, out why));
        Assert.Equal(DeclineReason.Undecodable, why.Reason);
        var endless = new CodeBytes(Start, Enumerable.Repeat((byte)0x50, 1 << 20).ToArray());
        var large = new FunctionParts(new FunctionRange(Start, ulong.MaxValue, "f"));
        Assert.False(PrologueAnalysis.TryLocate(endless, large, CodePoint.Trap(Start + 1), new OneRow(8), null, out _, out why));
        Assert.Equal(DeclineReason.TooLarge, why.Reason);
        var inverted = new FunctionParts(new FunctionRange(Start + 64, Start, "f"));
        Assert.False(PrologueAnalysis.TryLocate(endless, inverted, CodePoint.Trap(Start + 1), new OneRow(8), null, out _, out why));
        Assert.Equal(DeclineReason.OutsideFunction, why.Reason);
        var random = new Random(7);
        for (int i = 0; i < 500; i++)
        {
            byte[] bytes = new byte[256];
            random.NextBytes(bytes);
            var noise = new FunctionParts(new FunctionRange(Start, Start + 256, "f"));
            var at = new CodePoint(Start + (ulong)random.Next(256), random.Next(2) == 0);
            PrologueAnalysis.TryLocate(new CodeBytes(Start, bytes), noise, at, new OneRow((short)random.Next(-64, 64)), null, out _, out _);
        }
    }
}
