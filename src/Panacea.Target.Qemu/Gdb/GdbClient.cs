using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;
using Panacea.Target.Qemu.Native;

namespace Panacea.Target.Qemu.Gdb;

/// <summary>Limits and patience of one gdb connection.</summary>
public sealed record GdbOptions
{
    /// <summary>How long to wait for the answer to a command. The guest stands still meanwhile.</summary>
    public TimeSpan CommandTimeout { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>Longest packet taken from the stub, bytes. A <c>g</c> packet of QEMU has about 1300.</summary>
    public int MaxPacketBytes { get; init; } = 64 << 10;
}

/// <summary>How a wait for a stop ended.</summary>
public enum GdbWait
{
    /// <summary>A stop reply came.</summary>
    Stopped,

    /// <summary>The wake descriptor became readable.</summary>
    Woken,

    /// <summary>The time is over.</summary>
    TimedOut,
}

/// <summary>A synchronous client of QEMU's gdb stub (remote serial protocol, gdb manual appendix E; QEMU docs/system/gdb.rst).</summary>
/// <remarks>
/// Everything happens on the calling thread with blocking descriptors and reused buffers: between a stop reply and the next command there is no
/// thread hop and no allocation. Not thread-safe. After a timeout or a protocol error the connection <see cref="IsBroken"/>.
/// Any byte that reaches QEMU's stub while the guest runs stops the guest (gdb_read_byte), so acknowledgements ride in front of the next
/// command and nothing else is ever sent to a running guest.
/// </remarks>
public sealed partial class GdbClient : IDisposable
{
    private const int MaxResends = 3;
    private readonly Socket _socket;
    private readonly int _fd;
    private readonly GdbOptions _options;
    private readonly PacketReader _rx;
    private readonly PacketBuilder _tx = new();
    private bool _noAck, _ackPending, _disposed;
    private int _acksOwed, _repliesOwed;
    private StopReply? _earlyStop;

    /// <summary>Talks over a connected socket, which it owns from now on. <see cref="Handshake"/> comes first.</summary>
    public GdbClient(Socket socket, GdbOptions? options = null)
    {
        _socket = socket;
        _fd = (int)socket.Handle;
        _options = options ?? new GdbOptions();
        _rx = new PacketReader(_options.MaxPacketBytes);
    }

    /// <summary>The connection is of no further use.</summary>
    public bool IsBroken { get; private set; }

    /// <summary>Patience for one command; settable, because arming and repairing have different budgets.</summary>
    public TimeSpan CommandTimeout { get; set; } = TimeSpan.FromSeconds(2);

    /// <summary>The stub has sent something that was not read yet, or has hung up.</summary>
    public bool HasInput => _earlyStop is not null || Libc.WaitReadable(_fd, -1, 0) != 0;

    /// <summary>Waits for the next stop reply.</summary>
    /// <param name="wakeFd">A descriptor that ends the wait when it becomes readable (an eventfd), or -1.</param>
    /// <param name="timeout">Patience; <see cref="Timeout.InfiniteTimeSpan"/> for ever.</param>
    /// <param name="reply">The stop, where the result is <see cref="GdbWait.Stopped"/>.</param>
    /// <exception cref="GdbException">The stub refused the resume that came before, went out of protocol or closed the connection.</exception>
    public GdbWait WaitForStop(int wakeFd, TimeSpan timeout, out StopReply reply)
    {
        ThrowIfBroken();
        if (_earlyStop is { } early)
        {
            _earlyStop = null;
            reply = early;
            return GdbWait.Stopped;
        }

        long deadline = timeout == Timeout.InfiniteTimeSpan ? long.MaxValue : Environment.TickCount64 + (long)timeout.TotalMilliseconds;
        int damaged = 0;
        reply = default;
        while (true)
        {
            switch (_rx.TryTake(out ReadOnlySpan<byte> packet))
            {
                case PacketKind.Packet:
                    _ackPending = !_noAck;
                    if (StopReply.TryParse(packet, out reply))
                        return GdbWait.Stopped;
                    if (packet.IsEmpty || packet[0] == (byte)'E')
                        throw new GdbException($"the gdb stub refused to resume the guest: {Show(packet)}", GdbFailure.Refused);
                    if (packet[0] != (byte)'O') // Console output of the guest: none of ours.
                        throw Break($"the gdb stub sent {Show(packet)} where a stop was due", GdbFailure.Protocol);
                    break;
                case PacketKind.Damaged:
                    AskAgain(++damaged, deadline);
                    break;
                case PacketKind.Nack:
                    throw Break("the gdb stub did not understand a resume", GdbFailure.Protocol);
                case PacketKind.Ack:
                    _acksOwed = Math.Max(0, _acksOwed - 1);
                    break;
                case PacketKind.Incomplete:
                    int ready = Libc.WaitReadable(_fd, wakeFd, deadline);
                    if ((ready & 1) != 0)
                        Receive();
                    else if (ready != 0)
                        return GdbWait.Woken;
                    else
                        return GdbWait.TimedOut;
                    break;
            }
        }
    }

