using Panacea.Diagnosis.Machine;
using Panacea.Kernel.Image;
using Panacea.Target;

namespace Panacea.Diagnosis.Tests.Machine;

/// <summary>Reports of machines that stand still, as of a dump.</summary>
internal static class StandingReports
{
    public static (MachineReport Report, CrashEvidence? Evidence) Of(RepairImage image, IGuestMemory memory, IReadOnlyList<VcpuRegisters> vcpus, TargetLimits? limits = null)
    {
        var reporter = new MachineReporter(image, limits ?? TargetLimits.Default);
        MachineCapture capture = reporter.Capture(new StandingMachine(image, memory, vcpus), goesOn: false);
        return (reporter.Write(capture, memory, StateMoment.Standing, "vmcore", SourceKind.Dump, "ELF core"), capture.Evidence);
    }
}
