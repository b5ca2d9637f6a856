using System.Runtime.InteropServices;

namespace Panacea.Target.Qemu.Native;

/// <summary>An eventfd: wakes a thread that waits in poll(2). Any thread may signal; signals add up to one wake.</summary>
internal sealed unsafe class WakeEvent : IDisposable
{
    private const int CloseOnExec = 0x80000, NonBlocking = 0x800;
    private readonly Lock _gate = new();
    private int _fd;

    public WakeEvent()
    {
        _fd = Libc.EventFd(0, CloseOnExec | NonBlocking);
        if (_fd < 0)
            throw new TargetException($"eventfd failed: {Libc.LastError}");
    }

    /// <summary>To poll; -1 after disposal.</summary>
    public int Fd => _fd;

    /// <summary>Wakes the waiter, now or when it next waits.</summary>
    public void Signal()
    {
        ulong one = 1;
        lock (_gate)
        {
            // SAFETY: eight bytes on this stack, as eventfd(2) demands; the lock keeps the fd from being closed and reused meanwhile.
            if (_fd >= 0)
                _ = Libc.Write(_fd, &one, 8);
        }
    }

    /// <summary>Takes back every signal so far.</summary>
    public void Clear()
    {
        ulong count;

        // SAFETY: eight bytes on this stack; the fd is non-blocking, so an empty counter returns EAGAIN at once.
        lock (_gate)
        {
            if (_fd >= 0)
                _ = Libc.Read(_fd, &count, 8);
        }
    }

    public void Dispose()
    {
        lock (_gate)
        {
            if (_fd >= 0)
                _ = Libc.Close(_fd);
            _fd = -1;
        }
    }
}
