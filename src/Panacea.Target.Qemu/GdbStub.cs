using System.Globalization;
using System.Net;
using System.Text.Json;
using Panacea.Target.Qemu.Native;
using Panacea.Target.Qemu.Qmp;

namespace Panacea.Target.Qemu;

/// <summary>Where a VM's gdb stub listens, and who opened it.</summary>
/// <param name="EndPoint">To connect to.</param>
/// <param name="SessionDirectory">The private directory of its socket where Panacea opened it (this one or one that died), else null.</param>
internal sealed record GdbStub(EndPoint EndPoint, string? SessionDirectory)
{
    /// <summary>Finds the stub that is open already, or opens one at run time.</summary>
    /// <exception cref="AttachException"><see cref="AttachFailure.StubUnreachable"/>: another debugger uses it, or it cannot be opened.</exception>
    public static GdbStub FindOrOpen(QmpClient qmp, int pid) => FindFree(qmp, pid) ?? Open(qmp, pid);

    /// <summary>The stub that is open already, or null; where somebody is connected, waits a moment for him to go: QEMU notices only later that a
    /// client before us has died.</summary>
    public static GdbStub? FindFree(QmpClient qmp, int pid)
    {
        const int patienceMs = 500, pauseMs = 5;
        for (long deadline = Environment.TickCount64 + patienceMs; ;)
        {
            try
            {
                return Find(qmp, pid);
            }
            catch (AttachException e) when (e.Reason == AttachFailure.StubUnreachable && Environment.TickCount64 < deadline)
            {
                Thread.Sleep(pauseMs);
            }
        }
    }

    /// <summary>The stub that is open already, or null.</summary>
    public static GdbStub? Find(QmpClient qmp, int pid)
    {
        foreach (JsonElement chardev in QmpJson.Elements(qmp.Execute("query-chardev")))
        {
            if (QmpJson.Text(chardev, "label") == "gdb" && QmpJson.Text(chardev, "filename") is { } name)
                return FromFileName(name, pid);
        }

        return null;
    }

    /// <summary>Reads what <c>query-chardev</c> calls the stub's <c>filename</c> (QEMU chardev/char-socket.c, qemu_chr_socket_address and
    /// qemu_chr_compute_filename): <c>disconnected:unix:/path,server=on</c>, <c>disconnected:tcp:0.0.0.0:1234,server=on</c>; without
    /// <c>disconnected:</c> somebody is connected.</summary>
    public static GdbStub FromFileName(string name, int pid)
    {
        const string disconnected = "disconnected:";
        if (!name.StartsWith(disconnected, StringComparison.Ordinal))
            throw new AttachException(AttachFailure.StubUnreachable, $"another debugger is connected to this VM's gdb stub ({name})");
        name = name[disconnected.Length..];
        int comma = name.LastIndexOf(",server", StringComparison.Ordinal);
        string address = comma < 0 ? name : name[..comma];
        if (address.StartsWith("unix:", StringComparison.Ordinal))
        {
            string path = address[5..];
            string? directory = Path.GetDirectoryName(path) is { } d && Path.GetFileName(d).StartsWith(RuntimeDirectory.SessionPrefix, StringComparison.Ordinal)
                ? d
                : null;
            return new GdbStub(QmpClient.UnixEndPoint(QmpSocketFinder.Resolve(pid, path)), directory);
        }

        int colon = address.LastIndexOf(':');
        if (address.StartsWith("tcp:", StringComparison.Ordinal) && colon > 4
            && int.TryParse(address.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out int port) && port is > 0 and < 65536)
        {
            string host = address[4..colon].Trim('[', ']');
            IPAddress ip = IPAddress.TryParse(host, out IPAddress? parsed) ? parsed : IPAddress.Loopback;
            if (ip.Equals(IPAddress.Any))
                ip = IPAddress.Loopback;
            if (ip.Equals(IPAddress.IPv6Any))
                ip = IPAddress.IPv6Loopback;
            return new GdbStub(new IPEndPoint(ip, port), null);
        }

        throw new AttachException(AttachFailure.StubUnreachable, $"this VM's gdb stub is on a channel that Panacea cannot use ({name})");
    }

    /// <summary>Closes a stub that Panacea opened; the guest should run by then.</summary>
    public void Close(QmpClient qmp)
    {
        if (SessionDirectory == null)
            return;
        try
        {
            qmp.HumanMonitor("gdbserver none");
        }
        catch (TargetException)
        {
            // QEMU is gone or busy: the socket goes with its directory in any case.
        }

        RuntimeDirectory.RemoveSession(SessionDirectory);
    }

    private static GdbStub Open(QmpClient qmp, int pid)
    {
        if (!Libc.TryStat($"/proc/{pid}", followLinks: true, out Libc.FileIdentity owner))
            throw new AttachException(AttachFailure.NoSuchProcess, $"QEMU (pid {pid}) is gone");
        string directory = RuntimeDirectory.ForSession(owner.UserId, owner.GroupId);
        try
        {
            string path = Path.Combine(directory, "gdb");
            string answer = qmp.HumanMonitor($"gdbserver unix:{path},server=on,wait=off").Trim();
            if (Find(qmp, pid) is not { } stub)
                throw new AttachException(
                    AttachFailure.StubUnreachable, $"QEMU cannot open its gdb stub: {answer.ReplaceLineEndings(" ")}; start it with -gdb unix:/path,server=on,wait=off");
            return stub;
        }
        catch
        {
            RuntimeDirectory.RemoveSession(directory);
            throw;
        }
    }
}
