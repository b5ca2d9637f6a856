using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Lab.Guests;
using Panacea.Lab.Setup;
using Panacea.Sessions;
using Panacea.Target;
using Panacea.Target.Qemu;

namespace Panacea.GuestTests.Harness;

/// <summary>What Panacea makes of a running guest that it does not stop.</summary>
internal sealed class KernelView : IDisposable
{
    private const int Attempts = 20;
    private readonly QemuView _view;
    private bool _released;

    private KernelView(QemuView view, RepairImage image)
    {
        _view = view;
        Image = image;
        Kernel = image.KernelOver(view.Memory);
    }

    /// <summary>The repair image.</summary>
    public RepairImage Image { get; }

    /// <summary>The kernel over live memory.</summary>
    public LinuxKernel Kernel { get; }

    /// <summary>Opens a guest. A vCPU that is in user space at this very moment, under page-table isolation, shows no kernel: then again.</summary>
    public static KernelView Open(Guest guest)
    {
        QemuView view = QemuView.Open(QemuTargetSpec.Parse($"qmp:{guest.QmpPath}"));
        try
        {
            for (int attempt = 1; ; attempt++)
            {
                try
                {
                    return new KernelView(view, RepairImageBuilder.Build(view.Memory, ControlRegisters.Read(view.Qmp), LabPaths.CacheDirectory("test-images"), TargetLimits.Default));
                }
                catch (NotLinuxException) when (attempt < Attempts)
                {
                    // Another moment, another address space.
                }
            }
        }
        catch
        {
            view.Dispose();
            throw;
        }
    }

    /// <summary>Reads something that changes under the reader's eyes until it holds together.</summary>
    public static T Settled<T>(Func<T> read)
    {
        for (int attempt = 1; ; attempt++)
        {
            try
            {
                return read();
            }
            catch (Exception e) when (attempt < Attempts && e is GuestMemoryException or KernelShapeException)
            {
                // The list moved.
            }
        }
    }

    /// <summary>Lets go of the guest: its monitor serves one client at a time. The image stays.</summary>
    public void Release()
    {
        if (!_released)
            _view.Dispose();
        _released = true;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Image.Dispose();
        Release();
    }
}
