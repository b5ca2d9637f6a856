using System.Text.Json;
using Panacea.Cli.Services;
using Panacea.Diagnosis.ConsoleLog;
using Panacea.Diagnosis.KnownIssues;
using Panacea.Diagnosis.Machine;
using Panacea.Formats;
using Panacea.TestKit;

namespace Panacea.Cli.Tests;

public sealed class DiagnoseTests : IDisposable
{
    private const string Log = """
        [    7.1] BUG: kernel NULL pointer dereference, address: 0000000000000010
        [    7.2] #PF: supervisor write access in kernel mode
        [    7.3] Oops: 0002 [#1] PREEMPT SMP PTI
        [    7.4] CPU: 1 PID: 77 Comm: cat Not tainted 6.1.0-1-amd64 #1  Debian 6.1.1-1
        [    7.5] RIP: 0010:foo_write+0x12/0x30 [foo]
        """;

    private readonly string _file = Path.Combine(Path.GetTempPath(), $"panacea-cli-{Guid.NewGuid():N}");

    private static readonly MachineReport Healthy = new()
    {
        Source = "vmcore", Kind = SourceKind.Dump, Description = "ELF core", WhyNoCrash = "no CPU's stack shows an oops or a panic",
        Kernel = new KernelFacts("6.1", "Linux version 6.1", null, null, null, null, null, new Dictionary<string, long>()), Cpus = [], Modules = [], Console = [], Missing = ["page tables"],
        State = new MachineState(StateMoment.Standing, null, null, null, null, null, null, null),
    };

    private readonly TemporaryDirectory _directory = new();

    public void Dispose()
    {
        File.Delete(_file);
        _directory.Dispose();
    }

    [Fact]
    public void A_machine_is_told_as_markdown_json_or_a_page()
    {
        var harness = new Harness { Says = _ => new DiagnosisAnswer(Healthy, null) };
        Assert.StartsWith("# No crash was found\n", harness.Run("diagnose", "vmcore").Out);
        Assert.Equal("no CPU's stack shows an oops or a panic", JsonDocument.Parse(harness.Run("diagnose", "vmcore", "--json").Out).RootElement.GetProperty("why_no_crash").GetString());
        Outcome page = harness.Run("diagnose", "vmcore", "--html", _file);
        Assert.Equal((0, "", ""), (page.ExitCode, page.Out, page.Error));
        Assert.StartsWith("<!doctype html>", File.ReadAllText(_file));
        Assert.StartsWith("# ", harness.Run("diagnose", "vmcore", "--html", _file, "--markdown").Out);
    }

    [Fact]
    public void A_log_is_told_in_the_same_forms()
    {
        using var text = new StringReader(Log);
        LogDiagnosis log = ConsoleLogDiagnosis.Diagnose(text, FormatLimits.Default);
        var harness = new Harness { Says = _ => new DiagnosisAnswer(null, log) };
        Assert.StartsWith("# NULL write in foo_write", harness.Run("diagnose", "-").Out);
        Assert.Equal("null-write", JsonDocument.Parse(harness.Run("diagnose", "-", "--json").Out).RootElement.GetProperty("reports")[0].GetProperty("kind").GetString());
        Assert.Equal(0, harness.Run("diagnose", "-", "--html", _file).ExitCode);
        Assert.Contains("<h1>NULL write in foo_write [foo]</h1>", File.ReadAllText(_file));
    }

    [Fact]
    public void A_file_of_text_is_a_log_and_anything_else_a_dump()
    {
        var real = new KernelDiagnosis();
        File.WriteAllText(_file, Log);
        Assert.Equal("NULL write in foo_write [foo]", real.Diagnose(Source(_file), Nothing, default).Log?.Reports[0].Title);
        File.WriteAllBytes(_file, new byte[8 << 20]);
        Exception e = Assert.ThrowsAny<Exception>(() => real.Diagnose(Source(_file), Nothing, default));
        Assert.IsNotType<CliException>(e);
        File.WriteAllText(_file, "\u007fELF");
        Assert.ThrowsAny<IOException>(() => real.Diagnose(Source(_file), Nothing, default));
    }

    [Theory]
    [InlineData("/nonexistent/vmcore", "there is no file '/nonexistent/vmcore'; a source is a dump file, qmp:/path/to/socket or pid:N")]
    [InlineData("4242", "there is no file '4242'; a source is a dump file, qmp:/path/to/socket or pid:N, as pid:4242")]
    [InlineData("/tmp", "'/tmp' is a directory; name the dump's file")]
    public void A_source_that_is_not_there_gets_one_sentence(string source, string says) =>
        Assert.Equal(says, Assert.Throws<CliException>(() => new KernelDiagnosis().Diagnose(Source(source), Nothing, default)).Message);

