using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Target;
using Panacea.TestKit;
using Panacea.TestKit.Linux;

namespace Panacea.Injection.Tests;

/// <summary>A synthetic kernel, and what chooses faults for it.</summary>
internal sealed class InjectedGuest : IDisposable
{
    private readonly TemporaryDirectory _cache = new();

    public InjectedGuest(SyntheticKernelOptions? options = null, Action<SyntheticKernel>? prepare = null)
    {
        Guest = new SyntheticKernel(options);
        prepare?.Invoke(Guest);
        Guest.Link();
        (ulong cr0, ulong cr3, ulong cr4, ulong efer) = Guest.ControlRegisters;
        Image = RepairImageBuilder.Build(Guest.Memory, [new VcpuControlState(cr0, cr3, cr4, efer, 0)], _cache.Path, TargetLimits.Default);
        Planner = new FaultPlanner(Kernel, new CodeMap(Image), TargetLimits.Default);
    }

    public SyntheticKernel Guest { get; }

    public RepairImage Image { get; }

    public FaultPlanner Planner { get; }

    public LinuxKernel Kernel => Image.KernelOver(Guest.Memory);

    public NamedFunction Function(string name) => new(name, null, Guest[name]);

    public FaultPlan? Plan(FaultType type, ulong seed, out string whyNot, params string[] functions) =>
        Planner.TryPlan(type, seed, [.. functions.Select(Function)], [], out FaultPlan plan, out whyNot) ? plan : null;

    public void Dispose()
    {
        Image.Dispose();
        _cache.Dispose();
    }
}
