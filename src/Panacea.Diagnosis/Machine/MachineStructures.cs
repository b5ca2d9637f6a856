using Panacea.Diagnosis.Validators;

namespace Panacea.Diagnosis.Machine;

/// <summary>Adds to the report of a machine what of the kernel's structures is broken.</summary>
public static class MachineStructures
{
    /// <summary>The report with a check-up of the same kernel.</summary>
    public static MachineReport With(this MachineReport report, StructureReport structures)
    {
        // A lock whose owner is gone is told already, with those who wait.
        bool told = report.Findings.Any(f => f.Id == "locks.owner-gone");
        return report with
        {
            Structures = structures.Checks,
            Findings = [.. report.Findings, .. structures.Findings.Where(f => !(told && f.Id == "check.locks.owner-gone"))],
            Missing = [.. report.Missing, .. structures.NotChecked.Select(n => $"structures not checked: {n}")],
        };
    }
}
