using System.Collections.Concurrent;
using Panacea.Diagnosis.Validators;
using Panacea.Kernel.Image;
using Panacea.Target;
using Panacea.TestKit;
using Panacea.TestKit.Linux;

namespace Panacea.Diagnosis.Tests.Validators;

/// <summary>A synthetic guest in which everything holds, with two modules and a process of two threads. All of one line are equal, and so is their image: it is made once.</summary>
internal sealed class CheckedGuest
{
    private static readonly ConcurrentDictionary<KernelShape, RepairImage> Images = new();

    private readonly RepairImage _image;

    public CheckedGuest(KernelShape shape = KernelShape.Linux61)
    {
        Guest = new SyntheticKernel(new SyntheticKernelOptions { Shape = shape });
        Guest.AddTask(322, "helper", Guest.Victim);
        Guest.AddModule("first");
        Guest.AddModule("second");
        Whole = Guest.MakeWhole();
        _image = Images.GetOrAdd(shape, _ => Build(Guest));
    }

    public SyntheticKernel Guest { get; }

    public WholeKernel Whole { get; }

    public CheckContext Context(bool live = false, CancellationToken cancel = default, int most = 5000) =>
        new(_image.KernelOver(Guest.Memory), TargetLimits.Default with { MaxChain = most }) { IsLive = live, Pristine = _image, Cancel = cancel, MaxObjects = Math.Min(most, 5000) };

    private static RepairImage Build(SyntheticKernel guest)
    {
        using var cache = new TemporaryDirectory();
        (ulong cr0, ulong cr3, ulong cr4, ulong efer) = guest.ControlRegisters;
        return RepairImageBuilder.Build(guest.Memory, [new VcpuControlState(cr0, cr3, cr4, efer, guest["idt_table"])], cache.Path, TargetLimits.Default);
    }
}
