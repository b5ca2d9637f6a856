using System.Buffers;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text.Json;
using Panacea.Target.Qemu.Native;

namespace Panacea.Target.Qemu.Qmp;

/// <summary>A client of QEMU's machine protocol over a unix socket (QEMU docs/interop/qmp-spec).</summary>
/// <remarks>One thread reads; commands may be executed from any thread. A QMP socket serves one client at a time.</remarks>
public sealed class QmpClient : IDisposable
{
    private readonly Socket _socket;
    private readonly int _fd;
    private readonly string _name;
    private readonly QmpOptions _options;
    private readonly Action<QmpEvent>? _onEvent;
    private readonly QmpFramer _framer;
    private readonly Thread _reader;
    private readonly WakeEvent _stopReading = new();
    private readonly Lock _sendGate = new();
    private readonly object _pendingGate = new();
    private readonly Dictionary<long, Pending> _pending = [];
    private string? _closedBecause;
    private long _nextId;
    private int _disposed;

    private QmpClient(Socket socket, string name, QmpOptions options, Action<QmpEvent>? onEvent)
    {
        _socket = socket;
        _fd = (int)socket.Handle;
        _name = name;
        _options = options;
        _onEvent = onEvent;
        _framer = new QmpFramer(options.MaxMessageBytes);
        _reader = new Thread(ReadLoop) { IsBackground = true, Name = "qmp-reader" };
    }

    /// <summary>QEMU's version, from its greeting.</summary>
    public QemuVersion Version { get; private set; } = new(0, 0, 0, "");

    /// <summary>Why the connection is no longer of use, or null while it is.</summary>
    public string? ClosedBecause => Volatile.Read(ref _closedBecause);

    /// <summary>Raised once, on the reader's thread, when the connection ends by QEMU's doing.</summary>
    public Action? OnClosed { get; set; }

    /// <summary>Process id of whoever made the listening socket (SO_PEERCRED): QEMU itself, or the manager that handed it the socket.</summary>
    public int PeerPid { get; private set; }

    /// <summary>Connects to a socket path and takes QMP into command mode.</summary>
    /// <param name="path">The unix socket.</param>
    /// <param name="options">Limits and patience.</param>
    /// <param name="onEvent">Called on the reader's thread for each event; must be quick and must not execute commands.</param>
    /// <exception cref="QmpConnectionException">No such socket, no QMP behind it, or another client holds it.</exception>
    public static QmpClient Connect(string path, QmpOptions? options = null, Action<QmpEvent>? onEvent = null)
    {
        options ??= new QmpOptions();
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { Blocking = false };
        try
        {
            socket.Connect(UnixEndPoint(path));
        }
        catch (SocketException e) when (e.SocketErrorCode is SocketError.WouldBlock or SocketError.TryAgain)
        {
            socket.Dispose();
            throw Held(path);
        }
        catch (SocketException e)
        {
            socket.Dispose();
            throw new QmpConnectionException(WhyNot(path, e));
        }

        socket.Blocking = true;
        return Start(socket, path, options, onEvent);
    }

    /// <summary>The runtime's words for a missing unix socket are those of network addresses.</summary>
    private static string WhyNot(string path, SocketException e) => e.SocketErrorCode switch
    {
        SocketError.AddressNotAvailable or SocketError.HostNotFound => $"there is no QMP socket {path}: check the path, or name the VM by pid:N",
        SocketError.ConnectionRefused => File.Exists(path) && !Directory.Exists(path)
            ? $"nobody serves the QMP socket {path}: its QEMU has ended, or it is no socket"
            : $"{path} is no socket: check the path, or name the VM by pid:N",
        SocketError.AccessDenied => $"no permission to connect to the QMP socket {path}: run Panacea as its owner or as root",
        _ => $"cannot connect to the QMP socket {path}: {e.Message}",
    };

