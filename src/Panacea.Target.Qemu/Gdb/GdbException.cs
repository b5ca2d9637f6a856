namespace Panacea.Target.Qemu.Gdb;

/// <summary>The gdb stub refused, did not answer in time, went out of protocol, or is gone.</summary>
/// <param name="message">One sentence for a person.</param>
/// <param name="kind">Which of these.</param>
public sealed class GdbException(string message, GdbFailure kind) : TargetException(message)
{
    /// <summary>Which kind of failure.</summary>
    public GdbFailure Kind { get; } = kind;
}

/// <summary>How a conversation with a gdb stub can fail.</summary>
public enum GdbFailure
{
    /// <summary>The stub answered a command with an error or does not know it; the connection is of further use.</summary>
    Refused,

    /// <summary>No answer in time; the connection is of no further use.</summary>
    Timeout,

    /// <summary>A stop that was asked for has not come in time: QEMU is suspended, or busy. The connection is of further use, and the stop, which will come, answers the next wait.</summary>
    Late,

    /// <summary>Bad framing, repeated bad checksums, oversize packets; the connection is of no further use.</summary>
    Protocol,

    /// <summary>The stub closed the connection.</summary>
    Closed,
}
