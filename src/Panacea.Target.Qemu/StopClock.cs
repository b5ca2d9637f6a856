using Panacea.Target.Qemu.Qmp;

namespace Panacea.Target.Qemu;

/// <summary>Keeps QEMU's own times of the guest's stops and resumes (QMP STOP and RESUME), to measure with QEMU's clock how long it stood still.</summary>
internal sealed class StopClock
{
    private const int Kept = 256;
    private readonly object _gate = new();
    private readonly Queue<(bool Stop, long Us)> _transitions = new();
    private long _forgottenUs = long.MinValue;

    /// <summary>Wall clock in microseconds since the Unix epoch: the clock that QEMU stamps its events with.</summary>
    public static long NowUs => (DateTime.UtcNow - DateTime.UnixEpoch).Ticks / TimeSpan.TicksPerMicrosecond;

    public void OnEvent(QmpEvent e)
    {
        if (e.Name is not ("STOP" or "RESUME"))
            return;
        lock (_gate)
        {
            if (_transitions.Count == Kept)
                _forgottenUs = _transitions.Dequeue().Us;
            _transitions.Enqueue((e.Name == "STOP", e.TimestampUs));
            Monitor.PulseAll(_gate);
        }
    }

    /// <summary>Time between the first STOP at or after <paramref name="runningSinceUs"/> and the first RESUME at or after <paramref name="resumedUs"/>,
    /// both by our own wall clock; waits for the events, which trail the stub's answers (do_vm_stop tells the stub first). False where they did not come, where there have been so many since that these
    /// are not kept any more, or where the host's clock was set back between them.</summary>
    public bool TryMeasure(long runningSinceUs, long resumedUs, TimeSpan patience, out long microseconds)
    {
        long deadline = Environment.TickCount64 + (long)patience.TotalMilliseconds;
        lock (_gate)
        {
            while (true)
            {
                microseconds = 0;
                if (_forgottenUs >= runningSinceUs)
                    return false;
                long stop = 0, resume = 0;
                foreach ((bool isStop, long us) in _transitions)
                {
                    if (isStop && us >= runningSinceUs && stop == 0)
                        stop = us;
                    if (!isStop && us >= resumedUs && resume == 0)
                        resume = us;
                }

                if (stop != 0 && resume != 0)
                {
                    microseconds = Math.Max(0, resume - stop);
                    return resume >= stop;
                }

                long left = deadline - Environment.TickCount64;
                if (left <= 0)
                    return false;

                Monitor.Wait(_gate, (int)left);
            }
        }
    }
}
