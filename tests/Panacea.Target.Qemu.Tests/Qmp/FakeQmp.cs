using System.Collections.Concurrent;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Panacea.Target.Qemu.Qmp;

namespace Panacea.Target.Qemu.Tests.Qmp;

/// <summary>A QMP server by script. Where the script says null, the answer is an empty return.</summary>
internal sealed class FakeQmp : IDisposable
{
    public const string Greeting =
        "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}, \"package\": \"Debian\"}, \"capabilities\": [\"oob\"]}}\r\n";

    private readonly SocketPair _pair = new();
    private readonly Func<string, long, string?> _answer;
    private readonly Thread _thread;

    public FakeQmp(string greeting, Func<string, long, string?> answer)
    {
        _answer = answer;
        _thread = new Thread(() => Serve(greeting)) { IsBackground = true };
    }

    public ConcurrentQueue<string> Received { get; } = new();

    public bool Trickle { get; init; }

    public QmpClient Open(Action<QmpEvent>? onEvent = null, QmpOptions? options = null)
    {
        _thread.Start();
        return QmpClient.Start(_pair.Client, "fake", options, onEvent);
    }

    public void Send(string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        for (int i = 0; i < bytes.Length; i += Trickle ? 1 : bytes.Length)
            _pair.Server.Send(bytes, i, Trickle ? 1 : bytes.Length, SocketFlags.None);
    }

    public void Close() => _pair.Server.Shutdown(SocketShutdown.Both);

    public void Dispose()
    {
        _pair.Dispose();
        _thread.Join();
    }

    private void Serve(string greeting)
    {
        try
        {
            Send(greeting);
            using var reader = new StreamReader(new NetworkStream(_pair.Server));
            while (reader.ReadLine() is { } line)
            {
                Received.Enqueue(line);
                using JsonDocument document = JsonDocument.Parse(line);
                long id = document.RootElement.GetProperty("id").GetInt64();
                Send(_answer(document.RootElement.GetProperty("execute").GetString()!, id) ?? $"{{\"return\": {{}}, \"id\": {id}}}\r\n");
            }
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException)
        {
            // The test is over.
        }
    }
}
