using System.Text.Json;
using Microsoft.Win32.SafeHandles;
using Panacea.Target.Qemu.Native;
using Panacea.Target.Qemu.Qmp;

namespace Panacea.Target.Qemu;

/// <summary>The files behind a guest's disks.</summary>
internal static class HostDisks
{
    private const int ReadOnlyCloseOnExec = 0x80000;

    /// <summary>Writes out what the host still holds back of the guest's disks, while the guest runs. QEMU flushes all disks in every stop (softmmu/cpus.c, do_vm_stop: bdrv_flush_all), with the
    /// guest standing still: what has been written out before takes no time there.</summary>
    /// <remarks>Best effort: a disk that is no local file, or that can't be opened, is left out.</remarks>
    public static void Flush(QmpClient qmp, int pid)
    {
        foreach (JsonElement device in QmpJson.Elements(qmp.Execute("query-block")))
        {
            if (!device.TryGetProperty("inserted", out JsonElement inserted) || QmpJson.Text(inserted, "file") is not { } file || !file.StartsWith('/')
                || QmpJson.Flag(inserted, "ro") == true)
                continue;
            try
            {
                // QEMU may live in a file system of its own.
                string path = $"/proc/{pid}/root{file}";
                if (!File.Exists(path))
                    continue;

                // Not by File.OpenHandle: it takes a flock of its own, which is nobody's business on a guest's disk.
                using var handle = new SafeFileHandle(Libc.Open(path, ReadOnlyCloseOnExec, 0), ownsHandle: true);
                if (!handle.IsInvalid)
                    RandomAccess.FlushToDisk(handle);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException)
            {
                // QEMU will do it.
            }
        }
    }
}
