using Panacea.Diagnosis;
using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Sessions;

/// <summary>Everything that is made before a crash, so that nothing is made at it: the repair image, the map of its code, the death points.</summary>
internal sealed class ArmedKernel : IDisposable
{
    private readonly TargetLimits _limits;
    private bool _isKept;

    public ArmedKernel(RepairImage image, TargetLimits limits)
    {
        _limits = limits;
        Image = image;
        Capture = new CrashCapture(image, limits);
    }

    public RepairImage Image { get; }

    public CrashCapture Capture { get; }

    public IReadOnlyList<DeathPoint> Points => Image.Meta.DeathPoints;

    public ulong[] Addresses => [.. Points.Select(p => p.Address)];

    /// <summary>Every oops begins here: before a line of it is printed, but for the one that a BUG() and a double fault print (oops_begin, arch/x86/kernel/dumpstack.c); null where the kernel does not tell.</summary>
    public ulong? OopsBegin => Image.TryFindSymbol("oops_begin", out ulong address) ? address : null;

    public DeathPoint? PointAt(ulong address) => Points.FirstOrDefault(p => p.Address == address);

    /// <summary>True when the kernel has finished booting: its text is patched and its per-CPU areas are up (system_state, include/linux/kernel.h).</summary>
    public bool IsUp(IGuestMemory memory)
    {
        LinuxKernel kernel = Image.KernelOver(memory);
        if (!Image.TryFindSymbol("system_state", out ulong address))
            return true;
        if (!kernel.Space.TryReadUInt32(new VirtualAddress(address), out uint state, out _))
            return false;
        long running = Image.Types.Btf is { } btf && btf.TryFindEnumerator("SYSTEM_RUNNING", out long value) ? value : 3;
        return state >= running;
    }

    /// <summary>Changes when modules come or go: the ends of the module list, the newest one's state and which loading of it this is, and the last one unloaded. Null while the guest can't be read.</summary>
    public string? ModuleSignature(IGuestMemory memory)
    {
        try
        {
            LinuxKernel kernel = Image.KernelOver(memory);
            ulong head = kernel.Symbol("modules");
            ulong next = kernel.ReadU64(head, "modules"), previous = kernel.ReadU64(head + 8, "modules");
            ulong newest = next == head ? 0 : unchecked(next - kernel.Offset("module.list"));
            ulong state = newest == 0 ? 0 : kernel.Read(newest, "module.state");

            // One that is unloaded and loaded again comes to stand first, and may lie where it lay.
            ulong load = newest == 0 ? 0 : Modules.LoadId(kernel, newest);
            string gone = Image.TryFindSymbol("last_unloaded_module", out ulong last)
                && kernel.Space.TryReadString(new VirtualAddress(last), 64, out string name, out _) ? name : "";
            return $"{next:x} {previous:x} {state} {load:x} {gone}";
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException or OverflowException)
        {
            return null;
        }
    }

    /// <inheritdoc cref="RepairImageBuilder.LacksModule"/>
    public bool LacksModule(IGuestMemory memory, bool isStill) => RepairImageBuilder.LacksModule(Image, memory, _limits, isStill);

    /// <summary>Goes once through what a crash will need, over the living guest: pages of the image come in, members are looked up, code is paged.
    /// What it finds is thrown away.</summary>
    public void Rehearse(IGuestMemory memory, VcpuRegisters registers)
    {
        try
        {
            CrashEvidence evidence = Capture.Capture(memory, registers, Points[^1]);
            Capture.TouchForReport(evidence);
            Repair.Ladder.Choose(evidence, (_, _) => null, out _);
            new CrashReporter(_limits).Write(evidence);
        }
        catch (Exception)
        {
            // The guest runs meanwhile: what does not fit together now will at a crash.
        }
    }

    /// <summary>Somebody who does not end reads through the image: its mapping must stay for as long as the process does.</summary>
    public void Keep() => _isKept = true;

    public void Dispose()
    {
        if (!_isKept)
            Image.Dispose();
    }
}
