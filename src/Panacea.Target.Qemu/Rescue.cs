using Panacea.Target.Qemu.Gdb;
using Panacea.Target.Qemu.Qmp;

namespace Panacea.Target.Qemu;

/// <summary>Frees a VM that a dead guard left behind: with its breakpoints armed, or stopped at one with nobody to resume it.</summary>
public static class Rescue
{
    /// <summary>Removes stale breakpoints and resumes the guest where it stands in state <c>debug</c>. A guest that an operator paused stays paused.</summary>
    /// <param name="qmpPath">The QMP socket.</param>
    /// <param name="options">Patience.</param>
    /// <returns>QEMU's run state afterwards.</returns>
    /// <exception cref="TargetException">QEMU cannot be reached, or another debugger is connected to its stub.</exception>
    public static QemuRunState Free(string qmpPath, QemuAttachOptions? options = null)
    {
        options ??= new QemuAttachOptions();
        using QmpClient qmp = QmpClient.Connect(qmpPath, options.Qmp);
        QemuRunState before = QemuTarget.QueryRunState(qmp);
        int pid = QemuAttacher.FindPid(qmp);
        _ = GdbStub.FindFree(qmp, pid); // Another debugger's stop is not ours to end.
        ClearAndResume(qmp, pid, options.Gdb, resume: before.IsRunning || before.IsDebug);
        return QemuTarget.QueryRunState(qmp);
    }

    /// <summary>Through a fresh stub connection: clears all breakpoints, closes a stub that Panacea opened; then sees to it that the guest runs.</summary>
    internal static void ClearAndResume(QmpClient qmp, int pid, GdbOptions options, bool resume)
    {
        try
        {
            if (GdbStub.FindFree(qmp, pid) is { } stub)
            {
                using (GdbClient gdb = GdbClient.Connect(stub.EndPoint, options))
                {
                    gdb.Handshake();
                    if (resume)
                        gdb.Detach([]);
                }

                stub.Close(qmp);
            }
        }
        catch (TargetException) when (resume)
        {
            // Breakpoints may be left, but a guest that stands still is worse.
        }

        if (resume && QemuTarget.QueryRunState(qmp) is { IsRunning: false, NeedsReset: false })
            qmp.Execute("cont");
    }
}
