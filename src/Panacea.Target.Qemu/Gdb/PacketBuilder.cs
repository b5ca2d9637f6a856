namespace Panacea.Target.Qemu.Gdb;

/// <summary>Collects packets (<c>$payload#checksum</c>) to be sent in one write. Its buffer is reused.</summary>
internal sealed class PacketBuilder
{
    private byte[] _buffer = new byte[8 << 10];
    private int _length;
    private byte _sum;

    /// <summary>Packets since <see cref="Clear"/>.</summary>
    public int Packets { get; private set; }

    /// <summary>Everything to send.</summary>
    public ReadOnlySpan<byte> Bytes => _buffer.AsSpan(0, _length);

    /// <summary>Forgets what was collected.</summary>
    public void Clear()
    {
        _length = 0;
        Packets = 0;
    }

    /// <summary>Puts one byte outside any packet: an acknowledgement, an interrupt.</summary>
    public void Raw(byte value)
    {
        Reserve(1);
        _buffer[_length++] = value;
    }

    /// <summary>Opens a packet.</summary>
    public PacketBuilder Open(ReadOnlySpan<byte> head)
    {
        Raw((byte)'$');
        _sum = 0;
        return Text(head);
    }

    /// <summary>Appends text that needs no escaping (none of QEMU's commands does).</summary>
    public PacketBuilder Text(ReadOnlySpan<byte> text)
    {
        Reserve(text.Length);
        text.CopyTo(_buffer.AsSpan(_length));
        _length += text.Length;
        foreach (byte b in text)
            _sum = unchecked((byte)(_sum + b));
        return this;
    }

    /// <summary>Appends a number in hexadecimal without leading zeros.</summary>
    public PacketBuilder Number(ulong value)
    {
        Span<byte> digits = stackalloc byte[16];
        int at = 16;
        do
        {
            digits[--at] = Hex.ToDigit((int)(value & 15));
            value >>= 4;
        }
        while (value != 0);
        return Text(digits[at..]);
    }

    /// <summary>Appends bytes as pairs of digits.</summary>
    public PacketBuilder Data(ReadOnlySpan<byte> bytes)
    {
        Span<byte> pair = stackalloc byte[2];
        foreach (byte b in bytes)
        {
            pair[0] = Hex.ToDigit(b >> 4);
            pair[1] = Hex.ToDigit(b);
            Text(pair);
        }

        return this;
    }

    /// <summary>Closes the packet with its checksum.</summary>
    public void Close()
    {
        Reserve(3);
        _buffer[_length++] = (byte)'#';
        _buffer[_length++] = Hex.ToDigit(_sum >> 4);
        _buffer[_length++] = Hex.ToDigit(_sum);
        Packets++;
    }

    private void Reserve(int more)
    {
        if (_length + more > _buffer.Length)
            Array.Resize(ref _buffer, Math.Max(_buffer.Length * 2, _length + more));
    }
}
