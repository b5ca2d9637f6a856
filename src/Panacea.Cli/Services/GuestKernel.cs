using System.Diagnostics;
using System.Globalization;
using Panacea.Cli.CommandLine;
using Panacea.Daemon;
using Panacea.Diagnosis.Machine;
using Panacea.Kernel.Image;
using Panacea.Sessions;
using Panacea.Target;
using Panacea.Target.Qemu;

namespace Panacea.Cli.Services;

/// <summary>The kernel of a running guest, learned without stopping it.</summary>
internal sealed class GuestKernel : IKernelSource
{
    /// <summary>Attempts before a guest without a kernel is believed: a vCPU may just be in firmware (SMM) or on its way between address spaces.</summary>
    private const int Attempts = 4;

    private static readonly TimeSpan BetweenAttempts = TimeSpan.FromMilliseconds(50);

    private readonly TargetName _target;
    private QemuView? _view;
    private TimeSpan? _held;
    private bool _stood;
    private RepairImage? _stillImage;

    private GuestKernel(TargetName target, QemuView view, RepairImage image) => (_target, _view, Image) = (target, view, image);

    /// <summary>Memory and QMP; opened again where the guest was held since.</summary>
    /// <exception cref="TargetException">QEMU cannot be reached any more.</exception>
    public QemuView View => _view ??= QemuView.Open(_target.Spec);

    /// <inheritdoc/>
    public RepairImage Image { get; }

    /// <inheritdoc/>
    public IGuestMemory Memory => View.Memory;

    /// <inheritdoc/>
    public SourceKind Kind => SourceKind.LiveHeld;

    /// <inheritdoc/>
    public string Description => _held is { } held
        ? string.Create(CultureInfo.InvariantCulture, $"a running guest, held for {held.TotalMilliseconds:0.0} ms while registers, stacks and lists were read")
        : _stood ? "a guest that stood still already" : "a running guest, read while it ran";

    /// <summary>How long the guest was held; null where it was not, or stood already.</summary>
    public TimeSpan? Held => _held;

    /// <inheritdoc/>
    public IReadOnlyList<string> Missing => Image.Meta.Without;

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
                    return new GuestKernel(target, view, RepairImageBuilder.Build(view.Memory, ControlRegisters.Read(view.Qmp), StatePaths.Images, TargetLimits.Default));
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
    public T Hold<T>(Func<StandingMachine, T> work, CancellationToken cancel)
    {
        if (!View.IsRunning())
            return Standing(work);

        // QMP serves one client at a time.
        Close();
        using QemuTarget held = QemuTarget.Attach(_target.Spec);
        cancel.ThrowIfCancellationRequested();
        long since = Stopwatch.GetTimestamp();
        QemuStoppedGuest stopped = held.Stopped ?? held.Stop();
        _stood = stopped.Reason != StopReason.Requested;
        try
        {
            return work(new StandingMachine(StillImage(held.Memory), held.Memory, stopped.ReadAllRegisters()));
        }
        finally
        {
            // One that stands still for another reason (an operator's pause, a panic with -action panic=pause) was so before.
            if (!_stood)
            {
                stopped.Resume();
                _held = Stopwatch.GetElapsedTime(since);
            }
        }
    }

    /// <summary>A guest that stands already, for its operator, at a panic or because a guard died, is left as it stands: nothing is attached to it.</summary>
    private T Standing<T>(Func<StandingMachine, T> work)
    {
        T result = work(new StandingMachine(StillImage(View.Memory), View.Memory, MonitorRegisters.Read(View.Qmp)));
        _stood = true;
        return View.IsRunning() ? throw new TargetException($"{_target.Text}: somebody let the guest go on while it was read; try again") : result;
    }

    /// <summary>What is known of the kernel while it stands still: modules on their way in or out too. One that hangs or dies in its init function is such a module.</summary>
    private RepairImage StillImage(IGuestMemory memory)
    {
        if (!RepairImageBuilder.LacksModule(Image, memory, TargetLimits.Default, isStill: true))
            return Image;
        _stillImage?.Dispose();
        return _stillImage = RepairImageBuilder.Refresh(Image, memory, StatePaths.Images, TargetLimits.Default, isStill: true);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Close();
        _stillImage?.Dispose();
        Image.Dispose();
    }

    /// <summary>Lets go of QEMU, which serves one QMP client at a time; it is reached anew where it is needed.</summary>
    public void Close()
    {
        _view?.Dispose();
        _view = null;
    }
}
