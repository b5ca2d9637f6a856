using Panacea.Cli.CommandLine;
using Panacea.Diagnosis;
using Panacea.Diagnosis.Machine;
using Panacea.Repair;
using Panacea.Target;

namespace Panacea.Cli.Services;

/// <summary>Diagnoses running guests and dumps by the same engine.</summary>
internal sealed class KernelDiagnosis : IDiagnosisService
{
    /// <inheritdoc/>
    public MachineReport Diagnose(SourceName source, CancellationToken cancel)
    {
        using IKernelSource kernel = KernelSources.Open(source, cancel);
        MachineReport report = kernel.Hold(
            machine =>
            {
                (MachineReport said, CrashEvidence? evidence) = new MachineReporter(machine, TargetLimits.Default).Write(source.Text, kernel.Kind, kernel.Description);
                return evidence is null ? said : said with { Recoverability = Recoverability.Judge(evidence) };
            },
            cancel);
        return report with { Missing = [.. kernel.Missing, .. report.Missing] };
    }
}
