using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using Panacea.Target.Qemu.Gdb;
using Panacea.Target.Qemu.HostMemory;
using Panacea.Target.Qemu.Native;
using Panacea.Target.Qemu.Qmp;

namespace Panacea.Target.Qemu;

/// <summary>A live x86-64 guest of a running QEMU: memory to read at any time, breakpoints to arm, a stop to ask for or to wait for.</summary>
/// <remarks>
/// One thread (the session's) uses it; only <see cref="Wake"/>, <see cref="Memory"/> for reading, <see cref="QueryRunState"/> and
/// <see cref="TryTakeEvent"/> may be used from others. However it is given up, the guest runs afterwards, unless it stood still for another
/// reason when Panacea came.
/// </remarks>
public sealed partial class QemuTarget : IDisposable
{
    /// <summary>Hardware execution breakpoints that x86 has: the debug registers DR0 to DR3.</summary>
    public const int MaxHardwareBreakpoints = 4;

    private readonly QmpClient _qmp;
    private readonly GuardLock _lock;
    private readonly WakeEvent _wake;
    private readonly StopClock _clock;
    private readonly ConcurrentQueue<QmpEvent> _events;
    private readonly QemuAttachOptions _options;
    private readonly VcpuThreads _threads;
    private readonly GdbStub _stub;
    private readonly GdbClient _gdb;
    private ulong[] _armed = [];
    private QemuStoppedGuest? _stopped;
    private long _runningSinceUs;
    private bool _leaveStopped, _isStopAsked;
    private int _disposed;

    /// <summary>QEMU's process id.</summary>
    public int Pid { get; }

    /// <summary>The QMP socket in use.</summary>
    public string QmpPath { get; }

    /// <summary>QEMU's version.</summary>
    public QemuVersion Version => _qmp.Version;

    /// <summary>The guest runs under KVM; false under TCG emulation.</summary>
    public bool IsKvm { get; }

    /// <summary>Number of vCPUs.</summary>
    public int VcpuCount => _gdb.Threads.Count;

    /// <summary>The guest's physical memory, live.</summary>
    public QemuMemory Memory { get; private set; }

    /// <summary>QEMU's run state before Panacea touched it.</summary>
    public QemuRunState StateAtAttach { get; }

    /// <summary>The guest, where attaching found it in state <c>debug</c>, left behind at a breakpoint; else null. Its breakpoints are removed;
    /// which vCPU hit one is told by <see cref="QemuStoppedGuest.FindVcpuAt"/>. It stands still until resumed.</summary>
    public QemuStoppedGuest? FoundStopped { get; private set; }

    /// <summary>Addresses of the armed breakpoints.</summary>
    public IReadOnlyList<ulong> Armed => _armed;

    /// <summary>The guest, while this object holds it; else null.</summary>
    public QemuStoppedGuest? Stopped => _stopped;

    /// <summary>QEMU has ended, or its QMP connection has.</summary>
    public bool IsGone => _qmp.ClosedBecause != null;

    /// <summary>The QMP connection, for commands of the caller's own.</summary>
    public QmpClient Qmp => _qmp;

    /// <summary>How long any one answer of the gdb stub is waited for; the guest may stand still meanwhile.</summary>
    public TimeSpan CommandTimeout
    {
        get => _gdb.CommandTimeout;
        set => _gdb.CommandTimeout = value;
    }

    /// <summary>Attaches in steps; where one fails, those before are undone and the guest is as it was.</summary>
    /// <exception cref="AttachException">With the reason.</exception>
    public static QemuTarget Attach(QemuTargetSpec spec, QemuAttachOptions? options = null) => QemuAttacher.Attach(spec, options ?? new QemuAttachOptions());

    /// <summary>Asks QEMU for its run state; also while the guest runs.</summary>
    public QemuRunState QueryRunState() => QueryRunState(_qmp);

    /// <summary>Ends a wait from any thread.</summary>
    public void Wake() => _wake.Signal();

    /// <summary>Takes the next QMP event, oldest first. STOP and RESUME are among them.</summary>
    public bool TryTakeEvent([NotNullWhen(true)] out QmpEvent? e) => _events.TryDequeue(out e);

