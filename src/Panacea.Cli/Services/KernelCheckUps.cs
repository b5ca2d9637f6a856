using Panacea.Cli.CommandLine;
using Panacea.Daemon;
using Panacea.Diagnosis.Machine;
using Panacea.Diagnosis.Validators;
using Panacea.Kernel.Image;
using Panacea.Target;

namespace Panacea.Cli.Services;

/// <summary>Checks running guests, which go on running, and dumps.</summary>
internal sealed class KernelCheckUps : ICheckUpService
{
    /// <inheritdoc/>
    public CheckUpReport Check(SourceName source, IReadOnlyList<string> only, string? image, CancellationToken cancel)
    {
        using RepairImage? earlier = image is null ? null : RepairImage.Open(image, StatePaths.Images);
        using IKernelSource kernel = KernelSources.Open(source, cancel);
        return CheckUp.Run(
            new CheckContext(kernel.Image.KernelOver(kernel.Memory), TargetLimits.Default) { IsLive = kernel.Kind != SourceKind.Dump, Pristine = earlier, Cancel = cancel }, only);
    }
}
