using System.Globalization;
using System.Text;
using Panacea.Cli.CommandLine;
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

        public IInspection Look(CancellationToken cancel) => new Inspection(new KernelLook(source, cancel));

        public void Dispose() => source.Dispose();
    }

    private sealed class Inspection(KernelLook look) : IInspection
    {
        public ITaskInspection Tasks { get; } = new TaskInspection(look);

        public IStackInspection Stacks { get; } = new StackInspection(look);

        public IKernelInspection Kernel { get; } = new KernelInspection(look);

        public ISymbolInspection Symbols { get; } = new SymbolInspection(look);

        public IMemoryInspection Memory { get; } = new MemoryInspection(look);

        public ISchedulingInspection Scheduling { get; } = new SchedulingInspection(look);

        public IResourceInspection Resources { get; } = new ResourceInspection(look);

        public IReadOnlyList<string> Notes => look.Notes;
    }
}

/// <summary>Modules, log and VMCOREINFO of a kernel.</summary>
internal sealed class KernelInspection(KernelLook look) : IKernelInspection
{
    public IReadOnlyList<ModuleRow> Modules() => [.. look.Settled(kernel => LinuxModules.Enumerate(kernel, KernelLook.Limits)).Select(m =>
        new ModuleRow(m.Name, m.Memory.FirstOrDefault(part => part.IsText).Start, unchecked((long)m.Size), StateOf(m), Taints(m.Taints)) { Address = m.Address })];

    public IReadOnlyList<LogRow> Log() => [.. look.Settled(kernel => Printk.Tail(kernel, int.MaxValue, KernelLook.Limits))
        .SelectMany(r => r.Text.Split('\n').Select(line => new LogRow(unchecked((long)r.TimestampNs), r.Level, line)))];

    public string? VmcoreInfo() => look.Image.Meta.VmcoreInfo;

    private static string StateOf(LinuxModule module) => module.State switch
    {
        0 => "live",
        1 => "coming",
        2 => "going",
        3 => "unformed",
        _ => module.State.ToString(CultureInfo.InvariantCulture),
    };

    /// <summary>Letters of the taint bits that a module can bring (kernel/panic.c, taint_flags).</summary>
    private static string Taints(ulong bits)
    {
        const string Letters = "PFSRMBUDAWCIOELKXTN";
        var text = new StringBuilder();
        for (int bit = 0; bit < Letters.Length; bit++)
        {
            if ((bits >> bit & 1) != 0)
                text.Append(Letters[bit]);
        }

        return text.ToString();
    }
}