    /// <summary>Sets hardware breakpoints, in place of all that were armed. Stops a running guest for about a millisecond, and resumes it.</summary>
    /// <param name="addresses">Guest-virtual addresses, at most <see cref="MaxHardwareBreakpoints"/>.</param>
    /// <returns>The guest, where it hit something else before it could be stopped by us; null in the usual case that it runs on.</returns>
    /// <exception cref="TargetException">QEMU refused; nothing is armed then, and the guest is as it was.</exception>
    public QemuStoppedGuest? ArmBreakpoints(params ReadOnlySpan<ulong> addresses)
    {
        if (addresses.Length > MaxHardwareBreakpoints)
            throw new TargetException($"{addresses.Length} breakpoints asked for: x86 has {MaxHardwareBreakpoints} hardware breakpoints");
        QemuStoppedGuest? held = _stopped;
        QemuStoppedGuest guest = held ?? Stop();
        try
        {
            ChangeArmed(addresses);
        }
        finally
        {
            if (held == null && guest.Reason == StopReason.Requested)
                guest.Resume();
        }

        return held == null && guest.Reason != StopReason.Requested ? guest : null;
    }

    /// <summary>Removes all armed breakpoints; else as <see cref="ArmBreakpoints"/>.</summary>
    public QemuStoppedGuest? Disarm() => _armed.Length == 0 ? null : ArmBreakpoints();

    /// <summary>Stops the guest. Where it has just stopped by itself, that stop is returned, with its own reason.</summary>
    /// <exception cref="GdbException"><see cref="GdbFailure.Late"/>: a QEMU that is suspended stops the guest when it goes on, and nothing takes that back. <see cref="WaitForStop"/> returns it then, and giving the guest
    /// up lets it run.</exception>
    public QemuStoppedGuest Stop()
    {
        if (_stopped != null)
            return _stopped;
        if (!_isStopAsked)
            _gdb.Interrupt();
        _isStopAsked = true;
        return _gdb.WaitForStop(-1, _gdb.CommandTimeout, out StopReply reply) == GdbWait.Stopped
            ? Hold(reply)
            : throw new GdbException("QEMU did not stop the guest in time; it is suspended or busy, and the guest goes on when it does", GdbFailure.Late);
    }

    /// <summary>The stub has said something that <see cref="WaitForStop"/> has not taken yet: most probably the guest has stopped. Takes a microsecond; for whoever does something long while the guest runs.</summary>
    public bool HasNews => _stopped == null && _gdb.HasInput;

    /// <summary>Waits until the guest stops, an event other than STOP and RESUME comes, or <see cref="Wake"/> is called. Uses no processor time.</summary>
    public QemuWait WaitForStop(TimeSpan timeout)
    {
        if (_stopped != null)
            return new QemuWait(QemuWaitKind.Stopped, _stopped);
        try
        {
            switch (_gdb.WaitForStop(_wake.Fd, timeout, out StopReply reply))
            {
                case GdbWait.Stopped when reply.Kind == StopKind.Exited:
                    Memory.MarkGone();
                    return new QemuWait(QemuWaitKind.Gone, null);
                case GdbWait.Stopped:
                    return new QemuWait(QemuWaitKind.Stopped, Hold(reply));
                case GdbWait.Woken:
                    _wake.Clear();
                    return new QemuWait(IsGone ? QemuWaitKind.Gone : QemuWaitKind.Woken, null);
                default:
                    return new QemuWait(QemuWaitKind.TimedOut, null);
            }
        }
        catch (GdbException e) when (e.Kind == GdbFailure.Closed && QemuHasEnded())
        {
            Memory.MarkGone();
            return new QemuWait(QemuWaitKind.Gone, null);
        }
    }

    /// <summary>Takes note that somebody else let the guest run again: an operator who ended a pause of his own. Does nothing while it stands.</summary>
    /// <returns>True where the guest runs.</returns>
    public bool NoteResumedElsewhere()
    {
        if (_stopped is null)
            return true;

        // Running again, or run into a breakpoint since: that stop is still to be read. One that is kept at its breakpoint has none to run into.
        if (QueryRunState() is { IsRunning: false } state && (_keep || !state.IsDebug))
            return false;
        _stopped.ResumedUs = _runningSinceUs = StopClock.NowUs;
        _stopped = null;
        _leaveStopped = _keep = false;
        return true;
    }

