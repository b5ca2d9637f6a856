using Panacea.Cli.CommandLine;
using Panacea.Target.Qemu;
using Panacea.Target.Qemu.Clone;

namespace Panacea.Cli.Services;

/// <summary>Copies VMs of running QEMUs.</summary>
internal sealed class LiveClones : ICloneService
{
    /// <inheritdoc/>
    public IClonedVm Clone(TargetName target, bool run) => new Cloned(LiveCopy.Of(QemuTargetSpec.Parse(target.Text), run));

    private sealed class Cloned(LiveCopy copy) : IClonedVm
    {
        public CloneAnswer Answer { get; } = new(
            copy.Clone.Pid, copy.Clone.QmpPath, Path.Combine(copy.Clone.Directory, "gdb"),
            [.. Directory.EnumerateFiles(copy.Clone.Directory, "*.sock").Order(StringComparer.Ordinal)], copy.MemoryBytes, copy.Stopped is { } stopped ? (long)stopped.TotalMicroseconds : null);

        public bool HasEnded => copy.Clone.HasEnded;

        public void Dispose() => copy.Dispose();
    }
}
