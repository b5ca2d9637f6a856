using System.Globalization;
using System.Text.Json;
using Microsoft.Win32.SafeHandles;
using Panacea.Target.Qemu.Native;
using Panacea.Target.Qemu.Qmp;

namespace Panacea.Target.Qemu.Clone;

/// <summary>
/// The state of a standing VM's CPUs and devices, without its memory, in a file that has no name. QEMU writes it in some milliseconds, and the VM is as it was afterwards (migration/savevm.c: xen-save-devices-state,
/// which is in every build; <c>migrate</c> would leave the VM in a state of which only <c>cont</c> leads out, with its disks let go of).
/// </summary>
public sealed class DeviceState : IDisposable
{
    private const uint CloseOnExec = 1;
    private const int WriteOnly = 1, ReadOnly = 0, CloseOnExecFlag = 0x80000;

    private readonly SafeFileHandle _file;

    private DeviceState(SafeFileHandle file) => _file = file;

    /// <summary>Bytes.</summary>
    public long Length => RandomAccess.GetLength(_file);

    /// <summary>Saves the state of a VM that stands.</summary>
    /// <exception cref="CloneException">QEMU can't save it; says why.</exception>
    /// <exception cref="TargetException">QEMU does not answer.</exception>
    public static DeviceState Save(QmpClient qmp)
    {
        var file = new SafeFileHandle(Libc.MemoryFile("panacea-devices", CloseOnExec), ownsHandle: true);
        if (file.IsInvalid)
            throw new CloneException($"no memory for a VM's state: {Libc.LastError}");
        long? set = null;
        try
        {
            // QEMU takes it only for what it was opened for, and no more (util/osdep.c, qemu_dup_flags; monitor/fds.c).
            using SafeFileHandle writer = Reopen(file, WriteOnly);
            set = QmpJson.Integer(qmp.ExecuteWith((int)writer.DangerousGetHandle(), "add-fd"), "fdset-id");
            string path = string.Create(CultureInfo.InvariantCulture, $"/dev/fdset/{set ?? throw new CloneException("QEMU takes no file for the state of the VM's devices")}");
            qmp.Execute("xen-save-devices-state", json =>
            {
                json.WriteString("filename", path);

                // Else the disks would be let go of.
                json.WriteBoolean("live", false);
            });
            return new DeviceState(file);
        }
        catch (QmpCommandException e)
        {
            file.Dispose();
            throw new CloneException($"QEMU can't save the state of the VM's devices: {e.Message}", e);
        }
        catch
        {
            file.Dispose();
            throw;
        }
        finally
        {
            if (set is { } id)
                Forget(qmp, id);
        }
    }

    /// <summary>Lets a clone that waits for its state have it.</summary>
    internal void SendTo(QmpClient clone)
    {
        using SafeFileHandle reader = Reopen(_file, ReadOnly);
        clone.ExecuteWith((int)reader.DangerousGetHandle(), "getfd", json => json.WriteString("fdname", "devices"));
        clone.Execute("migrate-incoming", json => json.WriteString("uri", "fd:devices"));
    }

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();

    /// <summary>With an offset of its own.</summary>
    private static SafeFileHandle Reopen(SafeFileHandle file, int access)
    {
        var again = new SafeFileHandle(Libc.Open($"/proc/self/fd/{(int)file.DangerousGetHandle()}", access | CloseOnExecFlag, 0), ownsHandle: true);
        return again.IsInvalid ? throw new CloneException($"a VM's state can't be opened: {Libc.LastError}") : again;
    }

    private static void Forget(QmpClient qmp, long set)
    {
        try
        {
            qmp.Execute("remove-fd", json => json.WriteNumber("fdset-id", set));
        }
        catch (TargetException)
        {
            // QEMU keeps an empty file open for as long as it runs: nothing depends on it.
        }
    }
}
