using Panacea.Cli.CommandLine;
using Panacea.Cli.Services;
using Panacea.Kernel.Image;
using Panacea.Target;

namespace Panacea.Cli.Tests;

public class CommandLineTests
{
    private sealed class Unwritable(Exception failure) : StringWriter
    {
        public override void Flush() => throw failure;
    }

    private static (int Code, string Error) RunInto(TextWriter output, params string[] args)
    {
        var error = new StringWriter { NewLine = "\n" };
        return (CliApplication.Run(args, new Output.CliConsole(output, error, false, false), new Harness().Services), error.ToString());
    }

    [Fact]
    public void An_answer_that_cannot_be_written_is_a_failure() => Assert.Equal(
        (ExitCodes.Failure, "panacea: standard output could not be written: No space left on device\n"),
        RunInto(new Unwritable(new IOException("No space left on device")), "--version"));

    [Fact]
    public void A_reader_that_has_seen_enough_is_not_an_error_worth_a_word() =>
        Assert.Equal((ExitCodes.BrokenPipe, ""), RunInto(new Unwritable(new Output.BrokenPipeException()), "guard", "--help"));

    [Fact]
    public void An_error_of_the_command_outlives_one_of_the_output() =>
        Assert.Equal(ExitCodes.Usage, RunInto(new Unwritable(new IOException("x")), "gaurd").Code);

    public static TheoryData<string> CommandPaths =>
    [
        "", "demo", "guard", "image", "image build", "image show", "image verify", "inspect", "inspect ps", "inspect modules", "inspect dmesg",
        "inspect bt", "inspect symbol", "inspect type", "inspect task", "inspect files", "inspect vmcoreinfo", "inspect read", "inspect disasm", "inspect runq", "inspect locks",
        "inspect workqueues", "inspect timers", "inspect memory", "inspect slab", "inspect mounts", "inspect net", "inspect dev", "inspect sys", "dump", "clone", "inject", "campaign", "campaign check", "policy", "policy check", "policy explain", "bench", "bench recovery", "bench rehearsal", "bench service", "bench overhead", "bench scale", "bench diagnosis", "completion", "completion bash", "completion zsh", "completion fish",
    ];

    [Theory]
    [MemberData(nameof(CommandPaths))]
    public void Every_command_has_help_with_examples(string path)
    {
        Outcome outcome = new Harness().Run([.. path.Split(' ', StringSplitOptions.RemoveEmptyEntries), "--help"]);
        Assert.Equal(ExitCodes.Ok, outcome.ExitCode);
        Assert.Equal("", outcome.Error);
        Assert.Contains("Usage:\n", outcome.Out, StringComparison.Ordinal);
        Assert.Contains("\nExamples:\n  ", outcome.Out, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(CommandPaths))]
    public void Every_example_is_a_command_line_that_parses(string path)
    {
        string help = new Harness().Run([.. path.Split(' ', StringSplitOptions.RemoveEmptyEntries), "--help"]).Out;
        string[] examples = [.. help[help.IndexOf("Examples:", StringComparison.Ordinal)..].Split('\n')
            .Where(line => line.StartsWith("  panacea ", StringComparison.Ordinal)).Select(line => line.Split(" | ")[0].Split(" > ")[0].Trim())];
        var root = PanaceaCommandLine.Create(new Output.CliConsole(TextWriter.Null, TextWriter.Null, false, false),
            new Harness().Services);

        // A dump has to be there.
        string dump = Path.GetTempFileName();
        foreach (string example in examples)
            Assert.Empty(root.Parse($"{example["panacea ".Length..]} ".Replace(" vmcore ", $" {dump} ", StringComparison.Ordinal), PanaceaCommandLine.Parser).Errors);
        File.Delete(dump);
    }

    [Theory]
    [InlineData("bench recovery", BenchKind.Recovery, 30, "6.1,6.12", "", "")]
    [InlineData("bench rehearsal --crashes 2 --kernels 6.1", BenchKind.Rehearsal, 2, "6.1", "", "")]
    [InlineData("bench service --workloads bank,redis", BenchKind.Service, 5, "6.1,6.12", "bank,redis", "")]
    [InlineData("bench overhead --rounds 7", BenchKind.Overhead, 7, "6.1,6.12", "arithmetic,redis,records,bank,forks", "")]
    [InlineData("bench scale --only vms --kernels 6.12,6.12", BenchKind.Scale, 5, "6.12", "", "vms")]
    [InlineData("bench diagnosis", BenchKind.Diagnosis, 5, "6.1,6.12", "", "")]
    internal void A_benchmark_is_what_was_asked_for(string line, BenchKind kind, int count, string kernels, string workloads, string only)
    {
        var harness = new Harness();
        Assert.Equal(ExitCodes.Ok, harness.Run(line.Split(' ')).ExitCode);
        BenchRequest request = harness.Benched!;
        Assert.Equal((kind, count, kernels, workloads, only), (request.Kind, request.Count, string.Join(',', request.Kernels), string.Join(',', request.Workloads), string.Join(',', request.Only)));
        Assert.False(request.Json || request.UpdateDocs || request.Yes);
    }

