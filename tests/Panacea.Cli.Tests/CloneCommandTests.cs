using System.Text.Json;
using Panacea.Cli.CommandLine;
using Panacea.Cli.Services;
using Panacea.Target.Qemu.Clone;

namespace Panacea.Cli.Tests;

public sealed class CloneCommandTests
{
    private static readonly CloneAnswer Answer = new(5151, "/tmp/panacea-clone-1/qmp", "/tmp/panacea-clone-1/gdb", ["/tmp/panacea-clone-1/console.sock"], 412 << 20, 183_000);

    private (string Target, bool Run)? _asked;
    private Vm? _vm;

    private Outcome Clone(CloneAnswer answer, params string[] args) => new Harness
    {
        Clones = (target, run) =>
        {
            _asked = (target.Text, run);
            return _vm = new Vm(answer);
        },
    }.Run(["clone", .. args]);

    [Fact]
    public void Where_the_copy_is_and_how_long_the_original_stood()
    {
        Outcome outcome = Clone(Answer, "pid:4242");
        Assert.Equal(ExitCodes.Ok, outcome.ExitCode);
        Assert.Equal(
            "copied 412 MiB of memory; pid:4242 stood still for 183.0 ms and runs\ncopy      pid 5151, running\nqmp       /tmp/panacea-clone-1/qmp\ngdb       /tmp/panacea-clone-1/gdb\nconsole   /tmp/panacea-clone-1/console.sock\n",
            outcome.Out);
        Assert.Contains("Ctrl-C ends the copy", outcome.Error, StringComparison.Ordinal);
        Assert.Contains("has ended by itself", outcome.Error, StringComparison.Ordinal);
        Assert.Equal(("pid:4242", true), _asked);
        Assert.True(_vm!.IsDisposed);
    }

    [Fact]
    public void A_copy_that_stands_of_a_VM_that_stood()
    {
        Outcome outcome = Clone(Answer with { StoppedUs = null }, "--paused", "qmp:/run/vm1.qmp");
        Assert.StartsWith("copied 412 MiB of memory; qmp:/run/vm1.qmp stood already, and still does\ncopy      pid 5151, standing\n", outcome.Out, StringComparison.Ordinal);
        Assert.Equal(("qmp:/run/vm1.qmp", false), _asked);
    }

    [Fact]
    public void Json_is_one_object()
    {
        JsonElement json = JsonDocument.Parse(Clone(Answer, "--json", "pid:4242").Out).RootElement;
        Assert.Equal((5151, "/tmp/panacea-clone-1/qmp", 183_000), (json.GetProperty("pid").GetInt32(), json.GetProperty("qmp").GetString(), json.GetProperty("stopped_us").GetInt64()));
        Assert.Equal("/tmp/panacea-clone-1/console.sock", Assert.Single(json.GetProperty("consoles").EnumerateArray()).GetString());
    }

    [Fact]
    public void A_VM_that_can_not_be_copied_is_one_sentence()
    {
        Outcome outcome = new Harness { Clones = (_, _) => throw new CloneException("this VM's memory is private to its QEMU") }.Run(["clone", "pid:4242"]);
        Assert.Equal((ExitCodes.Target, "", "panacea: this VM's memory is private to its QEMU\n"), (outcome.ExitCode, outcome.Out, outcome.Error));
    }

    private sealed class Vm(CloneAnswer answer) : IClonedVm
    {
        public CloneAnswer Answer => answer;

        public bool HasEnded => true;

        public bool IsDisposed { get; private set; }

        public void Dispose() => IsDisposed = true;
    }
}
