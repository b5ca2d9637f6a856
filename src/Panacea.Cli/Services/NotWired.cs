using Panacea.Cli.Output;

namespace Panacea.Cli.Services;

/// <summary>Stands where a part has not been built into this binary.</summary>
internal sealed class NotWired : ILab
{
    public int Demo(DemoRequest request, CliConsole console, CancellationToken cancel) => throw Missing("the demonstration");

    public int BenchRecovery(BenchRequest request, CliConsole console, CancellationToken cancel) => throw Missing("the benchmark");

    private static CliException Missing(string what) => new(ExitCodes.Failure, $"{what} is not part of this build; use a newer panacea");
}