    /// <summary>How long the guest stood still in a stop that has been resumed, by QEMU's own clock (timestamps of its STOP and RESUME events).</summary>
    /// <param name="guest">The stop.</param>
    /// <param name="patience">How long to wait for the events.</param>
    /// <param name="microseconds">The time.</param>
    /// <returns>False where the events did not come, or the guest has not been resumed.</returns>
    public bool TryMeasureStop(QemuStoppedGuest guest, TimeSpan patience, out long microseconds)
    {
        microseconds = 0;
        return guest.ResumedUs != 0 && _clock.TryMeasure(guest.RunningSinceUs, guest.ResumedUs, patience, out microseconds);
    }

    /// <summary>Reads the memory layout again, after a reset or hot-plugging. <see cref="Memory"/> is another object afterwards; the one before is disposed.</summary>
    public void RefreshMemory()
    {
        QemuMemory fresh = QemuMemoryMapper.Open(Pid, QemuMemoryMapper.Locate(_qmp), _options.AllowSharedMapping);
        QemuMemory old = Memory;
        Memory = fresh;
        old.Dispose();
    }

    /// <inheritdoc cref="VcpuThreads.Times"/>
    public IReadOnlyList<TimeSpan>? VcpuTimes() => _threads.Times();

    /// <inheritdoc cref="HostProcess.IsSuspended"/>
    public bool IsSuspended() => new HostProcess(Pid).IsSuspended();

    /// <summary>Makes the next stop short: writes out what the host holds back of the guest's disks, which QEMU would otherwise do while the guest stands still.</summary>
    public void FlushDisks() => HostDisks.Flush(_qmp, Pid);

    /// <summary>Removes the breakpoints, lets the guest run, and gives it up: the same as <see cref="Dispose"/>.</summary>
    public void Detach() => Dispose();

    /// <inheritdoc/>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        try
        {
            if (!IsGone)
                LetGo();
        }
        finally
        {
            _gdb.Dispose();
            if (!IsGone)
                _stub.Close(_qmp);
            else if (_stub.SessionDirectory != null)
                RuntimeDirectory.RemoveSession(_stub.SessionDirectory);
            _qmp.Dispose();
            Memory.Dispose();
            _lock.Dispose();
            _wake.Dispose();
        }
    }

    internal GdbClient Gdb => _gdb;

    internal static QemuRunState QueryRunState(QmpClient qmp)
    {
        System.Text.Json.JsonElement status = qmp.Execute("query-status");
        return new QemuRunState(QmpJson.Text(status, "status") ?? "unknown", QmpJson.Flag(status, "running") ?? false);
    }

    /// <summary>Called by the stopped guest just before it sends the resume.</summary>
    internal void OnResuming(QemuStoppedGuest guest)
    {
        _runningSinceUs = StopClock.NowUs;
        guest.ResumedUs = _runningSinceUs;
        _stopped = null;
        _leaveStopped = _keep = false;
    }

    internal void ChangeArmed(ReadOnlySpan<ulong> addresses)
    {
        ulong[] before = _armed;
        _armed = [];
        try
        {
            // Those that stay are left alone.
            _gdb.ChangeBreakpoints([.. before.Except(addresses.ToArray())], [.. addresses.ToArray().Except(before)]);
            _armed = addresses.ToArray();
        }
        catch (GdbException e) when (e.Kind == GdbFailure.Refused)
        {
            foreach (ulong address in addresses)
            {
                try
                {
                    _gdb.ChangeBreakpoints([address], []);
                }
                catch (GdbException inner) when (inner.Kind == GdbFailure.Refused)
                {
                    // It was the one that could not be set.
                }
            }

            throw;
        }
    }

    private QemuStoppedGuest Hold(StopReply reply)
    {
        bool requested = _isStopAsked;
        _isStopAsked = false;
        if (reply.Kind == StopKind.Exited)
            throw new GdbException("QEMU is ending", GdbFailure.Closed);
        const int sigint = 2;
        StopReason reason = reply.IsTrap ? StopReason.Breakpoint : requested && reply.Signal == sigint ? StopReason.Requested : StopReason.Other;

        // Who paused it meanwhile, ends the pause; giving the guest up does not.
        _leaveStopped |= reason == StopReason.Other;
        return _stopped = new QemuStoppedGuest(this, Math.Max(0, _gdb.VcpuOf(reply.Thread)), reason, _runningSinceUs);
    }

    private bool QemuHasEnded() => IsGone || !Directory.Exists($"/proc/{Pid}");
}
