using Panacea.Target.Qemu.HostMemory;
using Panacea.Target.Qemu.Qmp;

namespace Panacea.Target.Qemu;

/// <summary>A live guest to look at: its memory and QMP, no more. Takes no lock and opens no gdb stub, so the guest is never stopped.</summary>
public sealed class QemuView : IDisposable
{
    private readonly VcpuThreads _threads;

    internal QemuView(QmpClient qmp, int pid, QemuMemory memory) => (Qmp, Pid, Memory, _threads) = (qmp, pid, memory, new VcpuThreads(pid, qmp));

    /// <summary>The QMP connection.</summary>
    public QmpClient Qmp { get; }

    /// <summary>QEMU's process id.</summary>
    public int Pid { get; }

    /// <summary>The guest's physical memory, live.</summary>
    public QemuMemory Memory { get; }

    /// <summary>Opens a view.</summary>
    /// <exception cref="AttachException">With the reason.</exception>
    public static QemuView Open(QemuTargetSpec spec, QemuAttachOptions? options = null) => QemuAttacher.View(spec, options ?? new QemuAttachOptions());

    /// <inheritdoc cref="VcpuThreads.Times"/>
    public IReadOnlyList<TimeSpan>? VcpuTimes() => _threads.Times();

    /// <summary>The guest runs now; else it stands, whoever stopped it.</summary>
    /// <exception cref="TargetException">QEMU does not answer.</exception>
    public bool IsRunning() => QemuTarget.QueryRunState(Qmp).IsRunning;

    /// <inheritdoc/>
    public void Dispose()
    {
        Qmp.Dispose();
        Memory.Dispose();
    }
}