    /// <summary>The same over a socket that is connected already; takes ownership of it.</summary>
    public static QmpClient Start(Socket socket, string name, QmpOptions? options = null, Action<QmpEvent>? onEvent = null)
    {
        var client = new QmpClient(socket, name, options ?? new QmpOptions(), onEvent);
        try
        {
            client.Negotiate();
            return client;
        }
        catch
        {
            client.Dispose();
            throw;
        }
    }

    internal static UnixDomainSocketEndPoint UnixEndPoint(string path)
    {
        try
        {
            return new UnixDomainSocketEndPoint(path);
        }
        catch (ArgumentException)
        {
            throw new QmpConnectionException($"{path} is too long for a unix socket path (107 bytes at most)");
        }
    }

    /// <summary>Executes a command and returns its <c>return</c> value.</summary>
    /// <param name="command">QMP command name.</param>
    /// <param name="arguments">Writes the members of the arguments object, or null for none.</param>
    /// <param name="timeout">Patience; null for <see cref="QmpOptions.CommandTimeout"/>.</param>
    /// <exception cref="QmpCommandException">QEMU answered with an error.</exception>
    /// <exception cref="QmpConnectionException">No answer in time, or the connection is gone.</exception>
    public JsonElement Execute(string command, Action<Utf8JsonWriter>? arguments = null, TimeSpan? timeout = null) => Execute(command, arguments, timeout, descriptor: -1);

    /// <summary>The same with a file descriptor that QEMU gets a copy of (<c>add-fd</c>, <c>getfd</c>).</summary>
    internal JsonElement ExecuteWith(int descriptor, string command, Action<Utf8JsonWriter>? arguments = null) => Execute(command, arguments, null, descriptor);

    private JsonElement Execute(string command, Action<Utf8JsonWriter>? arguments, TimeSpan? timeout, int descriptor)
    {
        long id = Interlocked.Increment(ref _nextId);
        var message = new ArrayBufferWriter<byte>(256);
        using (var json = new Utf8JsonWriter(message))
        {
            json.WriteStartObject();
            json.WriteString("execute", command);
            json.WriteNumber("id", id);
            if (arguments != null)
            {
                json.WriteStartObject("arguments");
                arguments(json);
                json.WriteEndObject();
            }

            json.WriteEndObject();
        }

        message.Write("\n"u8);
        long deadline = Environment.TickCount64 + (long)(timeout ?? _options.CommandTimeout).TotalMilliseconds;
        var pending = new Pending();
        lock (_pendingGate)
        {
            ThrowIfClosed();
            _pending.Add(id, pending);
        }

        try
        {
            Send(message.WrittenSpan, deadline, descriptor);
            lock (_pendingGate)
            {
                while (!pending.Done)
                {
                    ThrowIfClosed();
                    long left = deadline - Environment.TickCount64;
                    if (left <= 0)
                        throw new QmpConnectionException($"QEMU did not answer {command} in time", isTimeout: true);
                    Monitor.Wait(_pendingGate, (int)Math.Min(left, int.MaxValue));
                }
            }
        }
        finally
        {
            lock (_pendingGate)
                _pending.Remove(id);
        }

        return pending.ErrorClass == null ? pending.Result : throw new QmpCommandException(command, pending.ErrorClass, pending.ErrorText ?? "");
    }

    /// <summary>Executes a human-monitor command and returns its text. The text is for people: its shape differs between versions.</summary>
    public string HumanMonitor(string commandLine, TimeSpan? timeout = null)
    {
        JsonElement text = Execute("human-monitor-command", json => json.WriteString("command-line", commandLine), timeout);
        return text.ValueKind == JsonValueKind.String ? text.GetString()! : throw new QmpConnectionException("a human-monitor command returned no text");
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        Close("the QMP connection was closed", tell: false);
        _stopReading.Signal();
        if (_reader.IsAlive && Thread.CurrentThread != _reader)
            _reader.Join();
        lock (_sendGate)
            _socket.Dispose();
        _stopReading.Dispose();
    }

