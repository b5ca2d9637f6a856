using Panacea.Lab.Bench;
using Panacea.Lab.Matrix;

namespace Panacea.Lab.Tests;

/// <summary>docs/recovery-matrix.md says what happened, and no more.</summary>
public sealed class MatrixDocumentTests
{
    private static readonly MatrixCell Timer = new("null-write", "timer"), Syscall = new("panic", "syscall"), Warn = new("warn", "mutex"), Loop = new("loop", "irq");

    private static MatrixResult Result(MatrixCell cell, string? outcome = "recovered", bool? survived = null, params string[] failures) =>
        new(cell, "title", "unwind", outcome, [], cell.IsHang ? 90_000 : 4_000, survived, [], failures, 3);

    private static string Of(params KernelMatrix[] kernels) => MatrixDocument.Of(kernels, [], new BenchHost("CPU", 2, "6.1", "7.2", "0.1.0", 0.1), DateTimeOffset.UnixEpoch, "command");

    private static string[] Row(string document, string beginning) => [.. document.Split('\n').Where(l => l.StartsWith($"| {beginning}", StringComparison.Ordinal)).Select(l => l.Trim('|', ' '))];

    [Fact]
    public void Cells_that_are_not_recovered_are_counted_and_say_why()
    {
        string document = Of(new KernelMatrix("6.1", [Result(Timer), Result(Syscall, "recovered", true, "fork|exec: no answer"), Result(Loop), Result(Warn, null)], 3, []));
        Assert.Equal(["cells recovered | 2 of 4 (50.0 %)"], Row(document, "cells recovered"));
        Assert.Equal(["process survives, where it has not to be taken out | 0 of 2"], Row(document, "process survives"));
        Assert.Equal(["guest stopped by a crash, median / p99 | 4.0 ms / 4.0 ms"], Row(document, "guest stopped by a crash"));
        Assert.Equal(["guest stopped to break a hang, median / p99 | 90.0 ms / 90.0 ms"], Row(document, "guest stopped to break"));
        Assert.Contains("**recovered**: fork\\|exec: no answer", Assert.Single(Row(document, "panic@syscall")), StringComparison.Ordinal);
        Assert.Contains("**no incident**", Assert.Single(Row(document, "warn@mutex")), StringComparison.Ordinal);
        Assert.Equal(["cells worse than without Panacea | –"], Row(document, "cells worse"));
        Assert.Contains("| cells that were run | 4 of ", document, StringComparison.Ordinal);
    }

    [Fact]
    public void The_unguarded_guest_stands_beside_the_guarded_one()
    {
        BaselineResult[] without =
        [
            new(Timer, true, true, null, []), new(Timer, false, false, null, ["left in D state: x"]), new(Syscall, true, true, null, []), new(Syscall, false, false, false, []), new(Warn, true, true, null, []),
            new(Warn, false, false, true, []),
        ];
        string document = Of(new KernelMatrix("6.1", [Result(Timer), Result(Syscall, "failed"), Result(Warn, "recovered", false)], 1, without));
        Assert.Equal(["without Panacea, panic_on_oops=1: guest lives as before | 0 of 3 (0.0 %)", "without Panacea, panic_on_oops=0: guest lives as before | 2 of 3 (66.7 %)"], Row(document, "without Panacea"));
        Assert.Equal(["cells worse than without Panacea | 2: panic@syscall, warn@mutex"], Row(document, "cells worse"));

        // A process that is taken out for what may be an attack is not worse off by mistake.
        var smash = new MatrixCell("stack-smash", "mutex");
        document = Of(new KernelMatrix("6.1", [Result(Timer), Result(smash, "recovered", false)], 1, [.. without, new(smash, false, false, true, [])]));
        Assert.Equal(["cells worse than without Panacea | 0 (in 1 more the process is taken out for what may be an attack, and lives without: stack-smash@mutex)"], Row(document, "cells worse"));
        document = Of(new KernelMatrix("6.1", [Result(Timer), Result(Syscall, "failed"), Result(Warn, "recovered", false)], 1, without));
        Assert.EndsWith("| panic | left in D state: x", Assert.Single(Row(document, "null-write@timer")), StringComparison.Ordinal);
        Assert.EndsWith("| panic | lives, process killed", Assert.Single(Row(document, "panic@syscall")), StringComparison.Ordinal);
    }

    [Fact]
    public void Crashes_in_a_row_keep_account()
    {
        GuestAccounts before = new(60, 90, 100, 400_000, 20_000, 1_500);
        string section = EnduranceRun.Section([new Endurance("6.1", [Result(Timer), Result(Syscall, "recovered", true, "gone")], before, [(2, before with { Threads = 91, SlabKiB = 20_016 })], 2)]);
        Assert.Contains("**6.1**: 1 of 2 recovered, on 2 guests; stopped 4.0 ms median", section, StringComparison.Ordinal);
        Assert.Contains("| 0 | 60 | 90 | 100 | 400000 KiB | 20000 KiB | 1500 KiB |\n| 2 | 60 | 91 | 100 | 400000 KiB | 20016 KiB | 1500 KiB |\n", section, StringComparison.Ordinal);
        Assert.Contains("not recovered: panic@syscall: gone", section, StringComparison.Ordinal);
    }
}
