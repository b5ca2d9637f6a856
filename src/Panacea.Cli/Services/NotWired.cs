using Panacea.Cli.CommandLine;
using Panacea.Cli.Output;
using Panacea.Daemon;
using Panacea.Sessions;

namespace Panacea.Cli.Services;

/// <summary>Stands where a part has not been built into this binary.</summary>
internal sealed class NotWired : IGuardFactory, IImageService, IInspectionService, ILab
{
    public GuardedVm Create(TargetName target, GuardOptions options) => throw Missing("guarding");

    public ImageSummary Build(TargetName target, string file, CancellationToken cancel) => throw Missing("building repair images");

    public ImageSummary Show(string file) => throw Missing("reading repair images");

    public ImageSummary Show(TargetName target, CancellationToken cancel) => throw Missing("building repair images");

    public ImageMatch Verify(string file, TargetName target, CancellationToken cancel) => throw Missing("comparing repair images");

    public IInspection Open(TargetName target, CancellationToken cancel) => throw Missing("inspection");

    public int Demo(DemoRequest request, CliConsole console, CancellationToken cancel) => throw Missing("the demonstration");

    public int BenchRecovery(BenchRequest request, CliConsole console, CancellationToken cancel) => throw Missing("the benchmark");

    private static CliException Missing(string what) => new(ExitCodes.Failure, $"{what} is not part of this build; use a newer panacea");
}
