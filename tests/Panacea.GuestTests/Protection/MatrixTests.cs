using Panacea.GuestTests.Harness;
using Panacea.Lab.Matrix;
using Panacea.Lab.Tour;

namespace Panacea.GuestTests.Protection;

/// <summary>Crashes in every context: a sample that has each context and each cause, and with <c>./test --matrix</c> every crash in every context.</summary>
public abstract class MatrixTests(string line)
{
    [Fact]
    public Task A_guest_outlives_a_crash_in_every_context() => RunAsync(MatrixCell.Sample);

    [Fact(Skip = Suites.NeedsMatrix, SkipUnless = nameof(Suites.Matrix), SkipType = typeof(Suites))]
    public Task A_guest_outlives_every_crash_in_every_context() => RunAsync(MatrixCell.All);

    /// <summary>RCU has been told of each trap that is taken over the idle task (kernel/entry/common.c, irqentry_enter), and has to be told of its end: else it takes the CPU for idle while it works, and for working while it is idle, for
    /// ever. The kernel says so when it next enters or leaves idle.</summary>
    [Fact]
    public Task Rcu_knows_whether_a_cpu_is_idle_after_a_crash_over_the_idle_task() => RunAsync([new("bug", "idle"), new("divide-by-zero", "ipi"), new("bug", "timer"), new("null-read", "idle")]);

    [Fact]
    public Task A_guest_outlives_hangs() => RunAsync(MatrixCell.HangSample);

    [Fact(Skip = Suites.NeedsMatrix, SkipUnless = nameof(Suites.Matrix), SkipType = typeof(Suites))]
    public Task A_guest_outlives_every_hang_in_every_context() => RunAsync(MatrixCell.Hangs);

    private async Task RunAsync(IReadOnlyList<MatrixCell> cells)
    {
        ITestOutputHelper? output = TestContext.Current.TestOutputHelper;
        CancellationToken cancel = TestContext.Current.CancellationToken;
        await using var run = new MatrixRun(MatrixRun.Spec(line), new PanaceaProgram(PanaceaCommand.Program), text => output?.WriteLine(text));
        var failures = new List<string>();
        foreach (MatrixCell cell in cells)
        {
            MatrixResult result = await run.RunAsync(cell, cancel);
            string all = $"{cell.Name}: {result.Outcome ?? "nothing"}, {result.Repair}, {string.Join("; ", result.Failures)}\n  {string.Join("\n  ", result.Ladder)}";
            output?.WriteLine(all);
            if (!result.IsRecovered || (cell.MaySurvive && result.ProcessSurvived != true))
                failures.Add(all);
        }

        Assert.True(failures.Count == 0, string.Join('\n', failures));
    }
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class MatrixTests61() : MatrixTests("6.1");

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class MatrixTests612() : MatrixTests("6.12");
