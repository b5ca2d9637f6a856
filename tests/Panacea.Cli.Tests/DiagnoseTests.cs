using System.Text.Json;
using Panacea.Cli.Services;
using Panacea.Diagnosis.ConsoleLog;
using Panacea.Diagnosis.Machine;
using Panacea.Formats;

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
    };

    public void Dispose() => File.Delete(_file);

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
        Assert.Equal("NULL write in foo_write [foo]", real.Diagnose(Source(_file), default).Log?.Reports[0].Title);
        File.WriteAllBytes(_file, new byte[8 << 20]);
        Exception e = Assert.ThrowsAny<Exception>(() => real.Diagnose(Source(_file), default));
        Assert.IsNotType<CliException>(e);
        File.WriteAllText(_file, "\u007fELF");
        Assert.ThrowsAny<IOException>(() => real.Diagnose(Source(_file), default));
    }

    [Theory]
    [InlineData("/nonexistent/vmcore", "there is no file '/nonexistent/vmcore'; a source is a dump file, qmp:/path/to/socket or pid:N")]
    [InlineData("4242", "there is no file '4242'; a source is a dump file, qmp:/path/to/socket or pid:N, as pid:4242")]
    [InlineData("/tmp", "'/tmp' is a directory; name the dump's file")]
    public void A_source_that_is_not_there_gets_one_sentence(string source, string says) =>
        Assert.Equal(says, Assert.Throws<CliException>(() => new KernelDiagnosis().Diagnose(Source(source), default)).Message);

    [Fact]
    public void Two_forms_at_once_are_refused()
    {
        Outcome outcome = new Harness().Run("diagnose", "vmcore", "--json", "--markdown");
        Assert.Equal((ExitCodes.Usage, ""), (outcome.ExitCode, outcome.Out));
        Assert.Contains("two forms of the same answer", outcome.Error);
    }

    private static CommandLine.SourceName Source(string text)
    {
        Assert.True(CommandLine.SourceName.TryParse(text, out CommandLine.SourceName? source, out _));
        return source!;
    }
}
