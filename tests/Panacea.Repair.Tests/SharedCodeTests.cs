using Panacea.Diagnosis;
using Panacea.Kernel.Code;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Repair.Tests;

/// <summary>The pristine code of a kernel does not change: what was found out about it at one crash serves the next, whose guest stands still meanwhile.</summary>
public sealed class SharedCodeTests
{
    [Fact]
    public void Code_is_decoded_at_the_first_of_the_crashes()
    {
        using var g = new CrashedGuest(new CrashSpec());
        var capture = new CrashCapture(g.Image, TargetLimits.Default);
        CrashEvidence first = Crash(), second;
        AnalysedCode code = Assert.IsType<AnalysedCode>(first.Analysis.Code);
        RepairPlan plan = Planned(first);
        (int decoded, int walked, int instructions) = (code.Decoded, code.Walked, code.Instructions);
        Assert.True(decoded > 0 && walked > 0 && instructions > 0);
        second = Crash();
        Assert.NotSame(first, second);
        Assert.Same(code, second.Analysis.Code);
        Assert.Equal(plan.Explanation, Planned(second).Explanation);
        Assert.Equal((decoded, walked, instructions), (code.Decoded, code.Walked, code.Instructions));

        // Another image has code of its own.
        Assert.NotSame(code, g.Evidence.Analysis.Code);

        CrashEvidence Crash() => capture.Capture(g.Guest.Memory, g.Crash.Vcpu, g.Point);
        static RepairPlan Planned(CrashEvidence evidence) => Ladder.Choose(evidence, (_, _) => null, out _)!;
    }
}
