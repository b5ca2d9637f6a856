using Panacea.Lab.Guests;
using Panacea.Lab.Workloads;

namespace Panacea.GuestTests.Harness;

/// <summary>Shorthand for tests.</summary>
internal static class GuestTestExtensions
{
    /// <summary>Runs a command that has to succeed and returns its output without the last line end.</summary>
    public static async Task<string> MustAsync(this Guest guest, string command, TimeSpan? timeout = null)
    {
        GuestCommandResult result = await guest.RunAsync(command, timeout, TestContext.Current.CancellationToken);
        Assert.True(result.Succeeded, $"{command}: status {result.Status}, {result.Output}");
        return result.Output.TrimEnd('\n');
    }

    /// <summary>As <see cref="MustAsync"/>, split into lines, with time enough for large output under emulation.</summary>
    public static async Task<string[]> MustLinesAsync(this Guest guest, string command) =>
        (await guest.MustAsync(command, Limits.Guest)).Split('\n', StringSplitOptions.RemoveEmptyEntries);

    /// <summary>The bytes of a file in the guest.</summary>
    public static async Task<byte[]> ReadFileAsync(this Guest guest, string path) =>
        Convert.FromBase64String((await guest.MustAsync($"base64 {path}", Limits.Guest)).ReplaceLineEndings(""));

    /// <summary>The guest does everything that <see cref="LivingGuest"/> knows to ask for.</summary>
    public static async Task AssertLivesAsync(this Guest guest)
    {
        IReadOnlyList<LifeSign> signs = await LivingGuest.ProbeAsync(guest, Limits.Guest);
        Assert.All(signs, s => Assert.Null(s.Failure is null ? null : $"{s.Name}: {s.Failure}"));
    }

    /// <summary>Has a process of its own write a crash's name to the crash-test driver; answers how that process ended.</summary>
    public static Task<GuestCommandResult> CrashAsync(this Guest guest, string name) =>
        guest.RunAsync(name == "sysrq" ? "echo c > /proc/sysrq-trigger" : $"echo {name} > /dev/crashtest", Limits.Guest, TestContext.Current.CancellationToken);
}

/// <summary>How long the tests wait at most; generous, because emulated guests share the host's processors.</summary>
internal static class Limits
{
    /// <summary>For an answer of a living guest.</summary>
    public static TimeSpan Guest { get; } = TimeSpan.FromSeconds(120);

    /// <summary>For an event of a guard.</summary>
    public static TimeSpan Event { get; } = TimeSpan.FromSeconds(120);

    /// <summary>Within which a dead guest would have answered if it lived.</summary>
    public static TimeSpan Silence { get; } = TimeSpan.FromSeconds(3);
}
