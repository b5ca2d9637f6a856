using Panacea.Kernel.Code;
using Panacea.Target;
using static Iced.Intel.AssemblerRegisters;
using static Panacea.Kernel.Tests.Code.AssembledFunction;

namespace Panacea.Kernel.Tests.Code;

public sealed class AnalysedCodeTests
{
    private static AssembledFunction Function() => new((a, at) =>
    {
        a.push(rbx);
        a.mov(rbx, rdi);
        at.Mark(a, "fault");
        a.mov(__qword_ptr[rbx], rsi);
        a.call(Start + 0x1000);
        at.Mark(a, "returns");
        a.pop(rbx);
        a.ret();
    });

    [Fact]
    public void A_function_is_decoded_and_walked_once()
    {
        AssembledFunction f = Function();
        var code = new AnalysedCode(f.Code);
        var orc = new OneRow(16);
        for (int i = 0; i < 3; i++)
        {
            foreach (CodePoint point in (CodePoint[])[CodePoint.Trap(f["fault"]), CodePoint.Return(f["returns"])])
            {
                Assert.True(PrologueAnalysis.TryLocate(code, f.Parts, point, orc, null, out RegisterLocations kept, out _));
                Assert.True(PrologueAnalysis.TryLocate(f.Code, f.Parts, point, orc, null, out RegisterLocations anew, out _));
                Assert.Equal((anew.Depth, anew[Gpr.Rbx], anew.Instruction), (kept.Depth, kept[Gpr.Rbx], kept.Instruction));
            }

            Assert.True(CallSites.TryFindCallBefore(code, f.Parts, f["returns"], out CallSite call));
            Assert.Equal(Start + 0x1000, call.Target);
            Assert.True(CallSites.TryFind(code, f.Parts, Start, CodePoint.Trap(f["fault"]), null, out _, out _));
        }

        Assert.Equal((1, 1), (code.Decoded, code.Walked));
    }

    /// <summary>Ways to a place are kept with what has been decoded, and count with it.</summary>
    [Fact]
    public void Ways_to_a_place_are_found_once()
    {
        AssembledFunction f = Function();
        var code = new AnalysedCode(f.Code);
        HashSet<ulong> ways = AnalysedCode.WaysTo(code, f.Parts, CodePoint.Trap(f["fault"]), null)!;
        Assert.Same(ways, AnalysedCode.WaysTo(code, f.Parts, CodePoint.Trap(f["fault"]), null));
        Assert.NotSame(ways, AnalysedCode.WaysTo(code, f.Parts, CodePoint.Return(f["returns"]), null));
        Assert.Equal(ways, AnalysedCode.WaysTo(f.Code, f.Parts, CodePoint.Trap(f["fault"]), null));
        Assert.Contains(Start, ways);
        Assert.DoesNotContain(f["returns"], ways);
        Assert.True(code.Instructions > ways.Count);
    }

    /// <summary>What is known of control flow, of unwinding and of a function's parts makes the answer: with other ones, it is another question.</summary>
    [Fact]
    public void Another_question_is_answered_anew()
    {
        AssembledFunction f = Function();
        var code = new AnalysedCode(f.Code);
        Assert.True(PrologueAnalysis.TryLocate(code, f.Parts, CodePoint.Return(f["returns"]), new OneRow(16), null, out _, out _));
        Assert.False(PrologueAnalysis.TryLocate(code, f.Parts, CodePoint.Return(f["returns"]), new OneRow(24), null, out _, out Decline why));
        Assert.Equal(DeclineReason.DepthMismatch, why.Reason);
        Assert.Equal((1, 2), (code.Decoded, code.Walked));

        // Behind a call that does not come back nothing is reached.
        Assert.False(CallSites.TryFind(code, f.Parts, Start, CodePoint.Trap(f["returns"]), new Ends(), out _, out why));
        Assert.Equal(DeclineReason.Unreached, why.Reason);
        Assert.True(CallSites.TryFind(code, f.Parts, Start, CodePoint.Trap(f["returns"]), null, out _, out _));
        var shorter = new FunctionParts(f.Range with { End = f["returns"] });
        Assert.False(CallSites.TryFind(code, shorter, Start, CodePoint.Trap(f["returns"]), null, out _, out _));
        Assert.Equal(3, code.Decoded);
    }

    [Fact]
    public void What_fails_fails_again()
    {
        var code = new AnalysedCode(new CodeBytes(Start, new byte[] { 0x06 }));
        var parts = new FunctionParts(new FunctionRange(Start, Start + 1, "bad"));
        for (int i = 0; i < 2; i++)
        {
            Assert.False(PrologueAnalysis.TryLocate(code, parts, CodePoint.Trap(Start), new OneRow(8), null, out _, out Decline why));
            Assert.NotEqual(DeclineReason.None, why.Reason);
        }
    }

    /// <summary>Beyond the bound nothing is kept, and everything is answered.</summary>
    [Fact]
    public void What_is_kept_is_bounded()
    {
        const int Each = 50_000;
        byte[] nops = new byte[(Each * 6) + 1];
        nops.AsSpan().Fill(0x90);
        nops[^1] = 0xc3;
        var code = new AnalysedCode(new CodeBytes(Start, nops));
        for (int round = 0; round < 2; round++)
        {
            for (ulong i = 0; i < 6; i++)
            {
                ulong start = Start + (i * Each);
                Assert.True(CallSites.TryFind(code, new FunctionParts(new FunctionRange(start, start + Each, "f")), start, CodePoint.Trap(start + 10), null, out _, out _));
            }
        }

        Assert.Equal(6 + 6 - (AnalysedCode.MaxInstructions / Each), code.Decoded);
    }

    private sealed class Ends : IControlFlowHints
    {
        public bool IsNoReturn(ulong target) => target == Start + 0x1000;

        public bool ContinuesAfterTrap(ulong instruction) => false;

        public IReadOnlyList<ulong> ExtraTargets(ulong instruction) => [];
    }
}