    private void Negotiate()
    {
        PeerPid = ReadPeerPid();
        long deadline = Environment.TickCount64 + (long)_options.GreetingTimeout.TotalMilliseconds;
        ReadOnlyMemory<byte> greeting;
        while (!_framer.TryTake(out greeting))
        {
            // The socket's backlog accepts a second client, but QEMU greets it only when the first has gone.
            if (Libc.WaitReadable(_fd, -1, deadline) == 0)
                throw Held(_name, PeerPid);
            if (!Receive())
                throw new QmpConnectionException($"{_name} closed the connection instead of a QMP greeting");
        }

        using (JsonDocument document = Parse(greeting))
        {
            if (!document.RootElement.TryGetProperty("QMP", out JsonElement qmp) || qmp.ValueKind != JsonValueKind.Object)
                throw new QmpConnectionException($"{_name} is not a QMP socket: it does not greet like one");
            Version = ReadVersion(qmp);
        }

        _reader.Start();
        Execute("qmp_capabilities");
    }

    private static QemuVersion ReadVersion(JsonElement qmp)
    {
        if (!qmp.TryGetProperty("version", out JsonElement version) || version.ValueKind != JsonValueKind.Object
            || !version.TryGetProperty("qemu", out JsonElement qemu) || qemu.ValueKind != JsonValueKind.Object)
            return new QemuVersion(0, 0, 0, "");
        return new QemuVersion(Number(qemu, "major"), Number(qemu, "minor"), Number(qemu, "micro"), QmpJson.Text(version, "package") ?? "");

        static int Number(JsonElement from, string name) =>
            from.TryGetProperty(name, out JsonElement e) && e.ValueKind == JsonValueKind.Number && e.TryGetInt32(out int n) ? n : 0;
    }

    private static QmpConnectionException Held(string name, int peer = 0) =>
        new($"another client, perhaps libvirt, holds the QMP socket {name}: QEMU serves one at a time; give Panacea a socket of its own (-qmp unix:…)", isTimeout: true) { PeerPid = peer };

    private unsafe int ReadPeerPid()
    {
        const int solSocket = 1, soPeerCred = 17;
        int* credentials = stackalloc int[3];
        int length = 12;

        // SAFETY: struct ucred is three 32-bit integers (unix(7)), and length says so.
        return Libc.GetSockOpt(_fd, solSocket, soPeerCred, credentials, &length) == 0 && length == 12 ? credentials[0] : 0;
    }

    private static JsonDocument Parse(ReadOnlyMemory<byte> message)
    {
        try
        {
            QmpJson.RequireText(message.Span);
            return JsonDocument.Parse(message);
        }
        catch (JsonException e)
        {
            throw new QmpConnectionException($"QEMU sent malformed JSON: {e.Message}");
        }
    }

    private unsafe void Send(ReadOnlySpan<byte> bytes, long deadline, int descriptor)
    {
        lock (_sendGate)
        {
            ThrowIfClosed();
            while (!bytes.IsEmpty)
            {
                nint sent;
                fixed (byte* p = bytes)
                {
                    // SAFETY: p is pinned and bytes.Length long; Dispose closes the socket under the same lock.
                    const int flags = Libc.MsgNoSignal | Libc.MsgDontWait;
                    sent = descriptor < 0 ? Libc.Send(_fd, p, (nuint)bytes.Length, flags) : Libc.SendDescriptor(_fd, p, (nuint)bytes.Length, descriptor, flags);
                }

                if (sent > 0)
                {
                    // It went with the first byte.
                    descriptor = -1;
                    bytes = bytes[(int)sent..];
                    continue;
                }

                int error = Marshal.GetLastPInvokeError();
                if (error == Libc.Eagain && Libc.WaitWritable(_fd, deadline))
                    continue;
                if (error != Libc.Eintr)
                {
                    // A message sent in part cannot be taken back: the stream is of no more use.
                    Close(error == Libc.Eagain ? "QEMU does not read its QMP socket" : $"QEMU's QMP connection broke: {Libc.LastError}", tell: true);
                    ThrowIfClosed();
                }
            }
        }
    }

