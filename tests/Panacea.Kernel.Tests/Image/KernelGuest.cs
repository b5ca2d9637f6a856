using Panacea.Kernel.Image;
using Panacea.Target;
using Panacea.TestKit;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests.Image;

/// <summary>A synthetic kernel with its repair image.</summary>
internal sealed class KernelGuest : IDisposable
{
    private readonly TemporaryDirectory _cache = new();

    public KernelGuest(SyntheticKernelOptions? options = null, Action<SyntheticKernel>? prepare = null)
    {
        Guest = new SyntheticKernel(options);
        prepare?.Invoke(Guest);
        Guest.Link();
        Image = Build(Guest, _cache.Path);
        Kernel = Image.KernelOver(Guest.Memory);
    }

    public SyntheticKernel Guest { get; }

    public RepairImage Image { get; }

    public LinuxKernel Kernel { get; }

    /// <summary>6.1 and 6.12, 4 and 5 levels.</summary>
    public static TheoryData<KernelShape, int> Shapes => new()
    {
        { KernelShape.Linux61, 4 }, { KernelShape.Linux612, 4 }, { KernelShape.Linux61, 5 }, { KernelShape.Linux612, 5 },
    };

    public static TheoryData<KernelShape> Lines => [KernelShape.Linux61, KernelShape.Linux612];

    public static VcpuControlState ControlState(SyntheticKernel guest) => new(
        guest.ControlRegisters.Cr0, guest.ControlRegisters.Cr3, guest.ControlRegisters.Cr4, guest.ControlRegisters.Efer, guest["idt_table"]);

    public static RepairImage Build(SyntheticKernel guest, string cache, IGuestMemory? memory = null, TargetLimits? limits = null) =>
        RepairImageBuilder.Build(memory ?? guest.Memory, [ControlState(guest)], cache, limits ?? TargetLimits.Default);

    public void Dispose()
    {
        Image.Dispose();
        _cache.Dispose();
    }
}
