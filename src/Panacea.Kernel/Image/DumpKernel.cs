using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Kernel.Image;

/// <summary>The kernel in a dump: what is known of it, over the dump's memory.</summary>
public sealed class DumpKernel : IDisposable
{
    private readonly IGuestCapture _capture;
    private readonly CrashNotes _notes;

    private DumpKernel(IGuestCapture capture, RepairImage image)
    {
        _capture = capture;
        Image = image;
        Kernel = image.KernelOver(capture.Memory);
        _notes = CrashNotes.Read(Kernel, capture.Vcpus);
    }

    /// <summary>Symbols, types, unwind rows, code. <see cref="ImageMeta.Without"/> says what the dump lacks of them.</summary>
    public RepairImage Image { get; }

    /// <summary>The kernel as it was.</summary>
    public LinuxKernel Kernel { get; }

    /// <summary>Guest-physical memory as it was.</summary>
    public IGuestMemory Memory => _capture.Memory;

    /// <summary>Registers of the CPUs, as far as the dump has them; those that a crash kernel's notes hold with their CPU's number.</summary>
    public IReadOnlyList<VcpuRegisters> Vcpus => _notes.Vcpus;

    /// <summary>What the dump lacks, and what the kernel in it lacks, in sentences.</summary>
    public IReadOnlyList<string> Missing => [.. _capture.Missing, .. Image.Meta.Without, .. _notes.Missing];

    /// <summary>Finds and understands the kernel in a dump.</summary>
    /// <param name="capture">The dump; stays the caller's, and has to outlive the result.</param>
    /// <param name="limits">Ceilings.</param>
    /// <exception cref="NotLinuxException">No Linux kernel can be found in it, or what is needed to understand it was left out.</exception>
    public static DumpKernel Open(IGuestCapture capture, TargetLimits limits) =>
        new(capture, RepairImageBuilder.Build(capture, limits));

    /// <inheritdoc/>
    public void Dispose() => Image.Dispose();
}
