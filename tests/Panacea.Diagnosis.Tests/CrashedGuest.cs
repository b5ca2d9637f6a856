using Panacea.Kernel.Image;
using Panacea.Target;
using Panacea.TestKit;
using Panacea.TestKit.Linux;

namespace Panacea.Diagnosis.Tests;

/// <summary>A synthetic kernel that stands at a death point, with the evidence read from it and the report written from the evidence alone.</summary>
internal sealed class CrashedGuest : IDisposable
{
    private readonly TemporaryDirectory _cache = new();

    public CrashedGuest(CrashSpec spec, SyntheticKernelOptions? options = null, Func<SyntheticKernel, SyntheticTask>? task = null, Action<SyntheticKernel, SyntheticCrash>? then = null, Func<VcpuRegisters, VcpuRegisters>? vcpu = null)
    {
        Guest = new SyntheticKernel(options);
        (ulong cr0, ulong cr3, ulong cr4, ulong efer) = Guest.ControlRegisters;
        Image = RepairImageBuilder.Build(Guest.Memory, [new VcpuControlState(cr0, cr3, cr4, efer, 0)], _cache.Path, TargetLimits.Default);
        Crash = Guest.Crash(spec, task?.Invoke(Guest));
        then?.Invoke(Guest, Crash);
        var capture = new CrashCapture(Image, TargetLimits.Default);
        Evidence = capture.Capture(Guest.Memory, vcpu?.Invoke(Crash.Vcpu) ?? Crash.Vcpu, Image.Meta.DeathPoints.First(p => p.Address == Crash.Vcpu.Rip));
        capture.TouchForReport(Evidence);
        Evidence.Memory.Seal();
        (Report, Console) = new CrashReporter(TargetLimits.Default).Write(Evidence);
    }

    public SyntheticKernel Guest { get; }

    public RepairImage Image { get; }

    public SyntheticCrash Crash { get; }

    public CrashEvidence Evidence { get; }

    public CrashReport Report { get; }

    public IReadOnlyList<ConsoleLine> Console { get; }

    public static CrashSpec Spec(string function, ulong rax = 0, string entry = "asm_exc_page_fault") =>
        new() { Function = function, Entry = entry, Registers = new Dictionary<Gpr, ulong> { [Gpr.Rax] = rax } };

    public void Dispose()
    {
        Image.Dispose();
        _cache.Dispose();
    }
}
