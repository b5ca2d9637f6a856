using System.Text;
using Panacea.Diagnosis.KnownIssues;
using Panacea.Kernel.Code;
using Panacea.TestKit;

namespace Panacea.Diagnosis.Tests.KnownIssues;

/// <summary>Rules files: what they say, and the one sentence for each mistake.</summary>
public sealed class RulesFileTests
{
    [Fact]
    public void The_example_of_the_documentation_is_a_rules_file()
    {
        IReadOnlyList<KnownIssueRule> rules = RulesFile.Read([Path.Combine(JsonSchema.Docs, "known-issues.example.yaml")]);
        Assert.Equal(["crashtest-null-call", "crashtest-write", "null-after-list-del", "blocked-for-long"], rules.Select(r => r.Id));
        Assert.Equal([CrashKind.NullCall], rules[0].Match.Kinds);
        Assert.Equal("Nothing to do: this is what \"echo null-call > /proc/crashtest\" is for. On a machine that matters, unload the module: rmmod crashtest.", rules[0].Notes);
        Assert.Equal(4, rules[1].Match.Stack.Count);
        Assert.Equal([AddressClass.ListPoison1, AddressClass.ListPoison2], rules[2].Match.Addresses);
        Assert.EndsWith("known-issues.example.yaml:5", rules[0].Place);
    }

    [Fact]
    public void The_example_within_the_documentation_is_one_too()
    {
        string text = File.ReadAllText(Path.Combine(JsonSchema.Docs, "known-issues.md"));
        int start = text.IndexOf("```yaml\n", StringComparison.Ordinal) + 8;
        KnownIssueRule rule = Assert.Single(Read(text[start..text.IndexOf("```", start, StringComparison.Ordinal)]));
        Assert.Equal(["6.1.120", "6.12.8"], rule.FixedIn.Select(v => v.ToString()));
        Assert.Equal(["0123456789ab"], rule.Fixes);
    }

