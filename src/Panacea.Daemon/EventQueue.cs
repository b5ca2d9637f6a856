using System.Globalization;
using Panacea.Sessions;

namespace Panacea.Daemon;

/// <summary>
/// Takes events from the sessions' threads and hands them to writers on a thread of its own: a reader of our output that has stopped reading
/// must never delay a session, for the next crash may be a millisecond away.
/// </summary>
/// <remarks>Bounded: beyond <paramref name="capacity"/> the oldest event that is no incident is dropped, and how many were is said in a warning.</remarks>
public sealed class EventQueue(IReadOnlyList<IEventWriter> writers, Action<string> report, int capacity = 4096) : IDisposable
{
    private readonly LinkedList<SessionEvent> _waiting = new();
    private readonly object _gate = new();
    private readonly List<IEventWriter> _writers = [.. writers];
    private Thread? _thread;
    private long _dropped;
    private bool _closed;

    /// <summary>Starts handing events on.</summary>
    public void Start()
    {
        _thread = new Thread(Drain, 256 << 10) { IsBackground = true, Name = "events" };
        _thread.Start();
    }

    /// <summary>Takes one event; returns at once.</summary>
    public void Add(SessionEvent sessionEvent)
    {
        lock (_gate)
        {
            if (_closed)
                return;
            if (_waiting.Count >= capacity)
                DropOldest();
            _waiting.AddLast(sessionEvent);
            Monitor.Pulse(_gate);
        }
    }

    /// <summary>Takes no more events and waits until those taken are written, or for <paramref name="patience"/>.</summary>
    /// <returns>False where a writer is stuck and events were left behind.</returns>
    public bool Close(TimeSpan patience)
    {
        lock (_gate)
        {
            _closed = true;
            Monitor.Pulse(_gate);
        }

        return _thread?.Join(patience) ?? true;
    }

    /// <inheritdoc/>
    public void Dispose() => Close(TimeSpan.Zero);

    private void DropOldest()
    {
        LinkedListNode<SessionEvent>? victim = _waiting.First;
        while (victim is { Value: IncidentEvent })
            victim = victim.Next;
        _waiting.Remove(victim ?? _waiting.First!);
        _dropped++;
    }

    private void Drain()
    {
        while (true)
        {
            SessionEvent next;
            long dropped;
            lock (_gate)
            {
                while (_waiting.Count == 0 && !_closed)
                    Monitor.Wait(_gate);
                if (_waiting.Count == 0)
                    return;
                next = _waiting.First!.Value;
                _waiting.RemoveFirst();
                (dropped, _dropped) = (_dropped, 0);
            }

            if (dropped > 0)
                Write(new WarningEvent(next.Vm, string.Create(CultureInfo.InvariantCulture, $"{dropped} events were dropped: the reader of this output is too slow")));
            Write(next);
        }
    }

    private void Write(SessionEvent sessionEvent)
    {
        for (int i = _writers.Count - 1; i >= 0; i--)
        {
            try
            {
                _writers[i].Write(sessionEvent);
            }
            catch (Exception failure)
            {
                // A closed pipe, a full disk: the guests stay guarded without this output.
                _writers.RemoveAt(i);
                report($"events can no longer be written ({failure.Message}); guarding goes on without them");
            }
        }
    }
}
