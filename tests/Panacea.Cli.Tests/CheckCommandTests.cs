using System.Text.Json;
using Panacea.Diagnosis;
using Panacea.Diagnosis.Validators;

namespace Panacea.Cli.Tests;

public sealed class CheckCommandTests
{
    private static readonly CheckUpReport Whole = new(
    [
        new ValidatorReport("tasks", "tasks", CheckOutcome.Ok, new ValidatorResult([new CheckedObjects("threads", 64), new CheckedObjects("pids", 60)], [], ["the rest"], []), 1),
        new ValidatorReport("text", "text", CheckOutcome.Unavailable, new ValidatorResult([], [], [], ["there is no image"]), 1),
    ]);

    private static readonly CheckUpReport Broken = new(
    [
        new ValidatorReport("stacks", "stacks", CheckOutcome.Broken, new ValidatorResult(
            [new CheckedObjects("stacks", 64)], [new Finding("check.stacks.end-magic", "the stack of \u001b[31mevil ran over", ["expected 0x57ac6e9d"], Confidence.High)], [], []), 6),
    ]);

    private static Outcome Check(CheckUpReport report, params string[] args) => new Harness { Checks = (_, _, _) => report }.Run(["check", "pid:1", .. args]);

    [Fact]
    public void A_whole_guest_is_a_line_for_each_validator_and_exit_code_0()
    {
        Outcome outcome = Check(Whole);
        Assert.Equal(ExitCodes.Ok, outcome.ExitCode);
        Assert.Equal(
            "tasks       ok: 64 threads, 60 pids\n            left out: the rest\ntext        could not: nothing\n            not checked: there is no image\n", outcome.Out);
    }

    [Fact]
    public void A_broken_guest_is_exit_code_6_and_its_text_is_escaped()
    {
        Outcome outcome = Check(Broken);
        Assert.Equal(ExitCodes.Broken, outcome.ExitCode);
        Assert.Equal(
            "stacks      1 broken: 64 stacks\n\ncheck.stacks.end-magic (high confidence): the stack of \\x1b[31mevil ran over\n  expected 0x57ac6e9d\n", outcome.Out);
    }

    [Fact]
    public void Json_holds_all_of_it()
    {
        Outcome outcome = Check(Broken, "--json");
        Assert.Equal(ExitCodes.Broken, outcome.ExitCode);
        JsonElement validator = JsonDocument.Parse(outcome.Out).RootElement.GetProperty("validators")[0];
        Assert.Equal(("stacks", "broken", 6), (validator.GetProperty("name").GetString(), validator.GetProperty("outcome").GetString(), validator.GetProperty("looks").GetInt32()));
        JsonElement result = validator.GetProperty("result");
        Assert.Equal(64, result.GetProperty("checked")[0].GetProperty("count").GetInt64());
        Assert.Equal("check.stacks.end-magic", result.GetProperty("findings")[0].GetProperty("id").GetString());
    }

    [Fact]
    public void Names_and_the_image_reach_the_service()
    {
        (IReadOnlyList<string>, string?) asked = default;
        var harness = new Harness { Checks = (_, only, image) => { asked = (only, image); return Whole; } };
        Assert.Equal(ExitCodes.Ok, harness.Run("check", "pid:1", "--only", "tasks", "--only", "text", "--image", "x.rimg").ExitCode);
        Assert.Equal(["tasks", "text"], asked.Item1);
        Assert.Equal("x.rimg", asked.Item2);
    }

    [Fact]
    public void A_validator_that_does_not_exist_is_a_wrong_command_line()
    {
        Outcome outcome = Check(Whole, "--only", "tusks");
        Assert.Equal(ExitCodes.Usage, outcome.ExitCode);
        Assert.Contains("there is no validator 'tusks'; there are tasks, stacks, ", outcome.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Help_names_every_validator_and_has_examples()
    {
        string help = new Harness().Run("check", "--help").Out;
        Assert.Contains("\nExamples:\n  panacea check pid:4242", help, StringComparison.Ordinal);
        Assert.All(Validators.All, v => Assert.Contains($"  {v.Name} ", help, StringComparison.Ordinal));
        Assert.Contains("6 check found something broken", help, StringComparison.Ordinal);
    }
}
