using System.Globalization;
using Panacea.Target.Qemu.Qmp;

namespace Panacea.Target.Qemu;

/// <summary>Where the guard of a VM takes requests: a Unix socket in this user's private directory, named after QEMU's pid and start time. A guard holds QEMU's only QMP connection, so that what is to
/// be asked of the guest has to be asked of its guard.</summary>
public static class GuardSockets
{
    private const string Prefix = "guard-", Suffix = ".sock";

    /// <summary>The socket of the guard of a QEMU.</summary>
    /// <param name="pid">QEMU's process id.</param>
    /// <exception cref="TargetException">The private directory can't be made.</exception>
    public static string PathFor(int pid) => Path.Combine(RuntimeDirectory.ForLocks(), string.Create(CultureInfo.InvariantCulture, $"{Prefix}{pid}-{GuardLock.StartTime(pid)}{Suffix}"));

    /// <summary>The socket of the guard of a VM that is named in either way; null where this user guards no such VM.</summary>
    /// <exception cref="TargetException">The private directory can't be used.</exception>
    public static string? Find(QemuTargetSpec spec)
    {
        foreach (string path in Directory.EnumerateFiles(RuntimeDirectory.ForLocks(), $"{Prefix}*{Suffix}"))
        {
            string[] parts = Path.GetFileName(path)[Prefix.Length..^Suffix.Length].Split('-');
            if (parts.Length == 2 && int.TryParse(parts[0], NumberStyles.None, CultureInfo.InvariantCulture, out int pid) && IsOf(spec, pid) && GuardLock.HolderOf(pid) is not null && PathFor(pid) == path)
                return path;
        }

        return null;
    }

    private static bool IsOf(QemuTargetSpec spec, int pid)
    {
        if (spec.QmpPath is not { } socket)
            return spec.Pid == pid;
        try
        {
            return QmpSocketFinder.Find(pid).Contains(socket);
        }
        catch (AttachException)
        {
            // It has ended, or is of another user.
            return false;
        }
    }
}
