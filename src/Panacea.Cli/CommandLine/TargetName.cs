using System.Globalization;
using System.Text;
using Panacea.Diagnosis.Rendering;
using Panacea.Target.Qemu;

namespace Panacea.Cli.CommandLine;

/// <summary>A running VM as the user named it: <c>qmp:/path/to/socket</c> or <c>pid:N</c>.</summary>
/// <param name="Text">The VM's name in events and records: as it was written, with the full path of the socket.</param>
/// <param name="Socket">Path of the QMP socket, or null.</param>
/// <param name="Pid">QEMU's process id, or null.</param>
internal sealed record TargetName(string Text, string? Socket, int? Pid)
{
    /// <summary>As the hypervisor's room names it.</summary>
    public QemuTargetSpec Spec => new(Socket, Pid ?? 0);

    // sun_path of struct sockaddr_un, include/uapi/linux/un.h, with its NUL.
    private const int MaxSocketPathBytes = 107;

    /// <summary>Reads a target; looks at nothing but the text, except to suggest what was meant.</summary>
    /// <param name="text">What the user wrote.</param>
    /// <param name="target">The target.</param>
    /// <param name="error">What is wrong with it and what to write instead.</param>
    public static bool TryParse(string text, out TargetName? target, out string? error)
    {
        (target, error) = (null, null);
        if (text.StartsWith("qmp:", StringComparison.Ordinal))
            return TrySocket(text[4..], out target, out error);
        if (text.StartsWith("pid:", StringComparison.Ordinal))
            return TryPid(text[4..], out target, out error);

        string shown = Safe.Text(text, 256);
        error = int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int pid) && pid > 0
            ? $"'{shown}' is not a target; for the QEMU of process id {pid} write pid:{pid}"
            : text.Contains('/', StringComparison.Ordinal) || File.Exists(text)
                ? $"'{shown}' is not a target; for a QMP socket at that path write qmp:{shown}"
                : $"'{shown}' is not a target; write qmp:/path/to/socket for a QMP socket or pid:N for a QEMU process";
        return false;
    }

    private static bool TrySocket(string path, out TargetName? target, out string? error)
    {
        (target, error) = (null, null);
        if (path.Length == 0)
        {
            error = "'qmp:' lacks the path of the QMP socket; write qmp:/path/to/socket";
            return false;
        }

        string full = Path.GetFullPath(path.StartsWith("~/", StringComparison.Ordinal)
            ? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), path[2..])
            : path);
        if (Encoding.UTF8.GetByteCount(full) > MaxSocketPathBytes)
        {
            error = $"the socket path is longer than {MaxSocketPathBytes} bytes, which Linux does not allow; use a shorter path or a symbolic link";
            return false;
        }

        target = new TargetName($"qmp:{full}", full, null);
        return true;
    }

    private static bool TryPid(string number, out TargetName? target, out string? error)
    {
        (target, error) = (null, null);
        if (int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out int pid) && pid > 0)
        {
            target = new TargetName($"pid:{pid}", null, pid);
            return true;
        }

        error = $"'{Safe.Text(number, 64)}' is not a process id; write pid:N with the id of a running QEMU process";
        return false;
    }
}
