using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Panacea.Lab.Workloads;

/// <summary>The little of redis' protocol (RESP2) that the lab needs: one command at a time, integer and string answers. A library client would hide what is measured here: it
/// reconnects and retries by itself.</summary>
public sealed class RespClient : IDisposable
{
    private readonly Socket _socket;
    private readonly NetworkStream _stream;
    private readonly byte[] _buffer = new byte[4096];
    private int _start;
    private int _end;

    private RespClient(Socket socket)
    {
        _socket = socket;
        _stream = new NetworkStream(socket, ownsSocket: true);
    }

    /// <summary>Connects to 127.0.0.1.</summary>
    public static async Task<RespClient> ConnectAsync(int port, CancellationToken cancel = default)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(IPAddress.Loopback, port, cancel);
            return new RespClient(socket);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Sends a command and returns its answer as text: an integer's digits, a string, "" for nil.</summary>
    /// <exception cref="IOException">The connection broke, or redis answered with an error.</exception>
    public async Task<string> CommandAsync(string[] words, CancellationToken cancel = default)
    {
        var request = new StringBuilder().Append(CultureInfo.InvariantCulture, $"*{words.Length}\r\n");
        foreach (string word in words)
            request.Append(CultureInfo.InvariantCulture, $"${Encoding.UTF8.GetByteCount(word)}\r\n{word}\r\n");
        await _stream.WriteAsync(Encoding.UTF8.GetBytes(request.ToString()), cancel);

        string line = await LineAsync(cancel);
        switch (line[0])
        {
            case '+' or ':':
                return line[1..];
            case '$':
                int length = int.Parse(line.AsSpan(1), CultureInfo.InvariantCulture);
                return length < 0 ? "" : await BytesAsync(length, cancel);
            default:
                throw new IOException($"redis answered: {line}");
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _stream.Dispose();
        _socket.Dispose();
    }

    private async Task<string> LineAsync(CancellationToken cancel)
    {
        while (true)
        {
            int at = _buffer.AsSpan(_start, _end - _start).IndexOf("\r\n"u8);
            if (at == 0)
                throw new IOException("redis sent an empty line");
            if (at > 0)
            {
                string line = Encoding.UTF8.GetString(_buffer, _start, at);
                _start += at + 2;
                return line;
            }

            await FillAsync(cancel);
        }
    }

    private async Task<string> BytesAsync(int length, CancellationToken cancel)
    {
        if (length > _buffer.Length - 2)
            throw new IOException($"redis announces {length} bytes");
        while (_end - _start < length + 2)
            await FillAsync(cancel);
        string text = Encoding.UTF8.GetString(_buffer, _start, length);
        _start += length + 2;
        return text;
    }

    private async Task FillAsync(CancellationToken cancel)
    {
        _buffer.AsSpan(_start, _end - _start).CopyTo(_buffer);
        (_start, _end) = (0, _end - _start);
        int got = _end < _buffer.Length ? await _stream.ReadAsync(_buffer.AsMemory(_end), cancel) : 0;
        if (got == 0)
            throw new IOException("redis closed the connection");
        _end += got;
    }
}