    [Theory]
    [InlineData("", "rules.yaml:1: the file is empty; it has to have a list 'rules'")]
    [InlineData("- a", "rules.yaml:1: the file has to be a mapping with a list 'rules'")]
    [InlineData("rule: []", "rules.yaml:1: 'rule' is no member of the file; known are rules")]
    [InlineData("rules: 5", "rules.yaml:1: 'rules' has to be a list, each rule after a dash")]
    [InlineData("rules:\n  - id: a\n    match: {kind: bug}", "rules.yaml:2: the rule that begins here has no 'title'")]
    [InlineData("rules:\n  - id: a\n    title: t", "rules.yaml:2: the rule 'a' has no 'match'")]
    [InlineData("rules:\n  - id: a b\n    title: t\n    match: {kind: bug}", "rules.yaml:2: an id has up to 100 letters, digits, dots, hyphens and underscores")]
    [InlineData("rules:\n  - id: a\n    title: t\n    match: {kind: bug}\n  - id: a\n    title: t\n    match: {kind: bug}", "rules.yaml:5: the id 'a' is taken by the rule at rules.yaml:2")]
    [InlineData("rules:\n  - id: a\n    title: t\n    title: u\n    match: {kind: bug}", "rules.yaml:4: 'title' is given twice")]
    [InlineData("rules:\n  - id: a\n    title: t\n    match:\n      kind: bugg", "rules.yaml:5: 'bugg' is no kind of crash; known are unknown, null-read,")]
    [InlineData("rules:\n  - id: a\n    title: t\n    match:\n      funtion: f", "rules.yaml:5: 'funtion' is no member of match; known are kind, bucket, function,")]
    [InlineData("rules:\n  - id: a\n    title: t\n    match:\n      module: m\n      kernel: 6.1", "rules.yaml:5: 'match' needs at least one of kind, bucket, function,")]
    [InlineData("rules:\n  - id: a\n    title: t\n    match: {}", "rules.yaml:4: 'match' needs at least one of kind,")]
    [InlineData("rules:\n  - id: a\n    title: t\n    match:\n      function: /a(b/", "rules.yaml:5: the function '/a(b/' is no regular expression (InsufficientClosingParentheses, at character 4)")]
    [InlineData("rules:\n  - id: a\n    title: t\n    match:\n      text: /(a)\\1/", "rules.yaml:5: the text '/(a)\\1/' is a regular expression with back references,")]
    [InlineData("rules:\n  - id: a\n    title: t\n    match:\n      text: /(((a{999}){999}){999}){999}/", "rules.yaml:5: the text '/(((a{999}){999}){999}){999}/' is a regular expression with")]
    [InlineData("rules:\n  - id: a\n    title: t\n    match:\n      kind: bug\n      kernel: \"> 6.1\"", "rules.yaml:6: the kernel '> 6.1': ")]
    [InlineData("rules:\n  - id: a\n    title: t\n    match:\n      kind: bug\n      taint: yes", "rules.yaml:6: 'yes' is no taint; write one letter")]
    [InlineData("rules:\n  - id: a\n    title: t\n    match:\n      bucket: 123", "rules.yaml:5: '123' is no bucket: those have 16 hexadecimal digits")]
    [InlineData("rules:\n  - id: a\n    title: t\n    match:\n      address: nul", "rules.yaml:5: 'nul' is no class of addresses; known are wild, null,")]
    [InlineData("rules:\n  - id: a\n    title: t\n    url: javascript:alert(1)\n    match: {kind: bug}", "rules.yaml:4: 'javascript:alert(1)' is no address that begins with https:// or http://")]
    [InlineData("rules:\n  - id: a\n    title: t\n    fixed-in: soon\n    match: {kind: bug}", "rules.yaml:4: 'soon' is no kernel version; write it as 6.1.170")]
    [InlineData("rules:\n  - id: a\n    title: t\n    match:\n      stack: []", "rules.yaml:5: 'stack' is an empty list")]
    [InlineData("rules:\n  - id: a\n    title: t\n    match:\n      stack:", "rules.yaml:5: 'stack' has no value")]
    [InlineData("rules:\n  - id: a\n    title: &x t\n    match: {kind: bug}", "rules.yaml:3: anchors, aliases and tags have no meaning in a rules file")]
    [InlineData("rules:\n  - id: !!str a\n    title: t", "rules.yaml:2: anchors, aliases and tags have no meaning in a rules file")]
    [InlineData("rules: [[[[[[[[[[[]]]]]]]]]]]", "rules.yaml:1: values lie in each other more than 8 deep")]
    [InlineData("rules: []\n---\nrules: []", "rules.yaml:2: a second document begins here; a rules file is one")]
    [InlineData("rules:\n  - id: 'a", "rules.yaml:")]
    [InlineData("rules:\n\t- id: a", "rules.yaml:2: the line is indented with a tab; YAML takes spaces alone")]
    public void A_mistake_is_one_sentence_with_its_line(string text, string says)
    {
        string message = Assert.Throws<RulesFileException>(() => Read(text)).Message;
        Assert.StartsWith(says, message);
        Assert.DoesNotContain('\n', message);
    }

    [Fact]
    public void Files_that_are_not_there_or_too_large_are_said()
    {
        Assert.StartsWith("/nonexistent/rules.yaml: ", Assert.Throws<RulesFileException>(() => RulesFile.Read(["/nonexistent/rules.yaml"])).Message);
        Assert.Equal("x: it is larger than 4 MiB", Assert.Throws<RulesFileException>(() => RulesFile.Read("x", new byte[(4 << 20) + 1], [])).Message);
    }

    internal static IReadOnlyList<KnownIssueRule> Read(string text)
    {
        var rules = new List<KnownIssueRule>();
        RulesFile.Read("rules.yaml", Encoding.UTF8.GetBytes(text), rules);
        return rules;
    }
}
