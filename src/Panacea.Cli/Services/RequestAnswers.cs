using Panacea.Cli.CommandLine;
using Panacea.Cli.Output;
using Panacea.Sessions.Control;

namespace Panacea.Cli.Services;

/// <summary>Fuses as <c>panacea fuse --json</c> prints them; docs/fuses.md.</summary>
/// <param name="Fuses">The guest's fuses.</param>
/// <param name="Missing">What could not be read.</param>
/// <param name="StoppedUs">Microseconds for which the guest was stopped.</param>
internal sealed record FuseAnswer(IReadOnlyList<FuseLine> Fuses, IReadOnlyList<string> Missing, long StoppedUs);

/// <summary>Frozen tasks as <c>panacea quarantine --json</c> prints them; docs/fuses.md.</summary>
/// <param name="Frozen">The guest's frozen tasks; of <c>inspect</c>, the one.</param>
/// <param name="Stack">Its stack, of <c>inspect</c>.</param>
/// <param name="StoppedUs">Microseconds for which the guest was stopped.</param>
internal sealed record QuarantineAnswer(IReadOnlyList<FrozenLine> Frozen, IReadOnlyList<string> Stack, long StoppedUs);

/// <summary>Answers of guests, and refusals as sentences.</summary>
internal static class RequestAnswers
{
    /// <summary>Asks, and takes a refusal for what it is.</summary>
    /// <exception cref="CliException">It was refused.</exception>
    public static GuestAnswer Get(CliConsole console, CliServices services, TargetName target, GuestRequest request)
    {
        using var interrupts = new Interrupts(console, "still letting go of the VM; once more ends panacea at once");
        GuestAnswer answer = services.Requests.Ask(target, request, interrupts.Token);
        return answer.Error is { } error ? throw new CliException(answer.IsMissing ? ExitCodes.NotFound : answer.IsRefused ? ExitCodes.Usage : ExitCodes.Target, error) : answer;
    }
}
