using Panacea.Diagnosis.KnownIssues;

namespace Panacea.Diagnosis.Tests.KnownIssues;

/// <summary>The fuzz target of rules files.</summary>
public static class RulesFuzz
{
    /// <summary>Whatever the bytes are, there are rules that can be held against a crash, or there is one sentence.</summary>
    public static void Rules(ReadOnlySpan<byte> data)
    {
        var rules = new List<KnownIssueRule>();
        try
        {
            RulesFile.Read("fuzz.yaml", data, rules);
        }
        catch (RulesFileException e)
        {
            Assert.StartsWith("fuzz.yaml", e.Message);
            return;
        }

        _ = new KnownIssueMatcher(rules).Find(MatcherTests.Crash, null, []);
    }
}
