using System.Net;
using System.Net.Sockets;

namespace Panacea.Lab.Tests.Workloads;

/// <summary>A server on loopback that serves each connection as it is told, in place of one in a guest.</summary>
internal sealed class TestServer : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _loop;

    private TestServer(Func<int, NetworkStream, CancellationToken, Task> serve)
    {
        _listener.Start();
        _loop = Task.Run(() => AcceptAsync(serve));
    }

    /// <summary>Its port.</summary>
    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    /// <summary>Starts one.</summary>
    /// <param name="serve">What is done with a connection, given its number from 0; when it returns, the connection is closed.</param>
    public static TestServer Start(Func<int, NetworkStream, CancellationToken, Task> serve) => new(serve);

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Dispose();
        await _loop;
        _stop.Dispose();
    }

    private async Task AcceptAsync(Func<int, NetworkStream, CancellationToken, Task> serve)
    {
        var served = new List<Task>();
        try
        {
            for (int number = 0; ; number++)
            {
                Socket socket = await _listener.AcceptSocketAsync(_stop.Token);
                int mine = number;
                served.Add(Task.Run(async () =>
                {
                    await using var stream = new NetworkStream(socket, ownsSocket: true);
                    try
                    {
                        await serve(mine, stream, _stop.Token);
                    }
                    catch (Exception e) when (e is IOException or OperationCanceledException)
                    {
                        // The client has gone, or the test is over.
                    }
                }));
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            await Task.WhenAll(served);
        }
    }
}
