namespace Panacea.Target.Qemu.Qmp;

/// <summary>QEMU answered a command with an error.</summary>
/// <param name="command">The command.</param>
/// <param name="errorClass">QMP's error class: <c>GenericError</c>, <c>CommandNotFound</c>, … (QEMU docs/interop/qmp-spec).</param>
/// <param name="description">QEMU's own words.</param>
public sealed class QmpCommandException(string command, string errorClass, string description)
    : TargetException($"QEMU refused {command}: {description}")
{
    /// <summary>QMP's error class.</summary>
    public string ErrorClass { get; } = errorClass;

    /// <summary>QEMU's own words.</summary>
    public string Description { get; } = description;

    /// <summary>This QEMU does not know the command.</summary>
    public bool IsUnknownCommand => ErrorClass == "CommandNotFound";
}

/// <summary>The QMP connection does not work: closed, out of protocol, or silent for too long.</summary>
/// <param name="message">One sentence for a person.</param>
/// <param name="isTimeout">QEMU did not answer in time (the connection may still be there).</param>
public sealed class QmpConnectionException(string message, bool isTimeout = false) : TargetException(message)
{
    /// <summary>Process at the other end of the socket, 0 where it is not known.</summary>
    public int PeerPid { get; init; }

    /// <summary>QEMU did not answer in time.</summary>
    public bool IsTimeout { get; } = isTimeout;
}
