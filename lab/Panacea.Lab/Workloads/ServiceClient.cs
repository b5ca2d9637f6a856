using System.Diagnostics;
using System.Net.Sockets;
using Panacea.Lab.Guests;

namespace Panacea.Lab.Workloads;

/// <summary>How far a service is.</summary>
/// <param name="Operations">Operations acknowledged so far.</param>
/// <param name="Number">The number of the last one.</param>
/// <param name="At">When it was acknowledged (<see cref="Stopwatch.GetTimestamp"/>).</param>
public readonly record struct ServiceMark(long Operations, long Number, long At)
{
    /// <summary>Operations a second between two marks, by the times of the acknowledgements themselves; null where there was none.</summary>
    public double? RateSince(ServiceMark before) => Operations > before.Operations ? (Operations - before.Operations) / Stopwatch.GetElapsedTime(before.At, At).TotalSeconds : null;
}

/// <summary>The client of a <see cref="MeasuredService"/>. A connection that breaks is made anew at once, and again until it is served; one that is only silent is not given up, for it can't tell a guest that stands from a slow one.</summary>
public sealed class ServiceClient : IAsyncDisposable
{
    private const int PatientFrom = 30;

    // In the name of a guest that boots connections are taken (QEMU's user network does that) long before it answers: what is lost by then is not waited for.
    private static readonly TimeSpan AnswerLimit = TimeSpan.FromSeconds(0.5), PatientLimit = TimeSpan.FromSeconds(5), Retry = TimeSpan.FromMilliseconds(20);

    private readonly MeasuredService _service;
    private readonly CancellationTokenSource _stop = new();
    private readonly object _lock = new();
    private readonly Task _loop;
    private Guest _guest;
    private CancellationTokenSource _session;
    private ServiceMark _mark;
    private TimeSpan _longestGap;
    private long _firstAfter;
    private int _connections;

    private ServiceClient(MeasuredService service, Guest guest)
    {
        _service = service;
        _guest = guest;
        _session = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
        _loop = Task.Run(RunAsync);
    }

    /// <summary>Connects and waits for the first operation.</summary>
    /// <exception cref="TimeoutException">It was not acknowledged in time.</exception>
    public static async Task<ServiceClient> StartAsync(MeasuredService service, Guest guest, TimeSpan limit, CancellationToken cancel = default)
    {
        var client = new ServiceClient(service, guest);
        try
        {
            await client.WaitAsync(1, limit, cancel);
            return client;
        }
        catch
        {
            await client.DisposeAsync();
            throw;
        }
    }

    /// <summary>How far it is.</summary>
    public ServiceMark Mark
    {
        get
        {
            lock (_lock)
                return _mark;
        }
    }

    /// <summary>Connections on which it was served so far.</summary>
    public int Connections
    {
        get
        {
            lock (_lock)
                return _connections;
        }
    }

    /// <summary>The number of the first operation of the present connection.</summary>
    public long FirstOfConnection
    {
        get
        {
            lock (_lock)
                return _firstAfter;
        }
    }

    /// <summary>The longest time between two acknowledgements since the last call of this, the running one included, and begins anew.</summary>
    public TimeSpan TakeLongestGap()
    {
        lock (_lock)
        {
            TimeSpan running = _mark.At == 0 ? TimeSpan.Zero : Stopwatch.GetElapsedTime(_mark.At), longest = running > _longestGap ? running : _longestGap;
            _longestGap = TimeSpan.Zero;
            return longest;
        }
    }

    /// <summary>Gives up its connection, which leads nowhere any more, and connects anew.</summary>
    /// <param name="other">The guest that has taken the other one's place; null for the same.</param>
    public void Reconnect(Guest? other = null)
    {
        CancellationTokenSource gone;
        lock (_lock)
        {
            _guest = other ?? _guest;
            gone = _session;
            _session = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
        }

        gone.Cancel();
    }

    /// <summary>Completes when so many more operations are acknowledged: the service goes on.</summary>
    /// <exception cref="TimeoutException">They were not in time.</exception>
    public async Task WaitAsync(int more, TimeSpan limit, CancellationToken cancel = default)
    {
        long goal = Mark.Operations + more, deadline = Environment.TickCount64 + (long)limit.TotalMilliseconds;
        while (Mark.Operations < goal)
        {
            if (Environment.TickCount64 > deadline)
                throw new TimeoutException($"{_service.Name}: {more} operations were not acknowledged within {limit.TotalSeconds:0.#} s");
            await Task.Delay(5, cancel);
        }
    }

    /// <summary>Completes when the service has been had on so many connections.</summary>
    /// <exception cref="TimeoutException">It was not in time.</exception>
    public async Task WaitForConnectionAsync(int number, TimeSpan limit, CancellationToken cancel = default)
    {
        long deadline = Environment.TickCount64 + (long)limit.TotalMilliseconds;
        while (Connections < number)
        {
            if (Environment.TickCount64 > deadline)
                throw new TimeoutException($"{_service.Name} was not served again within {limit.TotalSeconds:0.#} s");
            await Task.Delay(5, cancel);
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _loop;
        _session.Dispose();
        _stop.Dispose();
    }

    private async Task RunAsync()
    {
        for (int silent = 0; !_stop.IsCancellationRequested;)
        {
            Guest guest;
            CancellationTokenSource session;
            lock (_lock)
                (guest, session) = (_guest, _session);
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(session.Token);
            limit.CancelAfter(silent < PatientFrom ? AnswerLimit : PatientLimit);
            bool served = false;
            silent++;
            try
            {
                await foreach (long? number in _service.ConnectAsync(guest, limit.Token))
                {
                    if (number is { } acknowledged)
                    {
                        Acknowledge(acknowledged, !served);
                        served = true;
                        continue;
                    }

                    // Somebody is there: from here on it takes as long as it takes.
                    limit.CancelAfter(Timeout.InfiniteTimeSpan);
                    silent = 0;
                }
            }
            catch (Exception e) when (e is IOException or SocketException or OperationCanceledException)
            {
                // As connections to a guest that crashed end.
            }

            if (!_stop.IsCancellationRequested)
                await Task.WhenAny(Task.Delay(Retry, _stop.Token));
        }
    }

    private void Acknowledge(long number, bool isFirst)
    {
        lock (_lock)
        {
            long now = Stopwatch.GetTimestamp();
            if (_mark.At != 0 && Stopwatch.GetElapsedTime(_mark.At, now) is TimeSpan gap && gap > _longestGap)
                _longestGap = gap;
            _mark = new ServiceMark(_mark.Operations + 1, number, now);
            if (!isFirst)
                return;
            _firstAfter = number;
            _connections++;
        }
    }
}