    [Fact]
    public void Two_forms_at_once_are_refused()
    {
        Outcome outcome = new Harness().Run("diagnose", "vmcore", "--json", "--markdown");
        Assert.Equal((ExitCodes.Usage, ""), (outcome.ExitCode, outcome.Out));
        Assert.Contains("two forms of the same answer", outcome.Error);
    }

    [Fact]
    public void Rules_are_read_before_anything_else_and_handed_on()
    {
        string rules = Rules("kind: null-write");
        var harness = new Harness { Says = _ => new DiagnosisAnswer(Healthy, null) };
        Assert.Equal(0, harness.Run("diagnose", "vmcore", "--rules", rules, "--rules", Rules("kind: bug", "other"), "--debuginfo", "/a", "--debuginfo", "/b").ExitCode);
        Assert.Equal(["/a", "/b"], harness.Options!.DebugInfo);
        Outcome twice = harness.Run("diagnose", "vmcore", "--rules", rules, "--rules", rules);
        Assert.Equal((ExitCodes.Usage, "", $"panacea: {rules}:2: the id 'known' is taken by the rule at {rules}:2\n"), (twice.ExitCode, twice.Out, twice.Error));
        File.WriteAllText(rules, "rules:\n  - id: \u001b[2J\n");
        Outcome wrong = harness.Run("diagnose", "vmcore", "--rules", rules);
        Assert.Equal(ExitCodes.Usage, wrong.ExitCode);
        Assert.DoesNotContain('\u001b', wrong.Error);
        Assert.StartsWith($"panacea: {rules}:", wrong.Error);
    }

    [Fact]
    public void A_guard_takes_rules_too()
    {
        Outcome outcome = new Harness().Run("guard", "pid:1", "--rules", "/nonexistent/rules.yaml");
        Assert.Equal((ExitCodes.Usage, ""), (outcome.ExitCode, outcome.Out));
        Assert.StartsWith("panacea: /nonexistent/rules.yaml: ", outcome.Error);
    }

    /// <summary>From the command line to the answer, with the real diagnosis.</summary>
    [Fact]
    public void A_known_issue_is_told_in_every_form()
    {
        File.WriteAllText(_file, Log);
        var harness = new Harness { Diagnosis = new KernelDiagnosis() };
        string[] arguments = ["diagnose", _file, "--rules", Rules("{kind: null-write, function: foo_write}")];
        Assert.Contains("- **what is known** (`known`, confidence high)\n  - because: `kind is null-write`\n  - because: `function at fault is foo_write`\n", harness.Run(arguments).Out);
        JsonElement issue = JsonDocument.Parse(harness.Run([.. arguments, "--json"]).Out).RootElement.GetProperty("reports")[0].GetProperty("known_issues")[0];
        Assert.Equal(("known", "high"), (issue.GetProperty("id").GetString(), issue.GetProperty("confidence").GetString()));
        string page = Path.Combine(_directory.Path, "page.html");
        Assert.Equal(0, harness.Run([.. arguments, "--html", page]).ExitCode);
        Assert.Contains("<strong>what is known</strong>", File.ReadAllText(page));
    }

    [Fact]
    public void Debug_information_that_is_not_there_or_does_not_fit_is_said()
    {
        File.WriteAllText(_file, Log);
        var harness = new Harness { Diagnosis = new KernelDiagnosis() };
        Outcome outcome = harness.Run("diagnose", _file, "--debuginfo", "/nonexistent");
        Assert.Equal((ExitCodes.Usage, "panacea: there is no directory or file '/nonexistent' with debug information\n"), (outcome.ExitCode, outcome.Error));
        outcome = harness.Run("diagnose", _file, "--debuginfo", _directory.Path);
        Assert.Equal(0, outcome.ExitCode);
        Assert.Contains("- debug information of kernel 6.1.0-1-amd64: there is none in ", outcome.Out);
    }

    private string Rules(string match, string id = "known")
    {
        string file = Path.Combine(_directory.Path, id + ".yaml");
        File.WriteAllText(file, $"rules:\n  - id: {id}\n    title: what is known\n    match: {(match.StartsWith('{') ? match : $"{{{match}}}")}\n");
        return file;
    }

    private static DiagnosisOptions Nothing { get; } = new(KnownIssueMatcher.None, []);

    private static CommandLine.SourceName Source(string text)
    {
        Assert.True(CommandLine.SourceName.TryParse(text, out CommandLine.SourceName? source, out _));
        return source!;
    }
}
