using Panacea.Diagnosis;
using Panacea.Kernel.Image;
using Panacea.Target;
using Panacea.TestKit;
using Panacea.TestKit.Linux;

namespace Panacea.Repair.Tests;

/// <summary>A synthetic kernel that stands at a death point, with the evidence read from it.</summary>
internal sealed class CrashedGuest : IDisposable
{
    private readonly TemporaryDirectory _cache = new();

    public CrashedGuest(CrashSpec spec, SyntheticKernelOptions? options = null, Func<SyntheticKernel, SyntheticTask>? task = null, Func<SyntheticKernel, SyntheticModule>? module = null, Func<SyntheticKernel, ulong>? trapTable = null)
    {
        Guest = new SyntheticKernel(options);
        SyntheticModule? made = module?.Invoke(Guest);
        Guest.Link();
        (ulong cr0, ulong cr3, ulong cr4, ulong efer) = Guest.ControlRegisters;
        Image = RepairImageBuilder.Build(Guest.Memory, [new VcpuControlState(cr0, cr3, cr4, efer, trapTable?.Invoke(Guest) ?? 0)], _cache.Path, TargetLimits.Default);
        Crash = Guest.Crash(spec with { Module = made }, task?.Invoke(Guest));
        Point = Image.Meta.DeathPoints.First(p => p.Address == Crash.Vcpu.Rip);
        Evidence = new CrashCapture(Image, TargetLimits.Default).Capture(Guest.Memory, Crash.Vcpu, Point);
    }

    public SyntheticKernel Guest { get; }

    public RepairImage Image { get; }

    public SyntheticCrash Crash { get; }

    public DeathPoint Point { get; }

    public CrashEvidence Evidence { get; }

    public static TheoryData<KernelShape> Lines => [KernelShape.Linux61, KernelShape.Linux612];

    public ScriptedGuest Stopped() => new(Guest.Memory, Crash.Vcpu);

    public void Dispose()
    {
        Image.Dispose();
        _cache.Dispose();
    }
}
