using System.Diagnostics;
using Panacea.Lab.Setup;

namespace Panacea.GuestTests.Harness;

/// <summary>The panacea program as a user runs it: the native binary that ./test has built, else the managed build of the same sources.</summary>
internal static class PanaceaCommand
{
    /// <summary>Its path.</summary>
    public static string Program { get; } =
        Environment.GetEnvironmentVariable("PANACEA_BINARY") is { Length: > 0 } native ? native : Path.Combine(AppContext.BaseDirectory, "panacea");

    /// <summary>Runs it to its end.</summary>
    public static Task<HostCommandResult> RunAsync(params string[] arguments) =>
        HostCommand.RunAsync(Program, arguments, null, TestContext.Current.CancellationToken).WaitAsync(Limits.Event);

    /// <summary>Runs it to its end, which has to be success.</summary>
    public static async Task<string> MustAsync(params string[] arguments)
    {
        HostCommandResult result = await RunAsync(arguments);
        Assert.True(result.ExitCode == 0, $"panacea {string.Join(' ', arguments)}: exit code {result.ExitCode}\n{result.Error}");
        return result.Output;
    }

    /// <summary>Starts it, its output to be read by the caller.</summary>
    public static Process Start(params string[] arguments) =>
        Process.Start(new ProcessStartInfo(Program, arguments) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true })
        ?? throw new InvalidOperationException($"{Program} did not start");
}