    [Theory]
    [InlineData("--version")]
    [InlineData("guard --version", ExitCodes.Usage)]
    public void Version_is_the_programs(string line, int expected = ExitCodes.Ok)
    {
        Outcome outcome = new Harness().Run(line.Split(' '));
        Assert.Equal(expected, outcome.ExitCode);
        Assert.Equal(expected == ExitCodes.Ok ? $"panacea {CliApplication.Version}\n" : "", outcome.Out);
        Assert.Matches(@"^\d+\.\d+\.\d+", CliApplication.Version);
    }

    [Theory]
    [InlineData("", "what shall be done?")]
    [InlineData("gaurd", "'gaurd' is not known here, did you mean 'guard'?")]
    [InlineData("guard", "'TARGET' missing")]
    [InlineData("guard foo", "write qmp:/path/to/socket")]
    [InlineData("guard 4242", "write pid:4242")]
    [InlineData("guard /run/x.sock", "write qmp:/run/x.sock")]
    [InlineData("guard pid:0", "not a process id")]
    [InlineData("guard pid:-1", "not a process id")]
    [InlineData("guard pid:99999999999", "not a process id")]
    [InlineData("guard qmp:", "lacks the path")]
    [InlineData("guard pid:1 pid:1", "given twice")]
    [InlineData("guard pid:1 --mode heroic", "observe, quarantine or full")]
    [InlineData("guard pid:1 --mode 1", "observe, quarantine or full")]
    [InlineData("guard pid:1 --fallback panic", "leave, reset or keep-stopped")]
    [InlineData("dump pid:1", "'FILE' missing")]
    [InlineData("guard pid:1 --health-window 3", "500ms, 2s or 1m")]
    [InlineData("guard pid:1 --health-window 1ms", "from 100ms")]
    [InlineData("guard pid:1 --health-window -1s", "500ms, 2s or 1m")]
    [InlineData("guard pid:1 --health-window 99999999999999999999s", "500ms, 2s or 1m")]
    [InlineData("guard pid:1 --moed full", "did you mean '--mode'?")]
    [InlineData("image", "needs one of: build, show, verify")]
    [InlineData("image build pid:1", "--output")]
    [InlineData("image build pid:1 -o /nonexistent/dir/x", "no directory /nonexistent/dir")]
    [InlineData("image build pid:1 -o /tmp", "is a directory")]
    [InlineData("image show /nonexistent.rimg", "there is no file")]
    [InlineData("image show /tmp", "is a directory")]
    [InlineData("image show pid:x", "not a process id")]
    [InlineData("image verify /nonexistent.rimg pid:1", "there is no file")]
    [InlineData("inspect ps", "inspect what?")]
    [InlineData("inspect pid:1 --json", "--json belongs to a subcommand")]
    [InlineData("inspect pid:1 pss", "did you mean 'ps'?")]
    [InlineData("inspect pid:1 task", "PID")]
    [InlineData("inspect pid:1 task x", "'x' is not a process id")]
    [InlineData("inspect pid:1 bt -1", "is not")]
    [InlineData("inspect pid:1 bt 1 --all", "give one of them")]
    [InlineData("inspect pid:1 read", "ADDRESS|SYMBOL")]
    [InlineData("inspect pid:1 read 0x10 0", "'0' is not a number of things to show")]
    [InlineData("inspect pid:1 disasm f many", "'many' is not a number")]
    [InlineData("inspect pid:1 symbol", "NAME")]
    [InlineData("bench recovery --crashes 0", "from 1 to 100000")]
    [InlineData("bench diagnosis --rounds 0", "from 1 to 100000")]
    [InlineData("bench scale --only disks", "'disks' can't be made larger; there are memory, tasks, modules, vcpus, vms")]
    [InlineData("bench overhead --workloads idle", "'idle' is no workload of this benchmark")]
    [InlineData("bench service --workloads arithmetic", "'arithmetic' is no workload of this benchmark")]
    [InlineData("bench recovery --workloads redis", "--workloads")]
    [InlineData("bench service --kernels 5.10", "'5.10' is no kernel line of the lab")]
    [InlineData("completion tcsh", "'tcsh' is not known here")]
    public void A_wrong_command_line_gets_one_sentence_and_changes_nothing(string line, string says)
    {
        Outcome outcome = new Harness().Run(line.Split(' ', StringSplitOptions.RemoveEmptyEntries));
        Assert.Equal(ExitCodes.Usage, outcome.ExitCode);
        Assert.Equal("", outcome.Out);
        Assert.StartsWith("panacea: ", outcome.Error, StringComparison.Ordinal);
        Assert.Contains(says, outcome.Error, StringComparison.Ordinal);
        Assert.Equal(1, outcome.Error.Count(c => c == '\n'));
    }

