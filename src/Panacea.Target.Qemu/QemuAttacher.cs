using System.Collections.Concurrent;
using System.Globalization;
using System.Text.Json;
using Panacea.Target.Qemu.Gdb;
using Panacea.Target.Qemu.HostMemory;
using Panacea.Target.Qemu.Native;
using Panacea.Target.Qemu.Qmp;

namespace Panacea.Target.Qemu;

/// <summary>Attaches in steps: QMP, refusals, lock, memory, gdb stub. What was begun is undone where a later step fails.</summary>
internal static class QemuAttacher
{
    private const int MaxQueuedEvents = 1024;

    /// <summary>Events that nobody needs to be woken for.</summary>
    private static readonly string[] QuietEvents = ["STOP", "RESUME", "RTC_CHANGE", "NIC_RX_FILTER_CHANGED", "BALLOON_CHANGE", "JOB_STATUS_CHANGE"];

    public static QemuTarget Attach(QemuTargetSpec spec, QemuAttachOptions options)
    {
        var undo = new Stack<IDisposable>();
        try
        {
            var wake = new WakeEvent();
            undo.Push(wake);
            var clock = new StopClock();
            var events = new ConcurrentQueue<QmpEvent>();
            (QmpClient qmp, string path) = ConnectQmp(spec, options, OnEvent);
            undo.Push(qmp);
            qmp.OnClosed = wake.Signal;

            RefuseWhatIsNotServed(qmp);
            bool kvm = QmpJson.Flag(qmp.Execute("query-kvm"), "enabled") ?? false;
            IReadOnlyList<QemuMemoryMapper.Located> located = QemuMemoryMapper.Locate(qmp);
            int pid = FindPid(qmp, located, spec, path);
            GuardLock guard = GuardLock.Take(pid);
            undo.Push(guard);
            QemuMemory memory = OpenMemory(pid, located, options);
            undo.Push(memory);
            var target = OpenStub(qmp, path, pid, kvm, guard, memory, wake, clock, events, options);
            undo.Clear();
            return target;

            void OnEvent(QmpEvent e)
            {
                clock.OnEvent(e);
                if (events.Count >= MaxQueuedEvents)
                    events.TryDequeue(out _);
                events.Enqueue(e);
                if (Array.IndexOf(QuietEvents, e.Name) < 0)
                    wake.Signal();
            }
        }
        finally
        {
            while (undo.TryPop(out IDisposable? step))
                step.Dispose();
        }
    }

    /// <summary>The first steps alone: QMP, refusals, memory.</summary>
    public static QemuView View(QemuTargetSpec spec, QemuAttachOptions options)
    {
        (QmpClient qmp, string path) = ConnectQmp(spec, options, _ => { });
        try
        {
            RefuseWhatIsNotServed(qmp);
            IReadOnlyList<QemuMemoryMapper.Located> located = QemuMemoryMapper.Locate(qmp);
            int pid = FindPid(qmp, located, spec, path);
            return new QemuView(qmp, pid, OpenMemory(pid, located, options));
        }
        catch
        {
            qmp.Dispose();
            throw;
        }
    }

    /// <summary>QEMU's process id: that of the socket's other end, or the process of its first vCPU's thread (a manager may have made the socket);
    /// whichever has the guest's memory.</summary>
    public static int FindPid(QmpClient qmp) => FindPid(qmp, QemuMemoryMapper.Locate(qmp));

    private static int FindPid(QmpClient qmp, IReadOnlyList<QemuMemoryMapper.Located> located, QemuTargetSpec spec, string path)
    {
        int pid = FindPid(qmp, located);
        return spec.Pid == 0 || spec.Pid == pid
            ? pid
            : throw new AttachException(AttachFailure.NoQmp, $"the QMP socket {path} of pid {spec.Pid} is served by another process (pid {pid})");
    }

    private static QemuMemory OpenMemory(int pid, IReadOnlyList<QemuMemoryMapper.Located> located, QemuAttachOptions options)
    {
        try
        {
            return QemuMemoryMapper.Open(pid, located, options.AllowSharedMapping);
        }
        catch (TargetException e) when (e is not AttachException)
        {
            throw new AttachException(AttachFailure.MemoryUnreachable, e.Message, e);
        }
    }

    private static int FindPid(QmpClient qmp, IReadOnlyList<QemuMemoryMapper.Located> located)
    {
        if (qmp.PeerPid > 0 && QemuMemoryMapper.Holds(qmp.PeerPid, located))
            return qmp.PeerPid;
        foreach (JsonElement cpu in QmpJson.Elements(qmp.Execute("query-cpus-fast")))
        {
            if (QmpJson.Integer(cpu, "thread-id") is { } thread and > 0 and <= int.MaxValue && ProcessOfThread((int)thread) is { } pid
                && QemuMemoryMapper.Holds(pid, located))
                return pid;
        }

        throw new AttachException(
            AttachFailure.MemoryUnreachable,
            "QEMU's process cannot be looked into: it runs on this host as another user (run Panacea as root), or on another host or in another pid namespace");
    }

