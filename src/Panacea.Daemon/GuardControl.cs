using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Panacea.Sessions.Control;
using Panacea.Target;
using Panacea.Target.Qemu;

namespace Panacea.Daemon;

/// <summary>The way to a running guard: one connection a request, one JSON line there and one back, over a Unix socket that nobody but this user may reach.</summary>
public static class GuardControl
{
    /// <summary>Bytes of a request or an answer.</summary>
    private const int MaxRequest = 64 << 10, MaxAnswer = 16 << 20;

    /// <summary>How long the other end may take to write its line, and how long a guard may take to answer: it has crashes to see to first.</summary>
    private static readonly TimeSpan LinePatience = TimeSpan.FromSeconds(5), AnswerPatience = TimeSpan.FromSeconds(60);

    /// <summary>Takes requests for one VM until disposed.</summary>
    /// <param name="pid">QEMU's process id.</param>
    /// <param name="ask">Answers them.</param>
    /// <exception cref="SocketException">The socket can't be made.</exception>
    /// <exception cref="TargetException">Its directory can't be used.</exception>
    public static IDisposable Serve(int pid, Func<GuestRequest, Task<GuestAnswer>> ask) => new Server(GuardSockets.PathFor(pid), ask);

    /// <summary>Takes requests on a socket of a given path.</summary>
    internal static IDisposable Serve(string path, Func<GuestRequest, Task<GuestAnswer>> ask) => new Server(path, ask);

    /// <summary>Asks the guard of a VM.</summary>
    /// <param name="path">Its socket: <see cref="GuardSockets.Find"/>.</param>
    /// <param name="request">What is asked.</param>
    /// <param name="cancel">Ends the waiting.</param>
    /// <exception cref="TargetException">The guard does not answer.</exception>
    public static GuestAnswer Ask(string path, GuestRequest request, CancellationToken cancel)
    {
        try
        {
            return AskAsync(path, request, cancel).GetAwaiter().GetResult();
        }
        catch (Exception e) when (e is SocketException or IOException or JsonException or TimeoutException || (e is OperationCanceledException && !cancel.IsCancellationRequested))
        {
            throw new TargetException($"the guard of this VM does not answer ({e.Message}); try again, or end it first", e);
        }
    }

    private static async Task<GuestAnswer> AskAsync(string path, GuestRequest request, CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(AnswerPatience + LinePatience);
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), limit.Token);
        await SendAsync(socket, JsonSerializer.Serialize(request, GuestRequestJson.Default.GuestRequest), limit.Token);
        string line = await ReceiveAsync(socket, MaxAnswer, limit.Token);
        return JsonSerializer.Deserialize(line, GuestRequestJson.Default.GuestAnswer) ?? throw new IOException("an empty answer");
    }

    private static async Task SendAsync(Socket socket, string line, CancellationToken cancel)
    {
        ReadOnlyMemory<byte> bytes = Encoding.UTF8.GetBytes(line + "\n");
        while (!bytes.IsEmpty)
            bytes = bytes[await socket.SendAsync(bytes, SocketFlags.None, cancel)..];
    }

    private static async Task<string> ReceiveAsync(Socket socket, int most, CancellationToken cancel)
    {
        using var line = new MemoryStream();
        byte[] chunk = new byte[4096];
        while (true)
        {
            int got = await socket.ReceiveAsync(chunk.AsMemory(), SocketFlags.None, cancel);
            if (got == 0)
                throw new IOException("the connection was closed before the line ended");
            int end = Array.IndexOf(chunk, (byte)'\n', 0, got);
            line.Write(chunk, 0, end < 0 ? got : end);
            if (line.Length > most)
                throw new IOException($"the line is longer than {most} bytes");
            if (end >= 0)
                return Encoding.UTF8.GetString(line.GetBuffer(), 0, (int)line.Length);
        }
    }

    private sealed class Server : IDisposable
    {
        private readonly string _path;
        private readonly Func<GuestRequest, Task<GuestAnswer>> _ask;
        private readonly Socket _listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        private readonly CancellationTokenSource _end = new();

        public Server(string path, Func<GuestRequest, Task<GuestAnswer>> ask)
        {
            (_path, _ask) = (path, ask);
            try
            {
                // Of a guard of the same QEMU that was killed: whoever comes here holds the VM's lock.
                File.Delete(path);
                _listener.Bind(new UnixDomainSocketEndPoint(path));
                _listener.Listen(4);
            }
            catch
            {
                _listener.Dispose();
                _end.Dispose();
                throw;
            }

            _ = AcceptAsync();
        }

        public void Dispose()
        {
            _end.Cancel();
            _listener.Dispose();
            try
            {
                File.Delete(_path);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // A socket that nobody listens on misleads nobody: its lock is gone, too.
            }
        }

        private async Task AcceptAsync()
        {
            while (!_end.IsCancellationRequested)
            {
                try
                {
                    using Socket client = await _listener.AcceptAsync(_end.Token);
                    await AnswerAsync(client);
                }
                catch (Exception e) when (e is SocketException or IOException or OperationCanceledException or ObjectDisposedException)
                {
                    // Whoever asked has gone, or wrote nothing in time; or the guard ends.
                }
            }
        }

        private async Task AnswerAsync(Socket client)
        {
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(_end.Token);
            limit.CancelAfter(LinePatience);
            GuestAnswer answer;
            try
            {
                string line = await ReceiveAsync(client, MaxRequest, limit.Token);
                GuestRequest? request = JsonSerializer.Deserialize(line, GuestRequestJson.Default.GuestRequest);
                answer = request is null ? GuestAnswer.Wrong("an empty request") : await _ask(request).WaitAsync(AnswerPatience, _end.Token);
            }
            catch (Exception e) when (e is JsonException or NotSupportedException)
            {
                answer = GuestAnswer.Wrong("the guard does not understand the request: it is of another version");
            }
            catch (TimeoutException)
            {
                answer = GuestAnswer.Wrong("the guard is busy with the guest; try again");
            }

            limit.CancelAfter(LinePatience);
            await SendAsync(client, JsonSerializer.Serialize(answer, GuestRequestJson.Default.GuestAnswer), limit.Token);
        }
    }
}
