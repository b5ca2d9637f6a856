using System.Collections.Concurrent;
using Panacea.Target.Qemu.Gdb;
using Panacea.Target.Qemu.HostMemory;
using Panacea.Target.Qemu.Native;
using Panacea.Target.Qemu.Qmp;

namespace Panacea.Target.Qemu;

public sealed partial class QemuTarget
{
    /// <summary>Takes over everything that <see cref="QemuAttacher"/> has opened; the guest stands still and is resumed here if it ran before.</summary>
    internal QemuTarget(
        QmpClient qmp, string path, int pid, bool kvm, GuardLock guard, QemuMemory memory, WakeEvent wake, StopClock clock,
        ConcurrentQueue<QmpEvent> events, QemuAttachOptions options, GdbStub stub, GdbClient gdb, QemuRunState before, long startUs)
    {
        _qmp = qmp;
        _lock = guard;
        _wake = wake;
        _clock = clock;
        _events = events;
        _options = options;
        _stub = stub;
        _gdb = gdb;
        QmpPath = path;
        Pid = pid;
        IsKvm = kvm;
        Memory = memory;
        StateAtAttach = before;
        _threads = new VcpuThreads(pid, qmp);
        _runningSinceUs = startUs;
        qmp.OnClosed = () =>
        {
            Memory.MarkGone();
            wake.Signal();
        };
        if (IsGone)
            memory.MarkGone();

        if (gdb.StoppedByConnecting)
        {
            _stopped = new QemuStoppedGuest(this, 0, StopReason.Requested, startUs);
            _stopped.Resume();
        }
        else if (before.IsDebug)
        {
            FoundStopped = _stopped = new QemuStoppedGuest(this, 0, StopReason.FoundStopped, startUs);
        }
        else
        {
            // An operator's pause is the operator's to end.
            _stopped = new QemuStoppedGuest(this, 0, StopReason.Other, startUs);
            _leaveStopped = true;
        }
    }
}