    /// <summary>Asks a running guest to stop (byte 0x03). The stop reply follows; where the guest has just stopped by itself, only that one does.</summary>
    /// <remarks>Where somebody else let the guest run (QMP's cont after a pause), the last answer is not acknowledged yet, and the stub passes over everything else until it is (gdb_read_byte).</remarks>
    public void Interrupt()
    {
        ThrowIfBroken();
        _tx.Clear();
        if (_ackPending)
            _tx.Raw((byte)'+');
        _ackPending = false;
        _tx.Raw(3);
        Send(Deadline());
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_disposed)
            return;
        _disposed = true;
        IsBroken = true;
        _socket.Dispose();
    }

    private void ThrowIfBroken()
    {
        if (IsBroken)
            throw new GdbException("the gdb connection is broken", GdbFailure.Closed);
    }

    private long Deadline() => Environment.TickCount64 + (long)CommandTimeout.TotalMilliseconds;

    /// <summary>Starts a batch of packets; the acknowledgement of what was read last goes in front.</summary>
    private PacketBuilder Begin()
    {
        ThrowIfBroken();
        if (_repliesOwed > 0)
        {
            // A refusal in the middle of a batch left the answers behind it unread.
            _selected = -1;
            for (long deadline = Deadline(); _repliesOwed > 0;)
                _ = Reply(deadline);
        }

        _tx.Clear();
        if (_ackPending)
            _tx.Raw((byte)'+');
        _ackPending = false;
        return _tx;
    }

    /// <summary>Sends the batch; the caller reads one reply a packet with <see cref="Reply"/>.</summary>
    private long Flush()
    {
        long deadline = Deadline();
        if (!_noAck)
            _acksOwed += _tx.Packets;
        _repliesOwed = _tx.Packets;
        Send(deadline);
        return deadline;
    }

    /// <summary>Reads the next reply, valid until the next read.</summary>
    private ReadOnlySpan<byte> Reply(long deadline)
    {
        int damaged = 0, resent = 0;
        while (true)
        {
            switch (_rx.TryTake(out ReadOnlySpan<byte> packet))
            {
                case PacketKind.Packet:
                    _ackPending = !_noAck;
                    _repliesOwed--;
                    return packet;
                case PacketKind.Damaged:
                    AskAgain(++damaged, deadline);
                    break;
                case PacketKind.Nack:
                    if (_tx.Packets != 1 || ++resent > MaxResends)
                        throw Break("the gdb stub keeps reporting damaged packets", GdbFailure.Protocol);
                    Send(deadline);
                    break;
                case PacketKind.Ack:
                    _acksOwed = Math.Max(0, _acksOwed - 1);
                    break;
                case PacketKind.Incomplete:
                    if (Libc.WaitReadable(_fd, -1, deadline) == 0)
                        throw Break("the gdb stub did not answer in time", GdbFailure.Timeout);
                    Receive();
                    break;
            }
        }
    }