    private static (QmpClient Client, string Path) ConnectQmp(QemuTargetSpec spec, QemuAttachOptions options, Action<QmpEvent> onEvent)
    {
        IReadOnlyList<string> paths = spec.QmpPath != null ? [spec.QmpPath] : QmpSocketFinder.Find(spec.Pid);
        QmpConnectionException? first = null;
        foreach (string path in paths)
        {
            try
            {
                return (QmpClient.Connect(path, options.Qmp, onEvent), path);
            }
            catch (QmpConnectionException e)
            {
                first ??= e;
            }
        }

        // A guard holds the QMP socket for as long as it guards: say so, rather than that somebody does.
        int pid = spec.Pid != 0 ? spec.Pid : first!.PeerPid;
        if (first!.IsTimeout && pid > 0 && GuardLock.HolderOf(pid) is { } holder)
            throw GuardLock.Held(pid, holder);
        throw new AttachException(AttachFailure.QmpUnreachable, first.Message, first);
    }

    internal static void RefuseWhatIsNotServed(QmpClient qmp)
    {
        foreach (JsonElement cpu in QmpJson.Elements(qmp.Execute("query-cpus-fast")))
        {
            if (QmpJson.Text(cpu, "target") is { } target && target != "x86_64")
                throw new AttachException(AttachFailure.NotX86, $"this VM is a {target} machine: Panacea knows x86-64 only");
        }

        if (Ask(qmp, "query-sev") is { } sev && QmpJson.Flag(sev, "enabled") == true)
            throw new AttachException(AttachFailure.Encrypted, "this guest's memory is encrypted (AMD SEV): nobody outside it can read or repair it");
        string? confidential = null;
        try
        {
            JsonElement support = qmp.Execute("qom-get", json =>
            {
                json.WriteString("path", "/machine");
                json.WriteString("property", "confidential-guest-support");
            });
            confidential = support.ValueKind == JsonValueKind.String ? support.GetString() : null;
        }
        catch (QmpCommandException)
        {
            // Before QEMU 6.0 there is no such property.
        }

        if (!string.IsNullOrEmpty(confidential))
            throw new AttachException(AttachFailure.Encrypted, $"this is a confidential guest ({confidential}): nobody outside it can read or repair it");
    }

    private static JsonElement? Ask(QmpClient qmp, string command)
    {
        try
        {
            return qmp.Execute(command);
        }
        catch (QmpCommandException)
        {
            return null;
        }
    }

    private static int? ProcessOfThread(int thread)
    {
        try
        {
            foreach (string line in File.ReadLines($"/proc/{thread}/status"))
            {
                if (line.StartsWith("Tgid:", StringComparison.Ordinal))
                    return int.TryParse(line.AsSpan(5).Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out int pid) ? pid : null;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Not visible from here.
        }

        return null;
    }

    private static QemuTarget OpenStub(
        QmpClient qmp, string path, int pid, bool kvm, GuardLock guard, QemuMemory memory, WakeEvent wake, StopClock clock,
        ConcurrentQueue<QmpEvent> events, QemuAttachOptions options)
    {
        QemuRunState before = QemuTarget.QueryRunState(qmp);
        GdbStub stub = GdbStub.FindOrOpen(qmp, pid);
        long startUs = StopClock.NowUs;
        GdbClient? gdb = null;
        try
        {
            try
            {
                gdb = GdbClient.Connect(stub.EndPoint, options.Gdb);
            }
            catch (GdbException) when (stub.SessionDirectory != null)
            {
                // A dead guard's stub whose socket has been cleaned away.
                stub.Close(qmp);
                stub = GdbStub.FindOrOpen(qmp, pid);
                gdb = GdbClient.Connect(stub.EndPoint, options.Gdb);
            }

            gdb.Handshake();

            // A breakpoint of a dead guard may have been hit between our question and the connection.
            if (before.IsRunning && !gdb.StoppedByConnecting)
                before = QemuTarget.QueryRunState(qmp);
            return new QemuTarget(qmp, path, pid, kvm, guard, memory, wake, clock, events, options, stub, gdb, before, startUs);
        }
        catch (Exception e)
        {
            // The connection alone has stopped the guest.
            gdb?.Dispose();
            try
            {
                if (before.IsRunning && !QemuTarget.QueryRunState(qmp).IsRunning)
                    qmp.Execute("cont");
                stub.Close(qmp);
            }
            catch (TargetException)
            {
                // QEMU has gone away under us: the first failure tells more.
            }

            throw e is GdbException g ? new AttachException(AttachFailure.StubUnreachable, g.Message, g) : e;
        }
    }
}
