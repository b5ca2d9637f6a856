using Panacea.GuestTests.Harness;
using Panacea.Lab.Guests;

namespace Panacea.GuestTests;

/// <summary>What a crash does to a guest that nobody protects, so that the tests of protection mean something.</summary>
public abstract class CrashTests(SharedGuest shared)
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    /// <summary>Oopses in a function that can return an error.</summary>
    public static IReadOnlyList<string> ErrorReturns { get; } = ["null-read", "null-write", "wild-read", "epilogue-read", "null-call", "bug", "divide-by-zero"];

    /// <summary>Oopses in a function that returns nothing, or a pointer.</summary>
    public static IReadOnlyList<string> OtherReturns { get; } = ["void-null-write", "pointer-null-read"];

    [Fact]
    public async Task An_oops_panics()
    {
        await using Guest guest = await Guest.StartAsync(shared.Spec with { Start = [], PanicTimeout = 0 });
        Task panicked = guest.Monitor.NextEventAsync("GUEST_PANICKED");
        await DieAsync(guest, "null-write", "Kernel panic - not syncing: Fatal exception");
        await panicked.WaitAsync(Limit);
        // Nothing comes back by itself.
        await Assert.ThrowsAsync<TimeoutException>(() => guest.RunAsync("true", TimeSpan.FromSeconds(2)));
    }

    [Fact]
    public async Task A_panic_reboots_where_the_guest_is_told_to()
    {
        await using Guest guest = await Guest.StartAsync(shared.Spec with { Start = [], PanicTimeout = -1 });
        string before = await guest.MustAsync("cat /proc/sys/kernel/random/boot_id");
        Task reset = guest.Monitor.NextEventAsync("RESET");
        long mark = await DieAsync(guest, "panic", "Kernel panic - not syncing: crashtest: an explicit panic");
        await reset.WaitAsync(Limit);
        await guest.WaitUntilRebootedAsync(mark, guest.Spec.BootTimeout);
        Assert.NotEqual(before, await guest.MustAsync("cat /proc/sys/kernel/random/boot_id"));
    }

    [Fact]
    public async Task Every_crash_dies_at_the_end_of_three_frames()
    {
        // Without panic_on_oops an oops takes the process alone, so one guest serves for all.
        await using Guest guest = await Guest.StartAsync(shared.Spec with { Start = [], PanicOnOops = false });
        foreach (string name in ErrorReturns.Concat(OtherReturns))
        {
            long mark = guest.Console.Mark();
            GuestCommandResult result = await guest.RunAsync($"echo {name} > /dev/crashtest", Limit);
            // A page fault ends in SIGKILL, any other trap in SIGSEGV (arch/x86/mm/fault.c, arch/x86/kernel/dumpstack.c).
            Assert.True(result.Status is 137 or 139, $"{name}: status {result.Status}");
            await guest.Console.WaitForAsync("---[ end trace", Limit, mark);
            AssertChain(guest.Console.TextFrom(mark), name);
        }

        long warned = guest.Console.Mark();
        await guest.MustAsync("echo warn > /dev/crashtest");
        await guest.Console.WaitForAsync("---[ end trace", Limit, warned);
        AssertChain(guest.Console.TextFrom(warned), "warn");
    }

    /// <summary>The frames follow each other in the kernel's own trace, none of them a guess ("?").</summary>
    private static void AssertChain(string console, string name)
    {
        string[] frames = [$"crashtest_{name.Replace('-', '_')}+", " crashtest_middle+", " crashtest_outer+", " crashtest_write+"];
        int at = 0;
        foreach (string frame in frames)
        {
            int found = console.IndexOf(frame, at, StringComparison.Ordinal);
            Assert.True(found >= 0, $"{name}: no {frame} in its place in\n{console}");
            Assert.False(console[..found].EndsWith('?'), $"{name}: {frame} is a guess in\n{console}");
            at = found;
        }
    }

    private static async Task<long> DieAsync(Guest guest, string name, string last)
    {
        long mark = guest.Console.Mark();
        Task<GuestCommandResult> command = guest.RunAsync($"echo {name} > /dev/crashtest", TimeSpan.FromSeconds(5));
        await guest.Console.WaitForAsync(last, Limit, mark);
        await Assert.ThrowsAnyAsync<Exception>(() => command);
        return mark;
    }
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class CrashTests61(Guest61 guest) : CrashTests(guest);

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class CrashTests612(Guest612 guest) : CrashTests(guest);
