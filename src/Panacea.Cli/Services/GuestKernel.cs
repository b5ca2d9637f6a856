using Panacea.Cli.CommandLine;
using Panacea.Daemon;
using Panacea.Kernel.Image;
using Panacea.Sessions;
using Panacea.Target;
using Panacea.Target.Qemu;

namespace Panacea.Cli.Services;

/// <summary>The kernel of a running guest, learned without stopping it.</summary>
internal sealed class GuestKernel : IDisposable
{
    /// <summary>Attempts before a guest without a kernel is believed: a vCPU may just be in firmware (SMM) or on its way between address spaces.</summary>
    private const int Attempts = 4;

    private static readonly TimeSpan BetweenAttempts = TimeSpan.FromMilliseconds(50);

    private GuestKernel(QemuView view, RepairImage image) => (View, Image) = (view, image);

    /// <summary>Memory and QMP.</summary>
    public QemuView View { get; }

    /// <summary>What was learned.</summary>
    public RepairImage Image { get; }

    /// <summary>Reads the guest.</summary>
    /// <exception cref="TargetException">QEMU cannot be reached.</exception>
    /// <exception cref="NotLinuxException">There is no Linux kernel in it.</exception>
    public static GuestKernel Open(TargetName target, CancellationToken cancel)
    {
        QemuView view = QemuView.Open(target.Spec);
        try
        {
            for (int attempt = 1; ; attempt++)
            {
                cancel.ThrowIfCancellationRequested();
                try
                {
                    return new GuestKernel(view, RepairImageBuilder.Build(view.Memory, ControlRegisters.Read(view.Qmp), StatePaths.Images, TargetLimits.Default));
                }
                catch (NotLinuxException) when (attempt < Attempts)
                {
                    cancel.WaitHandle.WaitOne(BetweenAttempts);
                }
            }
        }
        catch
        {
            view.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Image.Dispose();
        View.Dispose();
    }
}
