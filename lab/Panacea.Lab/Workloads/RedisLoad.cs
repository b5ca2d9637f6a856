using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;

namespace Panacea.Lab.Workloads;

/// <summary>What a client of redis saw so far.</summary>
/// <param name="Acknowledged">INCRs that were answered.</param>
/// <param name="Highest">The highest value answered.</param>
/// <param name="LongestGap">The longest time between two answers.</param>
/// <param name="Reconnects">How often it was answered again after its connection had broken or gone silent.</param>
/// <param name="Anomalies">Answers that did not fit those before: each says what was expected and what came. Empty when nothing was lost.</param>
public sealed record RedisLoadStatus(long Acknowledged, long Highest, TimeSpan LongestGap, int Reconnects, IReadOnlyList<string> Anomalies);

/// <summary>
/// A client on the host that INCRs one key of a guest's redis without a pause and keeps every acknowledged value. redis runs with appendfsync always, so that
/// an acknowledged value is on the disk. The one client of its key, it knows the next answer: one more than the last, or one more again for each INCR that is in
/// doubt because its answer was lost with a connection.
/// </summary>
public sealed class RedisLoad : IAsyncDisposable
{
    private const int MaxAnomalies = 100;
    private static readonly TimeSpan Retry = TimeSpan.FromMilliseconds(50);

    // A server that rebooted has forgotten the connection and says nothing: like every client in the field, this one gives up waiting and connects anew, soon at first.
    private static readonly TimeSpan AnswerLimit = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan FirstAnswerLimit = TimeSpan.FromSeconds(0.5);

    private readonly string _key;
    private readonly CancellationTokenSource _stop = new();
    private readonly object _lock = new();
    private readonly List<string> _anomalies = [];
    private readonly TaskCompletionSource _first = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Task _loop;
    private readonly int _port;
    private long _acknowledged;
    private long _highest;
    private long _lastAnswer;
    private TimeSpan _longestGap;
    private int _reconnects;
    private long _inDoubt;

    private RedisLoad(int port, string key)
    {
        _port = port;
        _key = key;
        _loop = Task.Run(RunAsync);
    }

    /// <summary>Starts the load and waits for the first answer.</summary>
    public static async Task<RedisLoad> StartAsync(int port, string key = "panacea:lab:counter", TimeSpan? timeout = null, CancellationToken cancel = default)
    {
        var load = new RedisLoad(port, key);
        try
        {
            await load._first.Task.WaitAsync(timeout ?? TimeSpan.FromSeconds(30), cancel);
            return load;
        }
        catch
        {
            await load.DisposeAsync();
            throw;
        }
    }

    /// <summary>What it saw so far.</summary>
    public RedisLoadStatus Status
    {
        get
        {
            lock (_lock)
                return new RedisLoadStatus(_acknowledged, _highest, Longest(), _reconnects, [.. _anomalies]);
        }
    }

    /// <summary>The longest gap since the last call of this (the running one included), and begins anew.</summary>
    public TimeSpan TakeLongestGap()
    {
        lock (_lock)
        {
            TimeSpan longest = Longest();
            _longestGap = TimeSpan.Zero;
            return longest;
        }
    }

    /// <summary>Completes when <paramref name="more"/> further INCRs have been answered: the service goes on.</summary>
    /// <exception cref="TimeoutException">They were not in time.</exception>
    public async Task WaitForAnswersAsync(int more, TimeSpan timeout, CancellationToken cancel = default)
    {
        long goal = Interlocked.Read(ref _acknowledged) + more;
        long deadline = Environment.TickCount64 + (long)timeout.TotalMilliseconds;
        while (Interlocked.Read(ref _acknowledged) < goal)
        {
            if (Environment.TickCount64 > deadline)
                throw new TimeoutException($"redis did not answer {more} times within {timeout.TotalSeconds:0.#} s");
            await Task.Delay(5, cancel);
        }
    }

