namespace Panacea.Target.Qemu.Gdb;

/// <summary>What <see cref="PacketReader.TryTake"/> found next in the stream.</summary>
internal enum PacketKind
{
    /// <summary>Nothing whole yet: more bytes are needed.</summary>
    Incomplete,

    /// <summary>A packet with a right checksum.</summary>
    Packet,

    /// <summary>A packet with a wrong checksum.</summary>
    Damaged,

    /// <summary>'+'.</summary>
    Ack,

    /// <summary>'-'.</summary>
    Nack,
}

/// <summary>Takes packets out of a byte stream: checksum, escapes and run lengths (gdb manual, "Overview" of the remote protocol). Buffers are reused.</summary>
/// <param name="maxPacketBytes">Longest packet taken, raw and unpacked.</param>
internal sealed class PacketReader(int maxPacketBytes)
{
    private readonly byte[] _raw = new byte[maxPacketBytes + 4];
    private readonly byte[] _payload = new byte[maxPacketBytes];
    private int _start, _end;

    /// <summary>Where the next bytes of the stream go.</summary>
    /// <exception cref="GdbException">A packet does not end within the limit.</exception>
    public Span<byte> FreeSpace()
    {
        if (_start > 0)
        {
            _raw.AsSpan(_start, _end - _start).CopyTo(_raw);
            _end -= _start;
            _start = 0;
        }

        return _end < _raw.Length
            ? _raw.AsSpan(_end)
            : throw new GdbException($"the gdb stub sent a packet longer than {maxPacketBytes} bytes", GdbFailure.Protocol);
    }

    /// <summary><paramref name="count"/> bytes were put into <see cref="FreeSpace"/>.</summary>
    public void Advance(int count) => _end += count;

    /// <summary>Takes the next item; <paramref name="payload"/> is valid until the next call.</summary>
    public PacketKind TryTake(out ReadOnlySpan<byte> payload)
    {
        payload = default;
        while (_start < _end)
        {
            switch (_raw[_start])
            {
                case (byte)'+':
                    _start++;
                    return PacketKind.Ack;
                case (byte)'-':
                    _start++;
                    return PacketKind.Nack;
                case (byte)'$':
                    return TakePacket(out payload);
                default:
                    _start++; // Noise between packets is skipped, as the protocol says.
                    break;
            }
        }

        return PacketKind.Incomplete;
    }

    private PacketKind TakePacket(out ReadOnlySpan<byte> payload)
    {
        payload = default;
        ReadOnlySpan<byte> rest = _raw.AsSpan(_start + 1, _end - _start - 1);
        int hash = rest.IndexOf((byte)'#');
        if (hash < 0 || rest.Length < hash + 3)
            return PacketKind.Incomplete;
        ReadOnlySpan<byte> body = rest[..hash];
        int high = Hex.Digit(rest[hash + 1]), low = Hex.Digit(rest[hash + 2]);
        _start += hash + 4;
        int sum = 0;
        foreach (byte b in body)
            sum = (sum + b) & 0xff;
        if (high < 0 || low < 0 || ((high << 4) | low) != sum || !Unpack(body, out int length))
            return PacketKind.Damaged;
        payload = _payload.AsSpan(0, length);
        return PacketKind.Packet;
    }

    private bool Unpack(ReadOnlySpan<byte> body, out int length)
    {
        length = 0;
        for (int i = 0; i < body.Length; i++)
        {
            byte b = body[i];
            if (b == (byte)'}')
            {
                if (++i == body.Length)
                    return false;
                b = (byte)(body[i] ^ 0x20);
            }
            else if (b == (byte)'*')
            {
                // "0*<n>": the character before repeats n - 29 times more.
                if (length == 0 || ++i == body.Length || body[i] < 29 + 3)
                    return false;
                int repeat = body[i] - 29;
                if (repeat > _payload.Length - length)
                    return false;
                _payload.AsSpan(length, repeat).Fill(_payload[length - 1]);
                length += repeat;
                continue;
            }

            if (length == _payload.Length)
                return false;
            _payload[length++] = b;
        }

        return true;
    }
}
