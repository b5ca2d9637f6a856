using Panacea.Lab.Guests;

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
}
