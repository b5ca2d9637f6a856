using System.Diagnostics;
using System.Net;
using System.Net.Sockets;

namespace Panacea.Lab.Workloads;

/// <summary>What clients of a service in a guest saw so far.</summary>
/// <param name="Answers">Answers that were right.</param>
/// <param name="Refused">Answers in which the service said itself that it could not do what was asked.</param>
/// <param name="Reconnects">How often a client had to connect anew, because its connection had broken or gone silent.</param>
/// <param name="Wrong">Answers that were wrong: what was expected, and what came. Empty where all is well.</param>
public sealed record ClientLoadStatus(long Answers, long Refused, int Reconnects, IReadOnlyList<string> Wrong);

/// <summary>Some clients on the host that ask a service in a guest without a pause and compare each answer with the one that is right. A connection that breaks or goes silent is made anew, as every client
/// in the field does; what had not been answered on it had not been promised.</summary>
public abstract class ClientLoad : IAsyncDisposable
{
    private const int MaxWrong = 100;
    private static readonly TimeSpan Retry = TimeSpan.FromMilliseconds(50), AnswerLimit = TimeSpan.FromSeconds(2);

    private readonly int _port;
    private readonly string _name;
    private readonly CancellationTokenSource _stop = new();
    private readonly TaskCompletionSource _first = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly List<string> _wrong = [];
    private Task _clients = Task.CompletedTask;
    private long _answers, _refused;
    private int _reconnects;

    /// <summary>Nothing is asked before <see cref="BeginAsync"/>.</summary>
    /// <param name="name">The service, for messages.</param>
    /// <param name="port">Its port on 127.0.0.1.</param>
    private protected ClientLoad(string name, int port) => (_name, _port) = (name, port);

    /// <summary>What the clients saw so far.</summary>
    public ClientLoadStatus Status
    {
        get
        {
            lock (_wrong)
                return new ClientLoadStatus(Interlocked.Read(ref _answers), Interlocked.Read(ref _refused), _reconnects, [.. _wrong]);
        }
    }

    /// <summary>Completes when <paramref name="more"/> further answers were right: the service goes on.</summary>
    /// <exception cref="TimeoutException">They were not in time.</exception>
    public async Task WaitForAnswersAsync(int more, TimeSpan timeout, CancellationToken cancel = default)
    {
        long goal = Interlocked.Read(ref _answers) + more, since = Stopwatch.GetTimestamp();
        while (Interlocked.Read(ref _answers) < goal)
        {
            if (Stopwatch.GetElapsedTime(since) > timeout)
                throw new TimeoutException($"{_name} did not answer {more} times within {timeout.TotalSeconds:0.#} s");
            await Task.Delay(5, cancel);
        }
    }

    /// <summary>Ends the load.</summary>
    public async Task StopAsync()
    {
        await _stop.CancelAsync();
        await _clients;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        await StopAsync();
        _stop.Dispose();
    }

    /// <summary>Begins, and waits for the first right answer.</summary>
    private protected async Task BeginAsync(int clients, TimeSpan? timeout, CancellationToken cancel)
    {
        _clients = Task.WhenAll(Enumerable.Range(0, clients).Select(client => Task.Run(() => RunAsync(client))));
        try
        {
            await _first.Task.WaitAsync(timeout ?? TimeSpan.FromSeconds(30), cancel);
        }
        catch
        {
            await DisposeAsync();
            throw;
        }
    }

    /// <summary>Asks over one connection until it breaks.</summary>
    /// <param name="client">Number of the client, from 0.</param>
    /// <param name="stream">The connection.</param>
    /// <param name="talk">Where to tell what came.</param>
    /// <exception cref="IOException">The service broke off.</exception>
    /// <exception cref="InvalidDataException">The answer is wrong in the way that the message says.</exception>
    private protected abstract Task TalkAsync(int client, NetworkStream stream, Talk talk);

    private async Task RunAsync(int client)
    {
        for (bool isFirst = true; !_stop.IsCancellationRequested; isFirst = false)
        {
            if (!isFirst)
                Interlocked.Increment(ref _reconnects);
            try
            {
                using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
                await socket.ConnectAsync(IPAddress.Loopback, _port, _stop.Token);
                await using var stream = new NetworkStream(socket);
                using var talk = new Talk(this);
                await TalkAsync(client, stream, talk);
            }
            catch (InvalidDataException e)
            {
                lock (_wrong)
                {
                    if (_wrong.Count < MaxWrong)
                        _wrong.Add(e.Message);
                }
            }
            catch (Exception e) when (e is IOException or SocketException or OperationCanceledException)
            {
                // Broken or silent: nothing was promised of what has no answer.
            }

            if (!_stop.IsCancellationRequested)
                await Task.WhenAny(Task.Delay(Retry, _stop.Token));
        }
    }

    /// <summary>One connection's account.</summary>
    private protected sealed class Talk : IDisposable
    {
        private readonly ClientLoad _load;
        private readonly CancellationTokenSource _limit;

        public Talk(ClientLoad load)
        {
            _load = load;
            _limit = CancellationTokenSource.CreateLinkedTokenSource(load._stop.Token);
            _limit.CancelAfter(AnswerLimit);
        }

        /// <summary>Cancelled when the load is to end, and when no answer has come for two seconds.</summary>
        public CancellationToken Cancel => _limit.Token;

        /// <summary>An answer was right.</summary>
        public void Answered()
        {
            _limit.CancelAfter(AnswerLimit);
            Interlocked.Increment(ref _load._answers);
            _load._first.TrySetResult();
        }

        /// <summary>The service said that it could not.</summary>
        public void Refused()
        {
            _limit.CancelAfter(AnswerLimit);
            Interlocked.Increment(ref _load._refused);
        }

        public void Dispose() => _limit.Dispose();
    }
}
