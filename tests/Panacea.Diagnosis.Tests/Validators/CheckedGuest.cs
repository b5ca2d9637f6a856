using Panacea.Diagnosis.Validators;
using Panacea.Kernel.Image;
using Panacea.Target;
using Panacea.TestKit;
using Panacea.TestKit.Linux;

namespace Panacea.Diagnosis.Tests.Validators;

/// <summary>A synthetic guest in which everything holds, with two modules.</summary>
internal sealed class CheckedGuest : IDisposable
{
    private readonly TemporaryDirectory _cache = new();

    public CheckedGuest(KernelShape shape = KernelShape.Linux61)
    {
        Guest = new SyntheticKernel(new SyntheticKernelOptions { Shape = shape });
        Guest.AddTask(322, "helper", Guest.Victim);
        Guest.AddModule("first");
        Guest.AddModule("second");
        Whole = Guest.MakeWhole();
        (ulong cr0, ulong cr3, ulong cr4, ulong efer) = Guest.ControlRegisters;
        Image = RepairImageBuilder.Build(Guest.Memory, [new VcpuControlState(cr0, cr3, cr4, efer, Guest["idt_table"])], _cache.Path, TargetLimits.Default);
    }

    public SyntheticKernel Guest { get; }

    public WholeKernel Whole { get; }

    public RepairImage Image { get; }

    public CheckContext Context(bool live = false, IGuestMemory? memory = null, CancellationToken cancel = default) =>
        new(Image.KernelOver(memory ?? Guest.Memory), TargetLimits.Default with { MaxChain = 5000 }) { IsLive = live, Pristine = Image, Cancel = cancel };

    public void Dispose()
    {
        Image.Dispose();
        _cache.Dispose();
    }
}
