using Panacea.Target.Qemu.Native;

namespace Panacea.Target.Qemu;

/// <summary>Private directories for sockets and locks: nobody but this user may look into them.</summary>
internal static class RuntimeDirectory
{
    private const uint OwnerOnly = 0x1c0; // rwx------

    /// <summary>Start of the names of per-session directories; <see cref="GdbStub"/> knows its own kind by it.</summary>
    public const string SessionPrefix = "panacea-gdb-";

    /// <summary>This user's lasting directory, made where missing.</summary>
    /// <exception cref="TargetException">It cannot be made, or someone else has made it.</exception>
    public static string ForLocks()
    {
        string? runtime = Environment.GetEnvironmentVariable("XDG_RUNTIME_DIR");
        string path = !string.IsNullOrEmpty(runtime) && Directory.Exists(runtime)
            ? Path.Combine(runtime, "panacea")
            : $"/tmp/panacea-{Libc.GetEffectiveUserId()}";
        if (Libc.MakeDirectory(path, OwnerOnly) != 0 && !Directory.Exists(path))
            throw new TargetException($"cannot make the directory {path}: {Libc.LastError}");

        // Below /tmp anyone could have made it first.
        if (!Libc.TryStat(path, followLinks: false, out Libc.FileIdentity identity) || !identity.IsDirectory
            || identity.UserId != Libc.GetEffectiveUserId() || (identity.Mode & 0x3f) != 0)
            throw new TargetException($"{path} is not this user's private directory: remove it");
        return path;
    }

    /// <summary>A fresh directory for one clone: its sockets, its log, what it writes to disks.</summary>
    public static string ForClone()
    {
        string path = $"/tmp/panacea-clone-{Guid.NewGuid():N}"[..30];
        return Libc.MakeDirectory(path, OwnerOnly) == 0 ? path : throw new TargetException($"cannot make the directory {path}: {Libc.LastError}");
    }

    /// <summary>A fresh directory for one session's gdb socket, which QEMU (running as <paramref name="qemuUser"/>) must be able to write into.</summary>
    public static string ForSession(uint qemuUser, uint qemuGroup)
    {
        uint me = Libc.GetEffectiveUserId();
        string? runtime = Environment.GetEnvironmentVariable("XDG_RUNTIME_DIR");
        string parent = me == qemuUser && !string.IsNullOrEmpty(runtime) && Directory.Exists(runtime) && runtime.Length < 60 ? runtime : "/tmp";
        string path = Path.Combine(parent, $"{SessionPrefix}{Environment.ProcessId}-{Guid.NewGuid():N}"[..(SessionPrefix.Length + 18)]);
        if (Libc.MakeDirectory(path, OwnerOnly) != 0)
            throw new TargetException($"cannot make the directory {path}: {Libc.LastError}");
        if (me != qemuUser && Libc.ChangeOwner(path, qemuUser, qemuGroup) != 0)
        {
            Directory.Delete(path);
            throw new TargetException($"QEMU runs as another user (uid {qemuUser}): run Panacea as that user or as root");
        }

        return path;
    }

    /// <summary>Removes a session's directory and the socket in it; tells nobody where that fails.</summary>
    public static void RemoveSession(string path)
    {
        try
        {
            Directory.Delete(path, recursive: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Left for the next boot's cleaning: nothing depends on it.
        }
    }
}
