namespace Panacea.Target.Qemu.Qmp;

/// <summary>Cuts a byte stream into top-level JSON objects, whether QEMU writes one a line or pretty-prints (<c>-qmp-pretty</c>).</summary>
/// <remarks>It counts braces outside strings and nothing more: whether an object is JSON is for the parser to say.</remarks>
internal sealed class QmpFramer(int maxBytes)
{
    private const int MaxDepth = 64;
    private byte[] _buffer = new byte[16 << 10];
    private int _start, _end, _scan, _depth;
    private bool _inString, _escaped;

    /// <summary>Where the next bytes of the stream go; <see cref="Advance"/> says how many came.</summary>
    public Memory<byte> FreeSpace()
    {
        if (_start > 0)
        {
            _buffer.AsSpan(_start, _end - _start).CopyTo(_buffer);
            _scan -= _start;
            _end -= _start;
            _start = 0;
        }

        if (_end == _buffer.Length)
        {
            if (_buffer.Length >= maxBytes)
                throw new QmpConnectionException($"a QMP message is longer than {maxBytes} bytes");
            Array.Resize(ref _buffer, Math.Min(maxBytes, _buffer.Length * 2));
        }

        return _buffer.AsMemory(_end);
    }

    /// <summary><paramref name="count"/> bytes were put into <see cref="FreeSpace"/>.</summary>
    public void Advance(int count) => _end += count;

    /// <summary>Takes the next whole object; valid until <see cref="FreeSpace"/> is called.</summary>
    /// <exception cref="QmpConnectionException">The stream is not a run of JSON objects.</exception>
    public bool TryTake(out ReadOnlyMemory<byte> message)
    {
        for (; _scan < _end; _scan++)
        {
            byte b = _buffer[_scan];
            if (_inString)
            {
                if (_escaped)
                    _escaped = false;
                else if (b == '\\')
                    _escaped = true;
                else if (b == '"')
                    _inString = false;
                continue;
            }

            switch (b)
            {
                case (byte)'{' or (byte)'[':
                    if (_depth == 0)
                    {
                        if (b == '[')
                            throw NotQmp(b);
                        _start = _scan;
                    }

                    if (++_depth > MaxDepth)
                        throw new QmpConnectionException("a QMP message is nested too deeply");
                    break;
                case (byte)'}' or (byte)']':
                    if (_depth == 0)
                        throw NotQmp(b);
                    if (--_depth == 0)
                    {
                        _scan++;
                        message = _buffer.AsMemory(_start, _scan - _start);
                        _start = _scan;
                        return true;
                    }

                    break;
                case (byte)'"' when _depth > 0:
                    _inString = true;
                    break;
                case (byte)' ' or (byte)'\r' or (byte)'\n' or (byte)'\t':
                    break;
                default:
                    if (_depth == 0)
                        throw NotQmp(b);
                    break;
            }
        }

        if (_depth == 0)
            _start = _scan;
        message = default;
        return false;
    }

    private static QmpConnectionException NotQmp(byte b) => new($"this is not a QMP socket (it says byte 0x{b:x2} where QMP has a JSON object)");
}
