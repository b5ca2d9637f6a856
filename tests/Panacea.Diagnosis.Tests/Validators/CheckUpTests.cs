using Panacea.Diagnosis.Validators;
using Panacea.Kernel;
using Panacea.TestKit.Linux;

namespace Panacea.Diagnosis.Tests.Validators;

public sealed class CheckUpTests
{
    /// <summary>Says something else each time it looks.</summary>
    private sealed class Scripted(params string[][] looks) : IValidator
    {
        public int Looks { get; private set; }

        public string Name => "scripted";

        public string Description => "what a test tells it to";

        public ValidatorResult Check(CheckContext context)
        {
            string[] now = looks[Math.Min(Looks++, looks.Length - 1)];
            return now is ["throw"] ? throw new KernelShapeException("no such thing") : new ValidatorResult(
                [new CheckedObjects("things", 1)], [.. now.Select(t => new Finding("check.scripted.thing", t, [], Confidence.High))], [], []);
        }
    }

    private static (ValidatorReport Report, int Pauses) Run(Scripted validator, bool live)
    {
        var g = new CheckedGuest();
        int pauses = 0;
        return (Assert.Single(CheckUp.Run(g.Context(live), null, [validator], _ => pauses++).Validators), pauses);
    }

    /// <summary>Each timer and each wait queue asks where code may lie.</summary>
    [Fact]
    public void A_module_list_that_does_not_close_is_found_out_once()
    {
        var g = new CheckedGuest();
        ulong list = g.Guest.Modules[0].Address + g.Guest.Types.Offset("module.list");
        g.Guest.WriteU64(list, list);
        CheckContext context = g.Context();
        Assert.ThrowsAny<KernelShapeException>(() => context.Text);
        long before = g.Guest.Memory.Reads;
        Assert.ThrowsAny<KernelShapeException>(() => context.Text);
        Assert.Equal(before, g.Guest.Memory.Reads);
    }

    [Fact]
    public void What_stands_still_is_looked_at_once()
    {
        (ValidatorReport report, int pauses) = Run(new Scripted(["a"], []), live: false);
        Assert.Equal((CheckOutcome.Broken, 1, 0), (report.Outcome, report.Looks, pauses));
    }

    [Fact]
    public void What_is_gone_at_the_second_look_was_an_update_under_way()
    {
        (ValidatorReport report, int pauses) = Run(new Scripted(["a"], []), live: true);
        Assert.Equal((CheckOutcome.Ok, 2, 1), (report.Outcome, report.Looks, pauses));
    }

    [Fact]
    public void What_is_broken_in_another_way_each_time_is_not_reported()
    {
        (ValidatorReport report, _) = Run(new Scripted(["a 1"], ["a 2"], ["a 1"]), live: true);
        Assert.Equal((CheckOutcome.Ok, 2), (report.Outcome, report.Looks));
    }

    [Fact]
    public void What_stays_broken_is_reported_and_what_comes_later_is_not()
    {
        (ValidatorReport report, int pauses) = Run(new Scripted(["a"], ["a", "b"], ["b", "a"]), live: true);
        Assert.Equal(["a"], report.Result.Findings.Select(f => f.Text));
        Assert.Equal(report.Looks - 1, pauses);
        Assert.True(pauses >= 4);
    }

    [Fact]
    public void A_validator_that_fails_says_why()
    {
        (ValidatorReport report, _) = Run(new Scripted(["throw"]), live: false);
        Assert.Equal(CheckOutcome.Unavailable, report.Outcome);
        Assert.Equal(["no such thing"], report.Result.Unavailable);
    }

    [Fact]
    public void A_check_up_can_be_cancelled()
    {
        var g = new CheckedGuest();
        using var cancel = new CancellationTokenSource();
        cancel.Cancel();
        Assert.Throws<OperationCanceledException>(() => CheckUp.Run(g.Context(cancel: cancel.Token)));
    }

    /// <summary>A table that says that a million descriptors are taken, and where none leads to a file.</summary>
    [Fact]
    public void A_table_of_open_files_costs_what_the_limits_allow()
    {
        var g = new CheckedGuest();
        SyntheticKernel k = g.Guest;
        ulong table = k.Get(k.Get(k.Init.Address, "task_struct.files"), "files_struct.fdt"), taken = k.Allocate(1 << 17, 4096);
        k.Write(taken, Enumerable.Repeat((byte)0xff, 1 << 17).ToArray());
        k.Put(table, "fdtable.max_fds", 1 << 20);
        k.Put(table, "fdtable.open_fds", taken);
        k.Put(table, "fdtable.fd", k.Direct(0x320_0000));
        long before = k.Memory.Reads;
        ValidatorReport files = Assert.Single(CheckUp.Run(g.Context(most: 400), ["files"]).Validators);
        Assert.True(k.Memory.Reads - before < 50_000, $"{k.Memory.Reads - before} reads");
        Assert.Contains("no more than 400 descriptors of a table were looked at", files.Result.Skipped);
    }

    [Fact]
    public void Only_the_validators_that_were_asked_for_run()
    {
        var g = new CheckedGuest();
        Assert.Equal(["stacks", "slabs"], CheckUp.Run(g.Context(), ["slabs", "stacks"]).Validators.Select(v => v.Name));
    }
}
