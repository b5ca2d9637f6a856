using Panacea.Cli.CommandLine;
using Panacea.Sessions.Dumping;
using Panacea.Target;

namespace Panacea.Cli.Services;

/// <summary>Dumps guests of running QEMUs.</summary>
internal sealed class LiveDumps : IDumpService
{
    /// <inheritdoc/>
    public DumpAnswer Dump(TargetName target, DumpRequest request, Action<DumpProgress> progress, CancellationToken cancel)
    {
        // First of all what can fail without the guest.
        using DumpFile file = DumpFile.Create(request.File, request.Force);
        using GuestKernel kernel = GuestKernel.Open(target, cancel);
        DumpSummary summary = kernel.Hold(
            machine => CoreDump.Write(machine.Image.KernelOver(machine.Memory), machine.Vcpus, request.Level, file, progress, TargetLimits.Default, cancel), cancel);
        file.Complete();
        return new DumpAnswer(DumpRecord.Of(file.Path, summary), kernel.Held);
    }
}
