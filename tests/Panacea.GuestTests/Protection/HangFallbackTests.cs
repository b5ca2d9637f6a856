using Panacea.GuestTests.Harness;
using Panacea.Lab.Guests;

namespace Panacea.GuestTests.Protection;

/// <summary>A hang that no rung may break, and that stays: where the policy has it so, the guest is dumped and reset, and guarded again when it is up.</summary>
public abstract class HangFallbackTests(SharedGuest shared)
{
    [Fact(Skip = Suites.NeedsMatrix, SkipUnless = nameof(Suites.Matrix), SkipType = typeof(Suites))]
    public async Task A_guest_that_hangs_for_good_is_dumped_and_reset()
    {
        await using Guest guest = await Guest.StartAsync(shared.Spec, null, TestContext.Current.CancellationToken);
        await guest.MustAsync("[ -e /dev/crashtest-matrix ] || insmod /modules/crashtest_matrix.ko");
        string policy = Path.Combine(guest.RunDirectory, "policy.yaml"), dumps = Directory.CreateDirectory(Path.Combine(guest.RunDirectory, "dumps")).FullName;
        await File.WriteAllTextAsync(policy, $"defaults:\n  rungs: [heal]\n  hangs: {{after: 500ms, use-fallback: true}}\n  fallback: {{then: reset, dump: {dumps}}}\n", TestContext.Current.CancellationToken);
        await using GuardProcess guard = await GuardProcess.StartArmedAsync(guest, "--policy", policy);
        int mark = guard.Mark();
        long console = guest.Console.Mark();
        using var given = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        Task<GuestCommandResult> hang = guest.RunAsync("echo loop@irqs-off > /dev/crashtest-matrix", Limits.Guest, given.Token);
        GuardEvent first = await guard.WaitForAsync("incident", mark);
        Assert.Equal(("declined", "hard lockup in crashtest_hang_loop [crashtest_matrix]"), (first.Text("outcome"), first.Text("title")));
        GuardEvent fallback = await guard.WaitForAsync("fallback", mark);
        Assert.Equal("reset", fallback.Text("action"));
        await guard.WaitForAsync("reset", mark);
        await guard.WaitForAsync("armed", mark);
        await guest.WaitUntilRebootedAsync(console, Limits.Guest, TestContext.Current.CancellationToken);
        await guest.AssertLivesAsync();
        Assert.Contains("crashtest_hang_loop", await PanaceaCommand.MustAsync("inspect", Assert.Single(Directory.GetFiles(dumps)), "bt", "--all"), StringComparison.Ordinal);
        await given.CancelAsync();
        await Assert.ThrowsAnyAsync<Exception>(() => hang);
    }
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class HangFallbackTests61(Guest61 guest) : HangFallbackTests(guest);

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class HangFallbackTests612(Guest612 guest) : HangFallbackTests(guest);
