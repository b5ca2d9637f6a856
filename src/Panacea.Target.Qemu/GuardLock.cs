using System.Globalization;
using Microsoft.Win32.SafeHandles;
using Panacea.Target.Qemu.Native;

namespace Panacea.Target.Qemu;

/// <summary>Keeps two guards off one VM: an advisory lock (flock) on a file named after QEMU's pid and start time. It ends with its process.</summary>
internal sealed class GuardLock : IDisposable
{
    private const int ReadWrite = 0x2, Create = 0x40, CloseOnExec = 0x80000, NoFollow = 0x20000;
    private readonly SafeFileHandle _file;
    private readonly string _path;

    private GuardLock(SafeFileHandle file, string path)
    {
        _file = file;
        _path = path;
    }

    /// <summary>The process that guards a VM, as it wrote itself down; null where nobody does.</summary>
    public static string? HolderOf(int pid)
    {
        try
        {
            // Not by File.OpenHandle: it takes a shared flock of its own, which a holder refuses.
            using var file = new SafeFileHandle(Libc.Open(PathFor(pid), CloseOnExec | NoFollow, 0), ownsHandle: true);
            return !file.IsInvalid && Libc.FLock((int)file.DangerousGetHandle(), Libc.LockExclusive | Libc.LockNonBlocking) != 0 ? ReadHolder(file) : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>What is said when a VM is guarded already.</summary>
    public static AttachException Held(int pid, string holder) =>
        new(AttachFailure.AlreadyGuarded, $"this VM (QEMU pid {pid}) is guarded already, by Panacea with pid {holder}");

    /// <exception cref="AttachException"><see cref="AttachFailure.AlreadyGuarded"/>, naming the holder.</exception>
    public static GuardLock Take(int pid)
    {
        string path = PathFor(pid);
        for (int attempt = 0; ; attempt++)
        {
            int fd = Libc.Open(path, ReadWrite | Create | CloseOnExec | NoFollow, 0x180); // rw-------
            if (fd < 0)
                throw new TargetException($"cannot open the lock file {path}: {Libc.LastError}");
            var file = new SafeFileHandle(fd, ownsHandle: true);
            try
            {
                if (Libc.FLock((int)file.DangerousGetHandle(), Libc.LockExclusive | Libc.LockNonBlocking) != 0)
                {
                    throw Held(pid, ReadHolder(file));
                }

                // The one before may have unlinked the file between our open and our lock: then the lock is on nothing.
                if (Libc.TryStat(path, followLinks: false, out Libc.FileIdentity named)
                    && Libc.TryStat($"/proc/self/fd/{file.DangerousGetHandle()}", followLinks: true, out Libc.FileIdentity held) && named.Inode == held.Inode)
                {
                    RandomAccess.SetLength(file, 0);
                    RandomAccess.Write(file, System.Text.Encoding.ASCII.GetBytes(Environment.ProcessId.ToString(CultureInfo.InvariantCulture)), 0);
                    return new GuardLock(file, path);
                }
            }
            catch
            {
                file.Dispose();
                throw;
            }

            file.Dispose();
            if (attempt == 100)
                throw new TargetException($"the lock file {path} keeps vanishing");
        }
    }

    private static string PathFor(int pid) => Path.Combine(RuntimeDirectory.ForLocks(), $"guard-{pid}-{StartTime(pid)}.lock");

    private static string ReadHolder(SafeFileHandle file)
    {
        byte[] text = new byte[20];
        int length = RandomAccess.Read(file, text, 0);
        string holder = System.Text.Encoding.ASCII.GetString(text, 0, length).Trim();
        return holder.Length > 0 ? holder : "unknown";
    }

    public void Dispose()
    {
        if (_file.IsClosed)
            return;
        try
        {
            File.Delete(_path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A stale file holds no lock.
        }

        _file.Dispose();
    }

    /// <summary>Clock ticks after boot at which a process started (proc(5), stat field 22): with the pid it names a process for good.</summary>
    internal static ulong StartTime(int pid)
    {
        try
        {
            string stat = File.ReadAllText($"/proc/{pid}/stat");
            string[] fields = stat[(stat.LastIndexOf(')') + 1)..].Split(' ', StringSplitOptions.RemoveEmptyEntries);
            return ulong.Parse(fields[19], NumberStyles.None, CultureInfo.InvariantCulture);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or FormatException or IndexOutOfRangeException or OverflowException)
        {
            throw new AttachException(AttachFailure.NoSuchProcess, $"QEMU (pid {pid}) is gone", e);
        }
    }
}
