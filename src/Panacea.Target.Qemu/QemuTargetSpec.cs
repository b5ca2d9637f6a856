using System.Globalization;

namespace Panacea.Target.Qemu;

/// <summary>How a user names a VM: <c>qmp:/path/to/socket</c> or <c>pid:N</c>.</summary>
/// <param name="QmpPath">The QMP socket, or null where the process names the VM.</param>
/// <param name="Pid">QEMU's process id, or 0 where the socket names the VM.</param>
public sealed record QemuTargetSpec(string? QmpPath, int Pid)
{
    /// <summary>Parses a target as typed.</summary>
    /// <exception cref="AttachException"><see cref="AttachFailure.BadTarget"/>: it is neither form.</exception>
    public static QemuTargetSpec Parse(string text)
    {
        if (text.StartsWith("qmp:", StringComparison.Ordinal) && text.Length > 4)
            return new QemuTargetSpec(Path.GetFullPath(text[4..]), 0);
        if (text.StartsWith("pid:", StringComparison.Ordinal)
            && int.TryParse(text.AsSpan(4), NumberStyles.None, CultureInfo.InvariantCulture, out int pid) && pid > 0)
            return new QemuTargetSpec(null, pid);
        throw new AttachException(AttachFailure.BadTarget, $"\"{text}\" names no VM: write qmp:/path/to/socket or pid:N");
    }

    /// <inheritdoc/>
    public override string ToString() => QmpPath != null ? $"qmp:{QmpPath}" : $"pid:{Pid}";
}