    [Fact]
    public void A_hostile_argument_does_not_reach_the_terminal_raw() =>
        Assert.DoesNotContain('\x1b', new Harness().Run("guard", "\x1b[2Jfoo").Error);

    [Fact]
    public void A_path_that_is_too_long_for_a_socket_is_refused() =>
        Assert.Contains("107 bytes", new Harness().Run("guard", "qmp:/" + new string('x', 200)).Error, StringComparison.Ordinal);

    public static TheoryData<Exception, int, string> Failures => new()
    {
        { new TargetException("no QMP socket at /x; start QEMU with -qmp"), ExitCodes.Target, "panacea: no QMP socket at /x; start QEMU with -qmp\n" },
        { new GuestMemoryException(new MemoryFault(MemoryFaultKind.NotPresent, 16, false), "x"), ExitCodes.Target, "panacea: cannot access x at guest-virtual 0x10: not mapped\n" },
        { new RepairImageException("x is damaged"), ExitCodes.Image, "panacea: x is damaged\n" },
        { new OperationCanceledException(), ExitCodes.Interrupted, "panacea: interrupted\n" },
        { new IOException("no space"), ExitCodes.Failure, "panacea: no space\n" },
        { new UnauthorizedAccessException("no"), ExitCodes.Failure, "panacea: no\n" },
    };

    [Theory]
    [MemberData(nameof(Failures))]
    public void What_goes_wrong_becomes_a_sentence_and_a_code(Exception failure, int code, string error)
    {
        Outcome outcome = new Harness { Inspect = _ => throw failure }.Run("inspect", "pid:1", "ps");
        Assert.Equal(new Outcome(code, "", error), outcome);
    }

    [Fact]
    public void A_bug_says_that_it_is_one_and_hides_its_trace()
    {
        Outcome outcome = new Harness { Inspect = _ => throw new InvalidOperationException("oh\x1b") }.Run("inspect", "pid:1", "ps");
        Assert.Equal(ExitCodes.Bug, outcome.ExitCode);
        Assert.Contains("a bug in panacea", outcome.Error, StringComparison.Ordinal);
        Assert.Contains("PANACEA_DEBUG=1", outcome.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", outcome.Error, StringComparison.Ordinal);
        Assert.DoesNotContain('\x1b', outcome.Error);
    }

    [Theory]
    [InlineData("panacea gu", "guard")]
    [InlineData("panacea guard --mode ", "quarantine")]
    [InlineData("panacea guard p", "pid:")]
    [InlineData("panacea inspect pid:1 ", "modules")]
    public void Completion_offers_what_may_come_next(string line, string offer) =>
        Assert.Contains(offer, new Harness().Run($"[suggest:{line.Length}]", line).Out.Split('\n'));

    [Theory]
    [InlineData("bash", "complete -o default -F _panacea panacea")]
    [InlineData("zsh", "compdef")]
    [InlineData("fish", "complete -c panacea")]
    public void Completion_scripts_are_printed(string shell, string contains) =>
        Assert.Contains(contains, new Harness().Run("completion", shell).Out, StringComparison.Ordinal);

    [Fact]
    public void Demo_passes_its_options_on()
    {
        Services.DemoRequest? seen = null;
        Outcome outcome = new Harness { RunDemo = request => { seen = request; return 0; } }.Run("demo", "--yes", "--json");
        Assert.Equal(new Services.DemoRequest(true, true, "6.1"), seen);
        Assert.Equal(0, outcome.ExitCode);
    }
}
