using Panacea.Sessions.Policy;

namespace Panacea.Sessions.Tests;

/// <summary>What is fuzzed of the sessions: policy files.</summary>
public static class FuzzTargets
{
    private static readonly GuardOptions Usual = new() { ImageCache = "/c" };

    /// <summary>Whatever the bytes are, there is a policy that guards any VM within its bounds, or there are mistakes, each a sentence with a place within the file.</summary>
    public static void Policy(ReadOnlySpan<byte> data)
    {
        PolicyReading reading = PolicyFile.Read("fuzz.yaml", data);
        int most = data.Length + 2;
        Assert.True(reading.Policy is null == reading.Mistakes.Count > 0);
        Assert.True(reading.Mistakes.Count <= 101);
        Assert.All(reading.Mistakes, m => Assert.True(m.Sentence.Length is > 0 and < 2000 && m.Line >= 0 && m.Line <= most && m.Column >= 0, m.ToString()));
        if (reading.Policy is not { } policy)
            return;
        foreach (string vm in (string[])["qmp:/run/vms/bank.qmp", "pid:1", ""])
        {
            GuardOptions options = policy.OptionsFor(vm, PolicySettings.None, Usual);
            Assert.InRange(options.HealthWindow, PolicyLimits.HealthWindow.Least, PolicyLimits.HealthWindow.Most);
            Assert.InRange(options.StopBudget, PolicyLimits.StopBudget.Least, PolicyLimits.StopBudget.Most);
            Assert.InRange(options.RepairLimitWindow, PolicyLimits.RepairLimitWindow.Least, PolicyLimits.RepairLimitWindow.Most);
            Assert.InRange(options.Hangs.After, PolicyLimits.HangsAfter.Least, PolicyLimits.HangsAfter.Most);
            Assert.InRange(options.RepairLimit, 0, PolicyLimits.MaxRepairLimit);
            Assert.True(options.Mode == GuardMode.Observe || options.Rungs is null || options.Rungs.Any(r => GuardPolicy.Allows(options.Mode, r)));
            Assert.True(options.Fallback.DumpDirectory is null or ['/', ..]);
        }
    }
}