    /// <summary>Reads a reply that must be OK. A refusal leaves the connection usable.</summary>
    private bool ReplyIsOk(long deadline, out string refusal)
    {
        ReadOnlySpan<byte> reply = Reply(deadline);
        bool ok = reply.SequenceEqual("OK"u8);
        if (!ok)
            ThrowIfStop(reply);
        refusal = ok ? "" : reply.IsEmpty ? "it does not know the command" : Show(reply);
        return ok;
    }

    private void ExpectOk(long deadline, string what)
    {
        if (!ReplyIsOk(deadline, out string refusal))
            throw new GdbException($"the gdb stub refused to {what}: {refusal}", GdbFailure.Refused);
    }

    /// <summary>A stop reply where an answer was due: someone else had resumed the guest, and our command's first byte stopped it again.</summary>
    private void ThrowIfStop(ReadOnlySpan<byte> reply)
    {
        if (!reply.IsEmpty && reply[0] is (byte)'T' or (byte)'S' or (byte)'W' or (byte)'X' && StopReply.TryParse(reply, out StopReply stop))
            throw Break(
                stop.Kind == StopKind.Exited ? "QEMU is ending" : "the guest was resumed by someone else while Panacea held it", GdbFailure.Protocol);
    }

    private void AskAgain(int times, long deadline)
    {
        // Only the last packet can be asked for again, so damage inside a pipelined batch ends the connection.
        if (_noAck || times > MaxResends || _tx.Packets > 1)
            throw Break("the gdb stub sends packets with bad checksums", GdbFailure.Protocol);
        SendRaw("-"u8, deadline);
    }

    private void Send(long deadline) => SendRaw(_tx.Bytes, deadline);

    private unsafe void SendRaw(ReadOnlySpan<byte> bytes, long deadline)
    {
        while (!bytes.IsEmpty)
        {
            nint sent;
            fixed (byte* p = bytes)
            {
                // SAFETY: p is pinned and bytes.Length long.
                sent = Libc.Send(_fd, p, (nuint)bytes.Length, Libc.MsgNoSignal | Libc.MsgDontWait);
            }

            if (sent > 0)
            {
                bytes = bytes[(int)sent..];
                continue;
            }

            int error = Marshal.GetLastPInvokeError();
            if (error == Libc.Eintr)
                continue;
            if (error != Libc.Eagain)
                throw Break($"the gdb stub's connection broke: {Libc.LastError}", GdbFailure.Closed);
            if (!Libc.WaitWritable(_fd, deadline))
                throw Break("the gdb stub does not read its connection", GdbFailure.Timeout);
        }
    }

    private unsafe void Receive()
    {
        Span<byte> space;
        try
        {
            space = _rx.FreeSpace();
        }
        catch (GdbException)
        {
            IsBroken = true;
            throw;
        }

        fixed (byte* p = space)
        {
            // SAFETY: p is pinned and space.Length long.
            nint got = Libc.Receive(_fd, p, (nuint)space.Length, Libc.MsgDontWait);
            if (got > 0)
                _rx.Advance((int)got);
            else if (got == 0)
                throw Break("the gdb stub closed the connection", GdbFailure.Closed);
            else if (Marshal.GetLastPInvokeError() is not (Libc.Eagain or Libc.Eintr))
                throw Break($"the gdb stub's connection broke: {Libc.LastError}", GdbFailure.Closed);
        }
    }

    private GdbException Break(string why, GdbFailure kind)
    {
        IsBroken = true;
        return new GdbException(why, kind);
    }

    private static string Show(ReadOnlySpan<byte> packet)
    {
        var text = new StringBuilder("\"");
        foreach (byte b in packet[..Math.Min(packet.Length, 40)])
            text.Append(b is >= 0x20 and < 0x7f ? (char)b : '.');
        return text.Append('"').ToString();
    }
}
