using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Panacea.Lab.Guests;

/// <summary>The lab's own connection to a guest's monitor, beside the one that stays free for whatever is tested. Commands one at a time; events are kept.</summary>
public sealed class QmpSocket : IAsyncDisposable
{
    private readonly Socket _socket;
    private readonly NetworkStream _stream;
    private readonly StreamReader _reader;
    private readonly SemaphoreSlim _turn = new(1);
    private readonly List<(string Name, TaskCompletionSource Waiter)> _waiters = [];
    private readonly List<string> _events = [];
    private TaskCompletionSource<JsonObject>? _answer;
    private Task? _pump;

    private QmpSocket(Socket socket)
    {
        _socket = socket;
        _stream = new NetworkStream(socket, ownsSocket: true);
        _reader = new StreamReader(_stream, Encoding.UTF8);
    }

    /// <summary>Connects and negotiates.</summary>
    public static async Task<QmpSocket> ConnectAsync(string path, CancellationToken cancel = default)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), cancel);
        }
        catch
        {
            socket.Dispose();
            throw;
        }

        var qmp = new QmpSocket(socket);
        await qmp._reader.ReadLineAsync(cancel);
        qmp._pump = qmp.PumpAsync();
        await qmp.ExecuteAsync("qmp_capabilities", null, cancel);
        return qmp;
    }

    /// <summary>Names of the events so far, in order.</summary>
    public IReadOnlyList<string> Events
    {
        get
        {
            lock (_events)
                return [.. _events];
        }
    }

    /// <summary>Runs a command.</summary>
    /// <returns>Its "return" value.</returns>
    /// <exception cref="LabException">QEMU refused it or is gone.</exception>
    public async Task<JsonNode?> ExecuteAsync(string command, JsonObject? arguments = null, CancellationToken cancel = default)
    {
        await _turn.WaitAsync(cancel);
        try
        {
            var answer = new TaskCompletionSource<JsonObject>(TaskCreationOptions.RunContinuationsAsynchronously);
            _answer = answer;
            var request = new JsonObject { ["execute"] = command };
            if (arguments is not null)
                request["arguments"] = arguments;
            await _stream.WriteAsync(Encoding.UTF8.GetBytes(request.ToJsonString() + "\n"), cancel);
            JsonObject result = await answer.Task.WaitAsync(TimeSpan.FromSeconds(30), cancel);
            return result["error"] is JsonNode error ? throw new LabException($"QEMU refused {command}: {error["desc"]}") : result["return"]?.DeepClone();
        }
        catch (IOException e)
        {
            throw new LabException($"QEMU is gone ({command})", e);
        }
        finally
        {
            _answer = null;
            _turn.Release();
        }
    }

    /// <summary>Runs a command of the human monitor.</summary>
    public async Task<string> HumanAsync(string line, CancellationToken cancel = default) =>
        (string?)await ExecuteAsync("human-monitor-command", new JsonObject { ["command-line"] = line }, cancel) ?? "";

    /// <summary>Completes at the next event of a name after this call: arm it, then act.</summary>
    public Task NextEventAsync(string name)
    {
        var waiter = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_events)
            _waiters.Add((name, waiter));
        return waiter.Task;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        _stream.Dispose();
        _socket.Dispose();
        if (_pump is not null)
            await _pump;
        _turn.Dispose();
    }

    private async Task PumpAsync()
    {
        try
        {
            while (await _reader.ReadLineAsync() is string line)
            {
                if (JsonNode.Parse(line) is not JsonObject message)
                    continue;
                if ((string?)message["event"] is string name)
                    Raise(name);
                else
                    _answer?.TrySetResult(message);
            }
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or JsonException or SocketException)
        {
        }

        _answer?.TrySetException(new IOException("the monitor connection ended"));
        lock (_events)
        {
            foreach ((_, TaskCompletionSource waiter) in _waiters)
                waiter.TrySetException(new LabException("QEMU ended before the event"));
            _waiters.Clear();
        }
    }

    private void Raise(string name)
    {
        lock (_events)
        {
            _events.Add(name);
            foreach ((_, TaskCompletionSource waiter) in _waiters.Where(w => w.Name == name))
                waiter.TrySetResult();
            _waiters.RemoveAll(w => w.Name == name);
        }
    }
}
