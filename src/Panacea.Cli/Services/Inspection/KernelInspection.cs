using System.Globalization;
using Panacea.Cli.CommandLine;
using Panacea.Diagnosis;
using Panacea.Diagnosis.Machine;
using Panacea.Kernel.Subsystems;
using Panacea.Target;
using LinuxModules = Panacea.Kernel.Subsystems.Modules;

namespace Panacea.Cli.Services.Inspection;

/// <summary>Looks into kernels: those of running guests and those in dumps alike.</summary>
internal sealed class KernelInspections : IInspectionService
{
    /// <inheritdoc/>
    public IInspectionSession Open(SourceName source, CancellationToken cancel) => new Session(KernelSources.Open(source, cancel));

    private sealed class Session(IKernelSource source) : IInspectionSession
    {
        public string Description => source.Kind == SourceKind.Dump ? $"Linux {source.Image.Meta.Release}, {source.Description}" : $"Linux {source.Image.Meta.Release}, a running guest";

        public IReadOnlyList<string> Missing => source.Missing;

        public IInspection Look(CancellationToken cancel) => new Inspection(new KernelLook(source, cancel), source.Kind == SourceKind.Dump ? source.Description : "a running guest");

        public void Dispose() => source.Dispose();
    }

    private sealed class Inspection(KernelLook look, string source) : IInspection
    {
        public ITaskInspection Tasks { get; } = new TaskInspection(look);

        public IStackInspection Stacks { get; } = new StackInspection(look);

        public IKernelInspection Kernel { get; } = new KernelInspection(look, source);

        public ISymbolInspection Symbols { get; } = new SymbolInspection(look);

        public IMemoryInspection Memory { get; } = new MemoryInspection(look);

        public ISchedulingInspection Scheduling { get; } = new SchedulingInspection(look);

        public IResourceInspection Resources { get; } = new ResourceInspection(look);

        public IReadOnlyList<string> Notes => look.Notes;
    }
}

/// <summary>Modules, log, VMCOREINFO and machine of a kernel.</summary>
/// <param name="look">The kernel.</param>
/// <param name="source">What is looked at, in one line.</param>
internal sealed class KernelInspection(KernelLook look, string source) : IKernelInspection
{
    public IReadOnlyList<ModuleRow> Modules() => [.. look.Settled(kernel => LinuxModules.Enumerate(kernel, KernelLook.Limits)).Select(m =>
        new ModuleRow(m.Name, m.Memory.FirstOrDefault(part => part.IsText).Start, unchecked((long)m.Size), StateOf(m), m.Taints == 0 ? "" : Taints.Letters(m.Taints)) { Address = m.Address })];

    public IReadOnlyList<LogRow> Log() => [.. look.Settled(kernel => Printk.Tail(kernel, int.MaxValue, KernelLook.Limits))
        .SelectMany(r => r.Text.Split('\n').Select(line => new LogRow(unchecked((long)r.TimestampNs), r.Level, line)))];

    public string? VmcoreInfo() => look.Image.Meta.VmcoreInfo;

    public SystemAnswer System() => SystemInspection.Read(look, source);

    private static string StateOf(LinuxModule module) => module.State switch
    {
        0 => "live",
        1 => "coming",
        2 => "going",
        3 => "unformed",
        _ => module.State.ToString(CultureInfo.InvariantCulture),
    };
}
