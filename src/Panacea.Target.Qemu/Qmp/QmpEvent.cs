using System.Text.Json;

namespace Panacea.Target.Qemu.Qmp;

/// <summary>One asynchronous QMP event.</summary>
/// <param name="Name">QEMU's name for it: STOP, RESUME, RESET, SHUTDOWN, GUEST_PANICKED, …</param>
/// <param name="TimestampUs">QEMU's own wall-clock time of the event in microseconds since the Unix epoch; 0 where it sent none.</param>
/// <param name="Data">The event's data, or an undefined element where it has none.</param>
public sealed record QmpEvent(string Name, long TimestampUs, JsonElement Data);

/// <summary>QEMU's version, from the QMP greeting.</summary>
/// <param name="Major">Major.</param>
/// <param name="Minor">Minor.</param>
/// <param name="Micro">Micro.</param>
/// <param name="Package">The packager's suffix, may be empty.</param>
public sealed record QemuVersion(int Major, int Minor, int Micro, string Package)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Major}.{Minor}.{Micro}";
}

/// <summary>Limits and patience of one QMP connection.</summary>
public sealed record QmpOptions
{
    /// <summary>How long to wait for the connection and QEMU's greeting.</summary>
    public TimeSpan GreetingTimeout { get; init; } = TimeSpan.FromSeconds(3);

    /// <summary>How long to wait for the answer to a command that names no other time.</summary>
    public TimeSpan CommandTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Longest message taken from QEMU, bytes. <c>info mtree -f</c> of a large VM is some hundred kilobytes.</summary>
    public int MaxMessageBytes { get; init; } = 16 << 20;
}