    private unsafe bool Receive()
    {
        Memory<byte> space = _framer.FreeSpace();
        fixed (byte* p = space.Span)
        {
            // SAFETY: p is pinned and space.Length long.
            nint got = Libc.Receive(_fd, p, (nuint)space.Length, Libc.MsgDontWait);
            if (got < 0)
                return Marshal.GetLastPInvokeError() is Libc.Eagain or Libc.Eintr;
            _framer.Advance((int)got);
            return got > 0;
        }
    }

    private void ReadLoop()
    {
        string why = "QEMU closed its QMP connection (it has ended, or was told to close it)";
        try
        {
            while (Volatile.Read(ref _closedBecause) == null)
            {
                while (_framer.TryTake(out ReadOnlyMemory<byte> message))
                    Dispatch(message);
                if ((Libc.WaitReadable(_fd, _stopReading.Fd, long.MaxValue) & 2) != 0)
                    return;
                if (!Receive())
                    break;
            }
        }
        catch (Exception e) when (e is TargetException or ObjectDisposedException or InvalidOperationException)
        {
            why = e.Message;
        }

        Close(why, tell: true);
    }

    private void Dispatch(ReadOnlyMemory<byte> message)
    {
        using JsonDocument document = Parse(message);
        JsonElement root = document.RootElement;
        if (root.TryGetProperty("event", out JsonElement name) && name.ValueKind == JsonValueKind.String)
        {
            long us = 0;
            if (root.TryGetProperty("timestamp", out JsonElement t) && t.ValueKind == JsonValueKind.Object
                && t.TryGetProperty("seconds", out JsonElement s) && s.ValueKind == JsonValueKind.Number && s.TryGetInt64(out long seconds)
                && t.TryGetProperty("microseconds", out JsonElement m) && m.ValueKind == JsonValueKind.Number && m.TryGetInt64(out long micro)
                && seconds is > 0 and < 1L << 40 && micro is >= 0 and < 1_000_000)
                us = (seconds * 1_000_000) + micro;
            JsonElement data = root.TryGetProperty("data", out JsonElement d) ? d.Clone() : default;
            _onEvent?.Invoke(new QmpEvent(name.GetString()!, us, data));
            return;
        }

        // An answer without an id of ours (to a command that has timed out) is dropped.
        if (!root.TryGetProperty("id", out JsonElement idElement) || idElement.ValueKind != JsonValueKind.Number || !idElement.TryGetInt64(out long id))
            return;
        lock (_pendingGate)
        {
            if (!_pending.TryGetValue(id, out Pending? pending))
                return;
            if (root.TryGetProperty("error", out JsonElement error))
            {
                pending.ErrorClass = QmpJson.Text(error, "class") ?? "GenericError";
                pending.ErrorText = QmpJson.Text(error, "desc");
            }
            else if (root.TryGetProperty("return", out JsonElement result))
            {
                pending.Result = result.Clone();
            }
            else
            {
                pending.ErrorClass = "GenericError";
                pending.ErrorText = "an answer with neither return nor error";
            }

            pending.Done = true;
            Monitor.PulseAll(_pendingGate);
        }
    }

    private void Close(string why, bool tell)
    {
        if (Interlocked.CompareExchange(ref _closedBecause, why, null) != null)
            return;
        lock (_pendingGate)
            Monitor.PulseAll(_pendingGate);
        if (tell)
            OnClosed?.Invoke();
    }

    private void ThrowIfClosed()
    {
        if (ClosedBecause is { } why)
            throw new QmpConnectionException(why);
    }

    private sealed class Pending
    {
        public bool Done;
        public JsonElement Result;
        public string? ErrorClass;
        public string? ErrorText;
    }
}