    /// <summary>Compares redis' present value with what was acknowledged. Call it after <see cref="StopAsync"/>.</summary>
    /// <returns>What is wrong; empty when every acknowledged INCR is there.</returns>
    public async Task<IReadOnlyList<string>> VerifyAsync(CancellationToken cancel = default)
    {
        using RespClient redis = await RespClient.ConnectAsync(_port, cancel);
        string text = await redis.CommandAsync(["GET", _key], cancel);
        RedisLoadStatus status = Status;
        long value = long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long v) ? v : 0;
        // An INCR whose answer was lost may have happened or not.
        return value < status.Highest || value > status.Highest + _inDoubt
            ? [.. status.Anomalies, $"redis has {value}, acknowledged were {status.Highest} and {_inDoubt} more are in doubt"]
            : status.Anomalies;
    }

    /// <summary>Compares what redis would read when it starts again, its append-only file, with what was acknowledged. Call it after <see cref="StopAsync"/>.</summary>
    /// <param name="log">The file: commands as a client sends them, from the first on (redis.io, "Redis persistence" and "RESP protocol spec"). Its last one may be cut off, which redis does not mind.</param>
    /// <returns>What is wrong; empty when every acknowledged INCR is there.</returns>
    public IReadOnlyList<string> VerifyLog(ReadOnlySpan<byte> log)
    {
        if (RespLog.CountOf(log, "INCR", _key) is not { } there)
            return ["redis: its append-only file is damaged"];
        RedisLoadStatus status = Status;
        return there < status.Highest || there > status.Highest + _inDoubt ? [$"redis: its append-only file has {there}, acknowledged were {status.Highest} and {_inDoubt} more are in doubt"] : [];
    }

    /// <summary>Ends the load.</summary>
    public async Task StopAsync()
    {
        await _stop.CancelAsync();
        await _loop;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _stop.Dispose();
    }

    private TimeSpan Longest()
    {
        TimeSpan running = _lastAnswer == 0 || _stop.IsCancellationRequested ? TimeSpan.Zero : Stopwatch.GetElapsedTime(_lastAnswer);
        return running > _longestGap ? running : _longestGap;
    }

    private async Task RunAsync()
    {
        bool lost = false;
        TimeSpan firstLimit = FirstAnswerLimit;
        while (!_stop.IsCancellationRequested)
        {
            bool answered = false;
            try
            {
                using RespClient redis = await RespClient.ConnectAsync(_port, _stop.Token);
                using var limit = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
                while (true)
                {
                    limit.CancelAfter(answered ? AnswerLimit : firstLimit);
                    string answer = await redis.CommandAsync(["INCR", _key], limit.Token);
                    Acknowledge(long.Parse(answer, CultureInfo.InvariantCulture), lost);
                    answered = true;
                    lost = false;
                    firstLimit = FirstAnswerLimit;
                }
            }
            catch (Exception e) when (e is IOException or SocketException or OperationCanceledException or FormatException)
            {
                lock (_lock)
                    _inDoubt++;
                lost = true;
                // A slow server must not be given up for ever.
                if (!answered && firstLimit < AnswerLimit)
                    firstLimit *= 2;
                if (!_stop.IsCancellationRequested)
                    await Task.WhenAny(Task.Delay(Retry, _stop.Token));
            }
        }
    }

    private void Acknowledge(long value, bool reconnected)
    {
        lock (_lock)
        {
            if (_acknowledged > 0)
            {
                // The key may be older than this run; from its first answer on, every further step is one of this client's INCRs.
                long unexplained = value - _highest - 1;
                if (unexplained >= 0 && unexplained <= _inDoubt)
                    _inDoubt -= unexplained;
                else if (_anomalies.Count < MaxAnomalies)
                    _anomalies.Add($"after {_highest} came {value} with {_inDoubt} in doubt");
                if (reconnected)
                    _reconnects++;
            }

            long now = Stopwatch.GetTimestamp();
            if (_lastAnswer != 0 && Stopwatch.GetElapsedTime(_lastAnswer, now) is TimeSpan gap && gap > _longestGap)
                _longestGap = gap;
            _lastAnswer = now;
            _highest = Math.Max(_highest, value);
            Interlocked.Increment(ref _acknowledged);
        }

        _first.TrySetResult();
    }
}
