using System.Text;
using Panacea.TestKit;
using Panacea.TestKit.Fuzzing;

namespace Panacea.Sessions.Tests;

/// <summary>Damaged policy files.</summary>
public sealed class FuzzTests
{
    private static readonly string[] Words =
    [
        "defaults:", "vms:", "- match: ", "mode: ", "full", "observe", "quarantine", "rungs: [", "kill", "error-return", "]", "{", "}", "fallback: ", "then: reset", "dump: /", "none", "hangs: {after: ", "499ms", "1e9s", "99999999999m",
        "repair-limit: {count: ", "-1", "check-up: yes", "true", "&a ", "*a", "!!str ", "---", "...", "? ", "|", ">", "\t", "  ", "'", "\"", "%YAML 9.9", "#", "<<: ", "pid:*", "qmp:/run/*", "null", "~",
    ];

    [Fact]
    public void Policies()
    {
        byte[] seed = File.ReadAllBytes(Path.Combine(JsonSchema.Docs, "policy.example.yaml"));
        string[][] samples = [Encoding.UTF8.GetString(seed).Split('\n')];
        var mutator = new TextMutator(Words, mostLines: 40);
        Fuzzer.RunInputs(nameof(FuzzTargets.Policy), data => FuzzTargets.Policy(data), [seed], random => mutator.Mutate(samples, random));
    }
}
